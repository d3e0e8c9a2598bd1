"""The one loop: wait, look, deliver, report. Read this file first.

A change's way: the kernel wakes `_wait`; the schedule says when the volumes are still;
`_look` reads them and compares content; if it is new, every target's courier gets the
change; `_deliver` lets each courier take its next step, and the outcome goes to the
report. Nothing here blocks but the one wait.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import inf

from . import proc
from .attempt import Beginning
from .change import Change
from .configuration import Clocks, Configuration, Look
from .courier import Courier
from .disclosure import Disclosure
from .errors import Interrupted, WatchError
from .heart import Heart
from .memory import Memory
from .report import Report
from .schedule import UNREPAIRED_SETTLES_AFTER, Pace, Schedule
from .settings import RetrySettings
from .volume import Snapshot
from .wakeup import Wakeup
from .watch import Watch

_HOUR = 3600.0
_LAST_EVENTS = 3.0
"""How long `once` waits until the Kubernetes Events are recorded, in seconds."""
_FIX_WATCH = (
    "raise the limit on the node, or run fewer programs that use inotify there; the"
    " volumes are polled until then"
)
_FIX_GONE = "the volume is missing in this container; it is looked for every 2 s"


@dataclass(frozen=True, slots=True)
class Parts:
    """What the loop moves. Made at the entry, by whoever reads the settings."""

    configuration: Configuration
    couriers: Sequence[Courier]
    """The processes' first, if there are any."""

    disclosure: Disclosure
    memory: Memory
    report: Report
    heart: Heart
    ready: selectors.BaseSelector
    wakeup: Wakeup
    watch: Watch
    chance: Callable[[], float]
    """Uniform in [0, 1), for `RELOAD_JITTER`."""

    sandbox_started: float | None = None
    """CLOCK_BOOTTIME when the pod's sandbox was made, in seconds."""


