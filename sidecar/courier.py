"""Keeps one target up to date: one attempt at a time, until it holds the content.

A reload is one change for one target; it may take several attempts. Newer content ends
a reload that is still under way, and with it every wait and every unanswered request.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf
from typing import Literal

from .attempt import Outcome, Steps, Target, Wait
from .change import Change
from .errors import ReloadError
from .report import Report
from .schedule import retry_wait
from .settings import RetrySettings
from .status import Result, State, TargetStatus


@dataclass(frozen=True, slots=True)
class Reload:
    """A change on its way to one target."""

    change: Change
    began: float
    """CLOCK_MONOTONIC when the change settled, in seconds."""

    started: float
    """The same moment since the epoch."""

    attempts: int = 0


class Courier:
    """Tells one target. Called by the loop only; never waits by itself."""

    def __init__(
        self,
        target: Target,
        retry: RetrySettings,
        report: Report,
        chance: Callable[[], float],
    ) -> None:
        """`chance` is uniform in [0, 1), for the jitter of the back-off."""
        self.target = target
        self._retry = retry
        self._report = report
        self._chance = chance
        self._reload: Reload | None = None
        self._steps: Steps | None = None
        self._wait = Wait(inf)
        self._next_at = inf
        self._last_reload_at = -inf
        self._stale_since: float | None = None
        self._last: tuple[Result | None, ReloadError | None] = (None, None)
        self._rejection: ReloadError | None = None
        """The last one. Who is stale and is not told any more had it of this content:
        in this reload, or in one before, when somebody else has come since."""

        self._attempts = 0
        self._was_fresh = False

    @property
    def due(self) -> float:
        """CLOCK_MONOTONIC of the next step, in seconds."""
        return self._next_at if self._steps is None else self._wait.until

    @property
    def running(self) -> bool:
        """Whether an attempt is under way."""
        return self._steps is not None

    @property
    def telling(self) -> bool:
        """Whether an attempt under way has reached the target already."""
        return self._steps is not None and self._wait.told

    @property
    def first_is_due(self) -> bool:
        """Whether the first attempt of a reload has still to reach the target."""
        if self._reload is None:
            return False
        if self._steps is None:
            return self._reload.attempts == 0
        return self._reload.attempts == 1 and not self._wait.told

    @property
    def settled(self) -> bool:
        """Whether the target was seen to since the last change, well or not."""
        return not self.running and not self.first_is_due

    @property
    def fresh(self) -> bool:
        """Whether the target holds the current content, as far as is known."""
        return self.target.status().state is State.FRESH

    @property
    def was_fresh(self) -> bool:
        """Whether the target was fresh at least once."""
        return self._was_fresh

    def changed(self, change: Change, now: float, *, not_before: float = -inf) -> None:
        """Take up a change in place of the one under way."""
        self._supersede(now)
        self._reload = Reload(change, now, time.time())
        self._attempts = 0
        earliest = self._last_reload_at + self._retry.min_interval
        self._next_at = max(now, not_before, earliest)

    def review(self, change: Change, now: float) -> None:
        """Look whether somebody appeared who must be told, with no change at hand."""
        if self._reload or self.running:
            return
        if self.target.plan(quiet=True).begin:
            self.changed(change, now)

    def swapped(
        self, change: Change, fresh_from: float, since: float, now: float
    ) -> None:
        """Go on after swaps that left the content as it was, the first at `since`.

        Who is being told may have read something else: begin again.
        """
        self.target.swapped(fresh_from, since)
        if self.running or (not self._reload and self.target.plan(quiet=True).begin):
            self.changed(change, now)

    def step(self, now: float) -> None:
        """Do what is due: resume the attempt under way, or begin one."""
        if self._steps is not None:
            self._resume(self._steps, now)
        elif now >= self._next_at and self._reload:
            self._begin(self._reload, now)

    def abandon(self, now: float) -> None:
        """Give up at the end of the program: what is not confirmed has failed."""
        reload, reason = self._reload, "shutdown"
        self._cut_short()
        if reload and reload.attempts:
            self._end(reload, Result.FAILED, now, reason)
        self.publish()

    def publish(self) -> None:
        """Show what is true of the target now.

        What ends an attempt is shown before the log tells of it; for all else it is
        enough that the loop shows it once it has told whom it can.
        """
        status = self.target.status()
        if status.state is State.STALE:
            self._stale_since = self._stale_since or time.time()
        else:
            self._stale_since = None
        self._was_fresh = self._was_fresh or status.state is State.FRESH
        self._report.target(self._described(status))

    def _described(self, status: TargetStatus) -> TargetStatus:
        result, error = self._last
        return replace(
            status,
            attempts=self._attempts,
            last_result=result,
            last_error=error.detail if error else None,
            hint=error.hint if error else status.hint,
            stale_since=self._stale_since,
        )

    def _supersede(self, now: float) -> None:
        reload = self._reload
        self._cut_short()
        if reload and reload.attempts:
            self._last = (Result.SUPERSEDED, None)
            self._report.reload_superseded(
                target=self.target.name,
                attempts=reload.attempts,
                started=reload.started,
                seconds=now - reload.began,
            )

    def _cut_short(self) -> None:
        if self._steps is not None:
            self._steps.close()
            self._count("abandoned")
        self._steps = None
        self._reload = None
        self._next_at = inf

    def _begin(self, reload: Reload, now: float) -> None:
        plan = self.target.plan(quiet=True)
        if plan.begin is None and plan.problem is None:
            self._nobody_to_tell(reload, now, stale=plan.stale)
            return
        reload = self._reload = replace(reload, attempts=reload.attempts + 1)
        self._attempts = reload.attempts
        if reload.attempts == 1:
            self._last_reload_at = now
        if plan.begin is None:
            self._ended(reload, Outcome(failure=plan.problem), now)
            return
        self._report.reload_started(target=self.target.name, attempt=reload.attempts)
        self._steps = plan.begin(reload.change, reload.attempts)
        self._resume(self._steps, now)

    def _nobody_to_tell(self, reload: Reload, now: float, *, stale: bool) -> None:
        """End a reload whose target is fresh by itself, or was told often enough."""
        rejection = self._rejection if stale and reload.attempts else None
        if rejection:
            self._last = (Result.REJECTED, rejection)
        self._done()
        if rejection:
            report = self._report
            self._tell_error(report.reload_rejected, reload, rejection, retry_in=None)
            self._end(reload, Result.REJECTED, now, rejection.reason)
        if not stale:
            self._report.already_fresh(self.target.name)
            if reload.attempts:
                self._succeed(reload, now)

    def _resume(self, steps: Steps, now: float) -> None:
        try:
            self._wait = next(steps)
        except StopIteration as end:
            self._steps = None
            if self._reload:
                self._ended(self._reload, end.value, now)
        else:
            self.publish()

    def _ended(self, reload: Reload, outcome: Outcome, now: float) -> None:
        """Take note of an attempt: try again, or end the reload.

        What `/status` shows is changed before the log tells of it.
        """
        self._rejection = outcome.rejection or self._rejection
        if outcome.failure:
            self._last = (Result.FAILED, outcome.failure)
        elif outcome.rejection:
            self._last = (Result.REJECTED, outcome.rejection)
        retry_in = None
        if outcome.failure or self.target.plan(quiet=False).begin:
            retry = self._retry
            retry_in = retry_wait(
                reload.attempts, retry.initial, retry.maximum, self._chance()
            )
            self._next_at = now + retry_in
            self.publish()
        else:
            self._done()
        self._tell(reload, outcome, retry_in, now)

    def _tell(
        self, reload: Reload, outcome: Outcome, retry_in: float | None, now: float
    ) -> None:
        report = self._report
        if outcome.rejection:
            self._count("rejected")
            self._tell_error(
                report.reload_rejected, reload, outcome.rejection, retry_in
            )
            if retry_in is None:
                self._end(reload, Result.REJECTED, now, outcome.rejection.reason)
        if outcome.failure:
            if not outcome.rejection:
                self._count("failed")
            self._tell_error(report.reload_failed, reload, outcome.failure, retry_in)
        if not outcome.rejection and not outcome.failure:
            self._count("succeeded")
            if retry_in is None:
                self._succeed(reload, now, outcome.detail)

    def _done(self) -> None:
        self._reload = None
        self._next_at = inf
        self.publish()

    def _tell_error(
        self,
        event: Callable[..., None],
        reload: Reload,
        error: ReloadError,
        retry_in: float | None,
    ) -> None:
        event(
            target=self.target.name,
            attempt=reload.attempts,
            retry_in=retry_in,
            reason=error.reason,
            detail=error.detail,
            hint=error.hint,
        )

    def _succeed(self, reload: Reload, now: float, detail: str | None = None) -> None:
        self._last = (Result.SUCCEEDED, None)
        self.publish()
        self._report.reload_succeeded(
            target=self.target.name,
            attempts=reload.attempts,
            started=reload.started,
            seconds=now - reload.began,
            detail=detail,
        )

    def _end(self, reload: Reload, result: Result, now: float, reason: str) -> None:
        self._report.reload_ended(
            target=self.target.name,
            result=result,
            attempts=reload.attempts,
            started=reload.started,
            seconds=now - reload.began,
            reason=reason,
        )

    def _count(
        self, result: Literal["succeeded", "rejected", "failed", "abandoned"]
    ) -> None:
        self._report.attempt_ended(target=self.target.name, result=result)
