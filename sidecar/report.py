"""The one place where outcomes go: from here to the log, the metrics and the status.

Only the loop's thread calls a `Report`. It publishes each new `Status` by assigning
one attribute, so the endpoints' threads read a whole one and nobody needs a lock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Final, Literal, Protocol

from . import __version__
from .log import Lines, Logger
from .metrics import Metrics
from .status import ReloadStatus, Result, Status, TargetStatus, VolumeStatus

_NAMES: Final = 20
"""How many names of keys a log line holds, of each kind."""

_NAME_LENGTH: Final = 253
_RELOADS: Final = 20
_WARNINGS: Final = 50


class Recorder(Protocol):
    """Who records what became of reloads outside of the pod; never waits."""

    @property
    def busy(self) -> bool:
        """Whether something is still to be sent."""
        ...

    def step(self) -> None:
        """Go on with sending."""
        ...

    def reloaded(self, target: str, message: str) -> None:
        """Record that a target took a change."""
        ...

    def failed(self, target: str, message: str) -> None:
        """Record why a target did not take it."""
        ...


class Report:
    """What happened, told once to everybody who wants to know.

    `started` is a time in seconds since the epoch, durations are in seconds. URLs
    come without credentials and query, digests as they may be shown: nothing is
    redacted here.
    """

    def __init__(
        self,
        logger: Logger,
        metrics: Metrics,
        targets: tuple[str, ...],
        volumes: tuple[str, ...],
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = Lines(logger)
        self._metrics = metrics
        self._clock = clock
        self._monotonic = monotonic
        self._warnings: tuple[str, ...] = ()
        self._problems: dict[str, str] = {}
        self._recorder: Recorder | None = None
        self._status = Status(
            version=__version__,
            # until inotify is had
            watch_mode="polling",
            started=clock(),
            targets=tuple(TargetStatus(name) for name in targets),
        )
        metrics.expect(targets, volumes)

    def status(self) -> Status:
        """What is true now. Any thread."""
        return self._status

    def record_with(self, recorder: Recorder) -> None:
        """Record events too from now on."""
        self._recorder = recorder

    @property
    def busy(self) -> bool:
        """Whether an event is still on its way."""
        return self._recorder is not None and self._recorder.busy

    def step(self) -> None:
        """Go on with what is on its way; never waits."""
        if self._recorder:
            self._recorder.step()

    def held(self) -> AbstractContextManager[None]:
        """Log what happens in this block at its end: it takes a fifth of the time."""
        return self._log.held()

    def started(self, **facts: object) -> None:
        """Note that the sidecar runs."""
        self._log.info("started", **{"version": __version__} | facts)

    def stopped(self, **facts: object) -> None:
        """Note that the sidecar ends; what was said before it is logged, too."""
        self._log.info("stopped", **facts)
        self._log.write()

    def warning(self, message: str, **facts: object) -> None:
        """Tell of something suspicious, once for as long as it is remembered."""
        if message not in self._warnings:
            self._warnings = (*self._warnings, message)[-_WARNINGS:]
            self._warn(message, facts)

    def problem(self, subject: str, message: str | None) -> None:
        """Tell of something that may mend itself; None: it did, or never was."""
        if self._problems.get(subject) == message:
            return
        if message is None:
            del self._problems[subject]
            self._show_warnings()
        else:
            self._problems[subject] = message
            self._warn(message, {})

    def _warn(self, message: str, facts: dict[str, object]) -> None:
        self._show_warnings()
        self._log.warning("warning", **{"message": message} | facts)

    def _show_warnings(self) -> None:
        shown = (*self._warnings, *self._problems.values())
        self._status = replace(self._status, warnings=shown)

    # What is watched.

    def watching(self, mode: Literal["inotify", "polling"]) -> None:
        """Note how the volumes are watched from now on."""
        self._status = replace(self._status, watch_mode=mode)
        self._metrics.watching(mode)

    def watch_error(self, reason: str) -> None:
        """Count a failure of the watch."""
        self._metrics.watch_failed(reason)

    def watch_degraded(self, *, reason: str, detail: str, hint: str | None) -> None:
        """Note that inotify cannot be had, and why; called when that is news."""
        self.watch_error(reason)
        self.watching("polling")
        self._log.warning("watch_degraded", reason=reason, detail=detail, hint=hint)

    def watch_restored(self) -> None:
        """Note that inotify works again."""
        self.watching("inotify")
        self._log.info("watch_restored")

    def volume(self, status: VolumeStatus) -> None:
        """Replace what is shown of a volume."""
        kept = {volume.path: volume for volume in self._status.volumes}
        kept[status.path] = status
        self._status = replace(self._status, volumes=tuple(kept.values()))
        self._metrics.holds(status.path, status.digest, status.published)

    def change_detected(
        self,
        *,
        volume: str,
        generation: str | None,
        added: tuple[str, ...],
        changed: tuple[str, ...],
        removed: tuple[str, ...],
    ) -> None:
        """Note that new content settled, with the names of the keys that differ.

        Names are cut off after a few, and the rest is counted as `more`.
        """
        facts: dict[str, object] = {}
        more = 0
        for kind, names in (
            ("added", added),
            ("changed", changed),
            ("removed", removed),
        ):
            facts[kind] = tuple(_shortened(name) for name in names[:_NAMES])
            more += len(names[_NAMES:])
        if more:
            facts["more"] = more
        self._metrics.changed(volume)
        self._log.info("change_detected", volume=volume, generation=generation, **facts)

    # What is told.

    def target(self, status: TargetStatus) -> None:
        """Replace what is shown of a target, by its name.

        Its age as stale is fixed on the monotonic clock when `stale_since` is new, so
        that a later step of the wall clock makes nobody older.
        """
        kept = {target.name: target for target in self._status.targets}
        before, since = kept.get(status.name), status.stale_since
        if since is None:
            self._metrics.stale(status.name, since=None)
        elif before is None or since != before.stale_since:
            age = max(0.0, self._clock() - since)
            self._metrics.stale(status.name, since=self._monotonic() - age)
        kept[status.name] = status
        self._status = replace(self._status, targets=tuple(kept.values()))

    def already_fresh(self, target: str) -> None:
        """Note that a target needs not be told."""
        self._log.info("already_fresh", target=target)

    def reload_started(self, *, target: str, attempt: int) -> None:
        """Note that a target is about to be told."""
        self._log.info("reload_started", target=target, attempt=attempt)

    def signal_sent(
        self, *, target: str, pid: int, uid: int, signal: str, comm: str
    ) -> None:
        """Note that a process was signalled, which is not yet a success."""
        self._log.info(
            "signal_sent", target=target, pid=pid, uid=uid, signal=signal, comm=comm
        )

    def webhook_called(
        self, *, target: str, url: str, status: int, seconds: float
    ) -> None:
        """Note that a webhook was told, well or not: a proxy's refusal is no answer."""
        self._log.info(
            "webhook_called",
            target=target,
            url=url,
            status=status,
            seconds=round(seconds, 3),
        )

    def attempt_ended(
        self,
        *,
        target: str,
        result: Literal["succeeded", "rejected", "failed", "abandoned"],
    ) -> None:
        """Count one attempt."""
        self._metrics.attempted(target, result)

    def reload_failed(
        self,
        *,
        target: str,
        attempt: int,
        retry_in: float | None,
        reason: str,
        detail: str,
        hint: str | None,
    ) -> None:
        """Note that a target could not be told. The reload goes on, unless it ends.

        From now on the last reload counts as unsuccessful: a webhook that is down is
        retried for hours, and its reload never ends.
        """
        self._refused(target, detail, hint)
        self._log.warning(
            "reload_failed",
            target=target,
            attempt=attempt,
            retry_in=_rounded(retry_in),
            reason=reason,
            detail=detail,
            hint=hint,
        )

    def reload_rejected(
        self,
        *,
        target: str,
        attempt: int,
        retry_in: float | None,
        reason: str,
        detail: str,
        hint: str | None,
    ) -> None:
        """Note that a target was told and did not take it; None: given up."""
        self._refused(target, detail, hint)
        self._log.error(
            "reload_rejected",
            target=target,
            attempt=attempt,
            retry_in=_rounded(retry_in),
            reason=reason,
            detail=detail,
            hint=hint,
        )

    def _refused(self, target: str, detail: str, hint: str | None) -> None:
        self._metrics.refused(target)
        if self._recorder:
            self._recorder.failed(target, f"{detail}: {hint}" if hint else detail)

    def reload_succeeded(
        self,
        *,
        target: str,
        attempts: int,
        started: float,
        seconds: float,
        detail: str | None = None,
    ) -> None:
        """Note that a target took it, `seconds` after the content settled."""
        self._metrics.confirmed(target, self._clock(), seconds)
        if self._recorder:
            self._recorder.reloaded(target, detail or "took the new configuration")
        facts = {} if detail is None else {"detail": detail}
        self._log.info(
            "reload_succeeded",
            target=target,
            attempts=attempts,
            seconds=round(seconds, 3),
            **facts,
        )
        self.reload_ended(
            target=target,
            result=Result.SUCCEEDED,
            attempts=attempts,
            started=started,
            seconds=seconds,
            reason=None,
        )

    def reload_superseded(
        self, *, target: str, attempts: int, started: float, seconds: float
    ) -> None:
        """Note that newer content came first, which is no failure."""
        self._log.info(
            "reload_superseded",
            target=target,
            attempts=attempts,
            seconds=round(seconds, 3),
        )
        self.reload_ended(
            target=target,
            result=Result.SUPERSEDED,
            attempts=attempts,
            started=started,
            seconds=seconds,
            reason=None,
        )

    def reload_ended(
        self,
        *,
        target: str,
        result: Result,
        attempts: int,
        started: float,
        seconds: float,
        reason: str | None,
    ) -> None:
        """Count a reload and remember it. Called from outside for the last failure."""
        self._metrics.ended(target, result)
        reload = ReloadStatus(target, started, seconds, result, attempts, reason)
        self._status = replace(
            self._status, reloads=(*self._status.reloads, reload)[-_RELOADS:]
        )


def _shortened(name: str) -> str:
    """Cut a name that no ConfigMap could have; a plain directory's may be longer."""
    return name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH - 1]}…"


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
