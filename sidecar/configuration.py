"""What all watched volumes hold together, once each has settled.

An event is a reason to look; a look compares content. A volume counts with what it
held when it last settled, so one that is in the middle of an update, is gone for a
moment, or has just become empty holds up nobody else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from . import volume
from .errors import VolumeError
from .freshness import fresh_from
from .schedule import EMPTY_SETTLES_AFTER, UNREPAIRED_SETTLES_AFTER, Pace
from .selection import Selection
from .state import Known
from .volume import Snapshot

Content = tuple[str | None, ...]
"""The digest of each volume, in the order of `WATCH_DIRS`; None before it settled."""


class Clocks(NamedTuple):
    """One moment on the three clocks that a look needs, in seconds."""

    monotonic: float
    boot: float
    offset: float
    """CLOCK_REALTIME minus CLOCK_BOOTTIME."""


@dataclass(frozen=True, slots=True)
class Settled:
    """One volume when it last settled."""

    snapshot: Snapshot
    swapped: float
    """The swap time: CLOCK_BOOTTIME, in seconds."""

    @property
    def fresh_from(self) -> float:
        """When a process must have started to have read this by itself."""
        return fresh_from(self.swapped, coarse=self.snapshot.coarse)


@dataclass(frozen=True, slots=True)
class VolumeChange:
    """New content of one volume, against what was settled before (if anything was)."""

    path: str
    snapshot: Snapshot
    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    first: bool
    """Whether it is the first content of the volume that settled."""


@dataclass(frozen=True, slots=True)
class Readings:
    """Every volume as it was just read."""

    snapshots: Mapping[str, Snapshot]
    problems: Mapping[str, str]
    """Volumes that can't be read now, and why."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at all volumes found."""

    changes: tuple[VolumeChange, ...] = ()
    swapped: bool = False
    """Whether any volume was written to and settled, be it with the same content."""

    problems: Mapping[str, str] = field(default_factory=dict)
    """Volumes that can't be read now, and why."""

    recheck_at: float = inf
    """CLOCK_MONOTONIC when a volume that is not whole, or empty, will do as it is; or
    when it is time to say that it is waited for."""


@dataclass(frozen=True, slots=True)
class _Pending:
    snapshot: Snapshot
    since: float

    def overdue_at(self, pace: Pace) -> float:
        """Return when a volume that is not whole has had its time, CLOCK_MONOTONIC.

        One that became empty is whole: -inf.
        """
        return self.since + pace.debounce_max if self.snapshot.flaws else -inf