class Loop:
    """Keeps every target up to date with the volumes, until asked to stop."""

    def __init__(
        self, parts: Parts, paths: tuple[str, ...], pace: Pace, retry: RetrySettings
    ) -> None:
        self._parts = parts
        self._paths = paths
        self._retry = retry
        self._schedule = Schedule.start(pace, time.monotonic())
        self._change: Change | None = None
        self._changed_early = False
        """Whether a volume changed before every other one had settled once."""

        self._degraded: str | None = None
        self._readable = True
        self._recalled: frozenset[Courier] = frozenset()
        """Whom SIGHUP to us asks to tell once more."""

        self._looked_at = -inf
        """CLOCK_BOOTTIME of the last look that took in all there was, in seconds."""

        self._drained_at = -inf
        """CLOCK_BOOTTIME when the events were taken last, in seconds."""

        self._moved_since = inf
        """CLOCK_BOOTTIME of the earliest swap that may not have settled, in seconds."""

        self._noticed: float | None = None
        """When something was last noticed: CLOCK_BOOTTIME, in seconds."""

    def run(self, shutdown_timeout: float) -> None:
        """Work until SIGTERM or SIGINT; then let running attempts finish, in seconds.

        A second signal ends that too.
        """
        self._cover()
        with suppress(Interrupted):
            while not self._parts.wakeup.stops():
                self._turn()
        self._finish(shutdown_timeout)

    def run_once(self) -> bool:
        """Work until every target was tried once; return whether all are fresh.

        A volume that can't be read ends it too: nobody knows what to tell.
        """
        self._cover()
        couriers = self._parts.couriers
        with suppress(Interrupted):
            while not self._parts.wakeup.stops() and self._readable:
                self._turn()
                if self._change and all(courier.settled for courier in couriers):
                    break
        running = any(courier.running for courier in couriers)
        self._finish(0.0 if running else _LAST_EVENTS)
        return self._readable and all(courier.fresh for courier in couriers)

    def _turn(self) -> None:
        self._wait(self._due())
        with self._parts.report.held():  # nobody is told later for the sake of a log
            due = time.monotonic() >= self._schedule.due
            look = self._look() if due else None
            if self._change and (couriers := self._to_tell_again):
                self._tell_again(self._change, couriers)
            # who is about to be told no longer holds what he is remembered to hold
            self._remember()
            self._deliver()
            if look:  # last, so that nobody is seen fresh beside content he never held
                self._show(look)
        self._parts.report.step()
        self._remember()
        self._drain()  # so that no later event casts doubt on who was just told

    def _due(self) -> float:
        if self._to_tell_again:
            return time.monotonic()
        due = min(self._schedule.due, *(c.due for c in self._awaited()), inf)
        held_until = self._held_until
        return min(due, held_until) if held_until > time.monotonic() else due

    def _awaited(self) -> list[Courier]:
        """Return the couriers that may act now: processes are signalled first."""
        couriers = self._parts.couriers
        if self._schedule.settling or time.monotonic() < self._held_until:
            return [courier for courier in couriers if courier.running]
        first = couriers[0]
        if first.first_is_due and _signals(first):
            return [first, *(c for c in couriers[1:] if c.running)]
        return list(couriers)

    @property
    def _held_until(self) -> float:
        """Until when nobody is told, not even once more of what was settled before.

        While a volume is being written the program would read what is not whole.
        """
        return self._parts.configuration.written_until

    def _wait(self, until: float) -> None:
        """Sleep until something happened or the time has come; take note of events."""
        parts = self._parts
        parts.heart.beat()
        # an hour at most: epoll_wait(2) can't count to a month
        timeout = (
            None if until == inf else max(0.0, min(until - time.monotonic(), _HOUR))
        )
        for key, _ in parts.ready.select(timeout):
            if callable(key.data):
                key.data(key.fd)
        if parts.wakeup.take_hangup():
            self._recalled = frozenset(parts.couriers)
        parts.heart.beat()
        self._drain()

    def _drain(self) -> bool:
        """Take the events there are; say whether anything was written.

        They don't tell how old they are, and we may have been stopped since the last.
        """
        before, self._drained_at = self._drained_at, proc.boot_time()
        events = self._parts.watch.drain()
        if events.overflowed:
            self._parts.report.watch_error("overflow")
        if events.any:
            self._notice(since=before)
            return True
        # another volume's swap is on its way, and both are one change
        if going_on := events.prepared and self._schedule.settling:
            self._schedule = self._schedule.noticed(time.monotonic())
        return going_on

    def _notice(self, since: float) -> None:
        """Let it settle; the first of it happened after `since`, CLOCK_BOOTTIME."""
        self._noticed = proc.boot_time()
        self._moved_since = min(self._moved_since, since)
        self._schedule = self._schedule.noticed(time.monotonic())

    def _look(self) -> Look | None:
        """Read the volumes if anything may have happened; take up what is new.

        Return what there is to show of them.
        """
        schedule, now = self._schedule, proc.boot_time()
        look, written = None, False
        if self._cover():  # what happened before there was a watch is not known
            self._notice(since=self._looked_at)
            return None
        if schedule.settling or time.monotonic() >= schedule.recheck_at:
            look, written = self._read()
            if look is None:
                return None
            self._take_up(look)
            recheck_at = look.recheck_at
        elif self._parts.configuration.moved():
            self._notice(since=self._looked_at)
            return None
        else:
            self._review()
            recheck_at = schedule.recheck_at
        self._looked_at = now
        new_watch = self._cover()
        self._schedule = schedule.looked(
            time.monotonic(),
            degraded=self._degraded is not None or not self._readable,
            recheck_at=recheck_at,
        )
        if new_watch or written:
            self._notice(since=now)
        return look

    def _read(self) -> tuple[Look | None, bool]:
        """Read all volumes; say whether something was written meanwhile.

        Then there is no look, unless that has gone on for too long.

        A swap during the reading is newer than the last event that was noticed, and who
        started between the two has read neither.
        """
        configuration = self._parts.configuration
        readings = configuration.read()
        now, noticed = proc.boot_time(), self._noticed
        written = self._drain()
        if written:
            if time.monotonic() < self._schedule.impatient_at:
                return None, True
            noticed = now
        elif self._degraded and noticed is not None:
            noticed = now
        clocks = Clocks(time.monotonic(), proc.boot_time(), proc.boot_offset())
        return configuration.settle(readings, clocks, noticed), written

    def _take_up(self, look: Look) -> None:
        self._readable = not look.problems
        configuration = self._parts.configuration
        if self._change is None:
            changed = any(not change.first for change in look.changes)
            self._changed_early = self._changed_early or changed
            if configuration.settled and not configuration.unsettled:
                self._begin(look)
        elif look.changes:
            self._changed(self._change, look)
        elif look.swapped:
            moved = self._moved_since < inf
            since = self._moved_since if moved else self._looked_at
            change = self._change = _again(self._change)
            for courier in self._parts.couriers:
                courier.swapped(
                    change, configuration.fresh_from, since, time.monotonic()
                )
        if not configuration.unsettled and not configuration.away:
            self._moved_since = inf

    def _show(self, look: Look) -> None:
        """Report the volumes as they are now."""
        parts = self._parts
        flawed = parts.configuration.flawed(time.monotonic())
        for path in self._paths:
            parts.report.problem(f"volume {path}", look.problems.get(path))
            parts.report.problem(f"links of {path}", _flawed(path, flawed.get(path)))
        for path, settled in parts.configuration.settled.items():
            parts.report.volume(parts.disclosure.volume(settled.snapshot))
            parts.report.problem(f"keys of {path}", _unreadable(path, settled.snapshot))

    def _begin(self, look: Look) -> None:
        """Take up the first content, and find out who holds it already.

        Every volume that can be read has settled, or each that does so later would look
        like a change.
        """
        self._change = self._new_change(1, look)
        for courier in self._parts.couriers:
            courier.target.settled(self._parts.configuration.fresh_from)
        self._catch_up()
        self._deliver_later(self._change)

    def _changed(self, before: Change, look: Look) -> None:
        """Give every courier the new content; then tell of it."""
        parts = self._parts
        self._change = self._new_change(before.number + 1, look)
        for courier in parts.couriers:
            courier.target.settled(parts.configuration.fresh_from)
        self._deliver_later(self._change)
        for change in look.changes:
            parts.report.change_detected(
                volume=change.path,
                generation=change.snapshot.generation,
                added=change.added,
                changed=change.changed,
                removed=change.removed,
            )

    def _new_change(self, number: int, look: Look) -> Change:
        configuration, shown = self._parts.configuration, self._parts.disclosure.volume
        volumes = tuple(shown(one.snapshot) for one in configuration.settled.values())
        return Change(number, configuration.content, volumes, look.changes)

    def _deliver_later(self, change: Change) -> None:
        now = time.monotonic()
        not_before = now + self._retry.jitter * self._parts.chance()
        for courier in self._parts.couriers:
            courier.changed(change, now, not_before=not_before)

    def _catch_up(self) -> None:
        """Decide at the start who holds the content that is there."""
        parts, now = self._parts, proc.boot_time()
        memory, configuration = parts.memory, parts.configuration
        for target in (courier.target for courier in parts.couriers):
            if self._retry.catch_up == "never":
                if not self._changed_early:
                    target.assumed()
            elif self._retry.catch_up == "always":
                target.voided(now)
            else:
                target.began(
                    Beginning(
                        memory.held(target.name, configuration),
                        parts.sandbox_started,
                        configuration.swapped,
                        configuration.swapped_by_kubelet,
                    )
                )
                if memory.clock_moved:
                    target.doubted(now)
        if memory.clock_moved:
            configuration.doubted(now)

    def _remember(self) -> None:
        parts = self._parts
        if self._change:
            targets = [courier.target for courier in parts.couriers]
            parts.memory.keep(parts.configuration, targets, self._moved_since)

    @property
    def _to_tell_again(self) -> frozenset[Courier]:
        """Whom SIGHUP to us asks to tell, and nobody is telling just now.

        However many SIGHUPs come meanwhile, they are one more reload.
        """
        if self._change is None:
            return frozenset()
        return frozenset(one for one in self._recalled if not one.telling)

    def _tell_again(self, change: Change, couriers: frozenset[Courier]) -> None:
        """SIGHUP to us: tell everybody, fresh or not."""
        self._recalled -= couriers
        change = self._change = _again(change)
        for courier in couriers:
            courier.target.voided(proc.boot_time())
            courier.changed(change, time.monotonic())

    def _review(self) -> None:
        """Look in the quiet whether somebody came who must be told."""
        if self._change is None:
            return
        change = self._change = _again(self._change)
        for courier in self._parts.couriers:
            courier.review(change, time.monotonic())

    def _deliver(self) -> None:
        """Let everybody take the next step, and then show how far each is."""
        if self._change is None:
            return
        for courier in self._parts.couriers:
            if courier in self._awaited():  # whom the one before may have released
                courier.step(time.monotonic())
        for courier in self._parts.couriers:
            courier.publish()

    def _cover(self) -> bool:
        """Watch every directory where a change can happen; say whether one is new."""
        parts = self._parts
        wanted: list[str] = []
        for path in self._paths:
            snapshot = parts.configuration.latest(path)
            wanted.extend(snapshot.directories if snapshot else (path,))
        try:
            new = parts.watch.cover(wanted)
        except WatchError as error:
            if self._degraded != error.reason:
                self._degraded = error.reason
                parts.report.watch_degraded(
                    reason=error.reason,
                    detail=str(error),
                    hint=_FIX_GONE if error.reason == "gone" else _FIX_WATCH,
                )
            return False
        if self._degraded is not None:
            self._degraded = None
            parts.report.watch_restored()
        elif parts.report.status().watch_mode != "inotify":
            parts.report.watching("inotify")
        return new

    def _finish(self, timeout: float) -> None:
        """Begin nothing new, but let what is under way come to its end.

        A turn may have gone on after the signal, and the alarm counts from that, too.
        """
        until = min(self._parts.wakeup.stopped_at(), time.monotonic()) + timeout
        stops = self._parts.wakeup.stops()
        while self._parts.wakeup.stops() == stops and time.monotonic() < until:
            running = [courier for courier in self._parts.couriers if courier.running]
            if not running and not self._parts.report.busy:
                break
            self._wait(min(until, *(courier.due for courier in running), inf))
            for courier in running:
                courier.step(time.monotonic())
            self._parts.report.step()
        self._remember()
        for courier in self._parts.couriers:
            courier.abandon(time.monotonic())


def _unreadable(path: str, snapshot: Snapshot) -> str | None:
    names = snapshot.unreadable
    if not names:
        return None
    return (
        f"{path}: {_some(names)} can't be read, so every swap counts as a change; set"
        " fsGroup or defaultMode for this container's uid, or exclude it with"
        " WATCH_EXCLUDE"
    )


def _flawed(path: str, flaws: frozenset[str] | None) -> str | None:
    if not flaws:
        return None
    return (
        f"{path}: the links of {_some(sorted(flaws))} dangle or are missing, so this"
        f" update is not told for up to {UNREPAIRED_SETTLES_AFTER:g} s; the kubelet"
        " mends them within that time, unless somebody else wrote there"
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _again(change: Change) -> Change:
    """Number it anew: what VERIFY_CHANGES found before is asked for again."""
    return replace(change, number=change.number + 1)


def _signals(courier: Courier) -> bool:
    return courier.target.name == "process"
