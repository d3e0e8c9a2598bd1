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
from dataclasses import dataclass
from math import inf

from . import proc
from .change import Change
from .configuration import Clocks, Configuration, Look
from .courier import Courier
from .disclosure import Disclosure
from .errors import Interrupted, WatchError
from .heart import Heart
from .memory import Memory
from .report import Report
from .schedule import Pace, Schedule
from .settings import RetrySettings
from .wakeup import Wakeup
from .watch import Watch

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
        self._degraded: str | None = None
        self._readable = True
        self._noticed_first: float | None = None
        self._noticed_last: float | None = None

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
        self._finish(0.0)
        return self._readable and all(courier.fresh for courier in couriers)

    def _turn(self) -> None:
        self._wait(self._due())
        if self._parts.wakeup.take_hangup():
            self._tell_all()
        if time.monotonic() >= self._schedule.due:
            self._look()
        # who is about to be told no longer holds what he is remembered to hold
        self._remember()
        self._deliver()
        self._remember()

    def _due(self) -> float:
        return min(self._schedule.due, *(c.due for c in self._awaited()), inf)

    def _awaited(self) -> list[Courier]:
        """Return the couriers that may act now.

        Nobody is told, not even once more of what was settled before, while a volume is
        being written: the program would read what has not settled yet. And processes
        are signalled first.
        """
        couriers = self._parts.couriers
        if self._schedule.settling or self._parts.configuration.unsettled:
            return [courier for courier in couriers if courier.running]
        first = couriers[0]
        if first.first_is_due and _signals(first):
            return [first, *(c for c in couriers[1:] if c.running)]
        return list(couriers)

    def _wait(self, until: float) -> None:
        """Sleep until something happened or the time has come; take note of events."""
        parts = self._parts
        parts.heart.beat()
        timeout = None if until == inf else max(0.0, until - time.monotonic())
        for key, _ in parts.ready.select(timeout):
            if callable(key.data):
                key.data(key.fd)
        parts.wakeup.drain()
        parts.heart.beat()
        events = parts.watch.drain()
        if events.overflowed:
            parts.report.watch_error("overflow")
        if events.any:
            self._notice()

    def _notice(self) -> None:
        now = proc.boot_time()
        self._noticed_first = self._noticed_first or now
        self._noticed_last = now
        self._schedule = self._schedule.noticed(time.monotonic())

    def _look(self) -> None:
        """Read the volumes if anything may have happened; take up what is new."""
        configuration, schedule = self._parts.configuration, self._schedule
        now = time.monotonic()
        if self._cover():  # what happened before there was a watch is not known
            self._notice()
            return
        if schedule.settling or now >= schedule.recheck_at:
            clocks = Clocks(now, proc.boot_time(), proc.boot_offset())
            look = configuration.look(clocks, self._noticed_last)
            self._take_up(look)
            recheck_at = look.recheck_at
        elif configuration.moved():
            self._notice()
            return
        else:
            self._review()
            recheck_at = schedule.recheck_at
        self._schedule = schedule.looked(
            time.monotonic(),
            degraded=self._degraded is not None,
            recheck_at=recheck_at,
        )
        if self._cover():
            self._notice()

    def _take_up(self, look: Look) -> None:
        parts = self._parts
        self._readable = not look.problems
        for path, problem in look.problems.items():
            parts.report.warning(problem, volume=path)
        for path, settled in parts.configuration.settled.items():
            parts.report.volume(parts.disclosure.volume(settled.snapshot))
            for key in settled.snapshot.unreadable:
                parts.report.warning(
                    f"{path}/{key} can't be read; every swap counts as a change of it."
                    " Set fsGroup or defaultMode so that this container's uid may"
                    " read it, or exclude it with WATCH_EXCLUDE",
                )
        if look.changes:
            self._changed(look)
        elif look.swapped:
            for courier in parts.couriers:
                courier.target.swapped(
                    parts.configuration.fresh_from, self._noticed_first or -inf
                )
        if not parts.configuration.unsettled:
            self._noticed_first = None

    def _changed(self, look: Look) -> None:
        """Give every courier the new content; then tell of it."""
        parts = self._parts
        at_start = self._change is None
        self._change = Change(
            number=self._change.number + 1 if self._change else 1,
            content=parts.configuration.content,
            volumes=parts.report.status().volumes,
            differences=look.changes,
        )
        for courier in parts.couriers:
            courier.target.settled(parts.configuration.fresh_from)
        if at_start:
            self._catch_up()
        now = time.monotonic()
        not_before = now + self._retry.jitter * parts.chance()
        for courier in parts.couriers:
            courier.changed(self._change, now, not_before=not_before)
        if not at_start:
            for change in look.changes:
                parts.report.change_detected(
                    volume=change.path,
                    generation=change.snapshot.generation,
                    added=change.added,
                    changed=change.changed,
                    removed=change.removed,
                )

    def _catch_up(self) -> None:
        """Decide at the start who holds the content that is there."""
        parts = self._parts
        memory, configuration = parts.memory, parts.configuration
        for target in (courier.target for courier in parts.couriers):
            if self._retry.catch_up == "never":
                target.assumed()
            elif self._retry.catch_up == "always" or memory.clock_moved:
                target.voided(proc.boot_time())
            elif memory.before is None:
                target.mounted_before(parts.sandbox_started, configuration.swapped)
            else:
                target.restored(memory.held(target.name, configuration))

    def _remember(self) -> None:
        parts = self._parts
        if self._change:
            targets = [courier.target for courier in parts.couriers]
            parts.memory.keep(parts.configuration, targets)

    def _tell_all(self) -> None:
        """SIGHUP to us: tell everybody, fresh or not."""
        if self._change is None:
            return
        now = time.monotonic()
        for courier in self._parts.couriers:
            courier.target.voided(proc.boot_time())
            courier.changed(self._change, now)

    def _review(self) -> None:
        if self._change:
            for courier in self._parts.couriers:
                courier.review(self._change, time.monotonic())

    def _deliver(self) -> None:
        for courier in self._parts.couriers:
            if courier in self._awaited():  # whom the one before may have released
                courier.step(time.monotonic())

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
        """Begin nothing new, but let what is under way come to its end."""
        until = time.monotonic() + timeout
        stops = self._parts.wakeup.stops()
        while self._parts.wakeup.stops() == stops and time.monotonic() < until:
            running = [courier for courier in self._parts.couriers if courier.running]
            if not running:
                break
            self._wait(min(until, *(courier.due for courier in running)))
            for courier in running:
                courier.step(time.monotonic())
        for courier in self._parts.couriers:
            courier.abandon(time.monotonic())


def _signals(courier: Courier) -> bool:
    return courier.target.name == "process"
