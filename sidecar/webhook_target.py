"""One webhook as a target: one request, and it holds what it last confirmed."""

from __future__ import annotations

import hashlib
import os
import time
from math import inf
from typing import Protocol, TypeGuard

from . import proc
from .attempt import Beginning, Outcome, Plan, Steps, answered
from .change import Change
from .errors import ReloadError, StatusError
from .freshness import Ledger
from .request import Requester
from .schedule import REJECTIONS
from .settings import RequestSettings, redacted
from .status import State, TargetStatus
from .verification import Verification

_UNTOLD = frozenset({401, 403, 404, 405, 407, 408, 425, 429, 502, 503, 504})
"""Statuses of whoever kept the request from the program, or could not take it now."""


class Notes(Protocol):
    """Where an answer is noted."""

    def webhook_called(
        self, *, target: str, url: str, status: int, seconds: float
    ) -> None:
        """Note that a webhook was told and answered."""
        ...


class WebhookTarget:
    """One URL of `WEBHOOK_URL`."""

    def __init__(
        self,
        number: int,
        settings: RequestSettings,
        *,
        requester: Requester,
        verification: Verification | None,
        notes: Notes,
    ) -> None:
        self.name = f"webhook:{number}"
        self._settings = settings
        self._requester = requester
        self._verification = verification
        self._notes = notes
        self._ledger: Ledger[str] = Ledger()

    def settled(self, fresh_from: float) -> None:
        """Take note of new content; when something started says nothing of a URL."""
        self._ledger = self._ledger.settled(fresh_from)

    def swapped(self, fresh_from: float, since: float) -> None:
        """What was confirmed before still is."""
        self._ledger = self._ledger.swapped(fresh_from, since)

    def voided(self, now: float) -> None:
        """Forget what was confirmed."""
        self._ledger = self._ledger.voided(now)

    def doubted(self, now: float) -> None:
        """Tell once more: one reload too many is less than one that is lost."""
        self.voided(now)

    def assumed(self) -> None:
        """Take it that the URL was told the content."""
        self._confirmed(-inf)

    def began(self, beginning: Beginning) -> None:
        """Take it that the URL confirmed the content, if it is the same URL.

        With no memory: that the program read at its start what was mounted before it.
        """
        held, started = beginning.held, beginning.sandbox_started
        if held is not None:
            known = self._hash in held
        else:
            known = started is not None and beginning.swapped < started
        if known:
            self.assumed()

    def held(self, before: float) -> tuple[str, ...]:
        """Return a hash of the URL, which may hold credentials, if it is fresh."""
        return (self._hash,) if self._since < before else ()

    @property
    def _hash(self) -> str:
        return hashlib.sha256(os.fsencode(self._settings.url)).hexdigest()

    @property
    def _since(self) -> float:
        return self._ledger.since(self._settings.url)

    @property
    def _fresh(self) -> bool:
        return self._since < inf

    def _confirmed(self, since: float) -> None:
        self._ledger = self._ledger.confirmed([self._settings.url], since)

    def plan(self, *, quiet: bool) -> Plan:  # noqa: ARG002  # no start tells of a URL
        """Tell it unless it confirmed the content, or rejected it too often."""
        if self._fresh:
            return Plan()
        tells = self._ledger.tells(self._settings.url, REJECTIONS)
        return Plan(begin=self._attempt if tells else None, stale=True)

    def status(self) -> TargetStatus:
        """Describe the webhook without its credentials and query."""
        return TargetStatus(
            self.name,
            State.FRESH if self._fresh else State.STALE,
            url=redacted(self._settings.url),
        )

    def _attempt(self, change: Change, number: int) -> Steps:
        before = None
        if self._verification:
            before = yield from self._verification.before(change.number, number)
        began = time.monotonic()
        exchange = self._requester.start(*self._body(change))
        try:
            answer = yield from answered(exchange)
        finally:
            exchange.abandon()
        if isinstance(answer, ReloadError) and not self._refused(answer):
            return Outcome(failure=answer)
        self._notes.webhook_called(
            target=self.name,
            url=redacted(self._settings.url),
            status=answer.status,
            seconds=time.monotonic() - began,
        )
        refusal = answer if isinstance(answer, StatusError) else None
        if self._verification:
            doubt = yield from self._verification.agreed(before)
            if doubt:
                self._ledger = self._ledger.rejected([self._settings.url])
                return Outcome(rejection=_both(refusal, doubt))
            if refusal and not self._verification.proves:
                return Outcome(failure=refusal)
        self._confirmed(proc.boot_time())
        return Outcome()

    def _refused(self, answer: ReloadError) -> TypeGuard[StatusError]:
        """Whether the program was told and said no, so that it is worth to ask it.

        Prometheus answers 500 to a configuration that is broken, and will for ever.
        """
        return (
            self._verification is not None
            and isinstance(answer, StatusError)
            and answer.status >= 400
            and answer.status not in _UNTOLD
        )

    def _body(self, change: Change) -> tuple[bytes | None, str | None]:
        if self._settings.body == "json":
            return change.as_json(), "application/json"
        if self._settings.body:
            return self._settings.body.encode(), "text/plain; charset=utf-8"
        return None, None


def _both(refusal: StatusError | None, error: ReloadError) -> ReloadError:
    if refusal is None:
        return error
    return ReloadError(error.reason, f"{refusal.detail}; {error.detail}", error.hint)