class Configuration:
    """The volumes' settled content. Remembers; never waits."""

    def __init__(
        self,
        paths: tuple[str, ...],
        selection: Selection,
        pace: Pace,
        progress: Callable[[], None] = lambda: None,
        known: Mapping[str, Known] | None = None,
    ) -> None:
        """Remember what to read; `progress` is called during long reading.

        `known` are the volumes as they were before a restart, by path.
        """
        self._known = known or {}
        self._paths = paths
        self._selection = selection
        self._pace = pace
        self._progress = progress
        self._settled: dict[str, Settled] = {}
        self._pending: dict[str, _Pending] = {}
        self._away: dict[str, float] = {}
        """Since when a volume that had settled can't be read, CLOCK_MONOTONIC."""

    @property
    def settled(self) -> Mapping[str, Settled]:
        """The volumes that settled at least once, by path."""
        return self._settled

    @property
    def content(self) -> Content:
        """What a target is to hold."""
        return tuple(
            settled.snapshot.digest if (settled := self._settled.get(path)) else None
            for path in self._paths
        )

    @property
    def fresh_from(self) -> float:
        """When a process must have started to have read all of it by itself."""
        return max(
            (settled.fresh_from for settled in self._settled.values()), default=inf
        )

    @property
    def swapped(self) -> float:
        """The newest swap time: CLOCK_BOOTTIME, in seconds."""
        return max((settled.swapped for settled in self._settled.values()), default=inf)

    @property
    def swapped_by_kubelet(self) -> float:
        """The newest swap time of a volume that is no plain directory; -inf: none."""
        return max(
            (
                settled.swapped
                for settled in self._settled.values()
                if settled.snapshot.kind == "kubelet"
            ),
            default=-inf,
        )

    @property
    def unsettled(self) -> bool:
        """Whether a volume was seen that has not settled yet."""
        return bool(self._pending)

    @property
    def away(self) -> bool:
        """Whether a volume that had settled can't be read now."""
        return bool(self._away)

    @property
    def written_until(self) -> float:
        """When the last volume that is being written has had its time.

        One that stays broken, or away, holds up nobody for longer than `DEBOUNCE_MAX`.
        """
        broken = [one.overdue_at(self._pace) for one in self._pending.values()]
        away = [since + self._pace.debounce_max for since in self._away.values()]
        return max([*broken, *away], default=-inf)

    def flawed(self, now: float) -> dict[str, frozenset[str]]:
        """Return the links of each volume that ought to have become whole by now."""
        return {
            path: pending.snapshot.flaws
            for path, pending in self._pending.items()
            if -inf < pending.overdue_at(self._pace) <= now
        }

    def latest(self, path: str) -> Snapshot | None:
        """Return the last reading of a volume, settled or not."""
        if pending := self._pending.get(path):
            return pending.snapshot
        settled = self._settled.get(path)
        return settled.snapshot if settled else None

    def moved(self) -> bool:
        """Whether a look would find anything, as cheaply as each volume allows."""
        return any(self._moved(path) for path in self._paths)

    def _moved(self, path: str) -> bool:
        """Compare one volume, and remember what only its own times tell of."""
        latest = self.latest(path)
        if path in self._away:  # that it is back is news, whatever it holds
            return True
        try:
            if latest is None or not volume.moved(latest):
                return latest is None
            snapshot = self._read(path)
        except VolumeError:
            return latest is not None
        same, settled = snapshot.same_files(latest), self._settled.get(path)
        if same and settled and settled.snapshot is latest:
            self._settled[path] = Settled(snapshot, settled.swapped)
        return not same

    def _read(self, path: str) -> Snapshot:
        return volume.read(path, self._selection, self.latest(path), self._progress)

    def read(self) -> Readings:
        """Read every volume, and decide nothing yet."""
        snapshots: dict[str, Snapshot] = {}
        problems: dict[str, str] = {}
        for path in self._paths:
            try:
                snapshots[path] = self._read(path)
            except VolumeError as error:
                problems[path] = str(error)
        return Readings(snapshots, problems)

    def settle(self, readings: Readings, clocks: Clocks, noticed: float | None) -> Look:
        """Settle those volumes that can be.

        `noticed` is CLOCK_BOOTTIME of the last event before the reading; None at the
        start, when the files' own times must tell.
        """
        changes: list[VolumeChange] = []
        swapped = False
        recheck_at = inf
        for path in readings.problems:
            self._pending.pop(path, None)
            if path in self._settled:
                self._away.setdefault(path, clocks.monotonic)
        for path, snapshot in readings.snapshots.items():
            before = self._settled.get(path)
            was_away = self._away.pop(path, None) is not None
            if before and snapshot.same_files(before.snapshot) and not was_away:
                self._pending.pop(path, None)
                self._settled[path] = Settled(snapshot, before.swapped)
                continue
            settles_at = self._settles_at(snapshot, clocks)
            if settles_at > clocks.monotonic:
                overdue_at = self._pending[path].overdue_at(self._pace)
                tell_at = overdue_at if overdue_at > clocks.monotonic else inf
                recheck_at = min(recheck_at, settles_at, tell_at)
                continue
            swapped = True
            self._pending.pop(path, None)
            self._settled[path] = Settled(
                snapshot, self._swapped(snapshot, clocks, noticed)
            )
            known = before.snapshot if before else None
            if known is None or known.digest != snapshot.digest:
                changes.append(_change(known, snapshot))
        return Look(tuple(changes), swapped, readings.problems, recheck_at)

    def _swapped(
        self, snapshot: Snapshot, clocks: Clocks, noticed: float | None
    ) -> float:
        """Return the swap time: as noticed, as remembered, or by the files' times."""
        if noticed is not None:
            return noticed
        known = self._known.get(snapshot.path)
        if known and (known.generation, known.changed, known.digest) == (
            snapshot.generation,
            snapshot.changed,
            snapshot.digest,
        ):
            return known.swapped
        # a change time in the future tells nothing but that the clock was set back
        return min(snapshot.changed - clocks.offset, clocks.boot)

    def doubted(self, now: float) -> None:
        """Take it that all was swapped in only now: files' times can't be compared."""
        for path, settled in self._settled.items():
            self._settled[path] = Settled(settled.snapshot, now)

    def state(self) -> dict[str, Known]:
        """Return the settled volumes as they are to be remembered."""
        return {
            path: Known(
                settled.snapshot.generation,
                settled.snapshot.changed,
                settled.snapshot.digest,
                settled.swapped,
            )
            for path, settled in self._settled.items()
        }

    def _settles_at(self, snapshot: Snapshot, clocks: Clocks) -> float:
        """Return when a reading counts, by the monotonic clock; now or before is yes.

        The patience begins with the first reading that was not whole: were it to begin
        again with each write, a busy volume would never settle.
        """
        now, before = clocks.monotonic, self._settled.get(snapshot.path)
        # at the start it was so before we came, but what was just written may go on
        age = 0.0
        if before is None:
            age = max(0.0, clocks.boot + clocks.offset - snapshot.changed)
        pending = self._pending.get(snapshot.path)
        since = pending.since if pending else now - age
        self._pending[snapshot.path] = _Pending(snapshot, since)
        patience = _patience(snapshot, before.snapshot if before else None, self._pace)
        if before:
            return since + patience
        # bounded, because a clock that was set back makes what is there look new
        still = min(now + self._pace.debounce - age, since + self._pace.debounce_max)
        return max(since + patience, still)


def _patience(snapshot: Snapshot, before: Snapshot | None, pace: Pace) -> float:
    """Return how long a reading must stand before it counts, in seconds; 0 is at once.

    A link that dangled already when the volume last settled holds up nothing.
    """
    if before and snapshot.empty and not before.empty:
        return EMPTY_SETTLES_AFTER
    if snapshot.flaws - (before.flaws if before else frozenset()):
        return UNREPAIRED_SETTLES_AFTER if snapshot.generation else pace.debounce_max
    return 0.0


def _change(before: Snapshot | None, after: Snapshot) -> VolumeChange:
    old = before.keys if before else {}
    new = after.keys
    order = os.fsencode
    return VolumeChange(
        path=after.path,
        snapshot=after,
        added=tuple(sorted(new.keys() - old.keys(), key=order)),
        changed=tuple(
            sorted(
                (k for k in new.keys() & old.keys() if new[k].digest != old[k].digest),
                key=order,
            )
        ),
        removed=tuple(sorted(old.keys() - new.keys(), key=order)),
        first=before is None,
    )
