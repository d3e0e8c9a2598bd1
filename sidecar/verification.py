"""Did the program take it: ask a URL until it agrees, or the time is up."""

from __future__ import annotations

import re
import time
from collections.abc import Generator

from .attempt import Wait, answered
from .errors import ReloadError
from .request import Exchange, Requester, Response
from .settings import VerifySettings, redacted

Values = tuple[str | None, ...]
"""What `VERIFY_CHANGES` caught in one answer."""

_PAUSE = 0.25
_LONGEST_PAUSE = 2.0
_LAST_ANSWER = 0.25


class Baseline:
    """The one question before any target is told of a change, shared by all of them."""

    def __init__(self, requester: Requester) -> None:
        self._requester = requester
        self._change: int | None = None
        self._exchange: Exchange | None = None

    def asked(self, change: int) -> Exchange:
        """Return the exchange of this change, begun by who comes first."""
        if self._exchange is None or self._change != change:
            self._change = change
            self._exchange = self._requester.start()
        return self._exchange


class Verification:
    """Asks `VERIFY_URL` for one target; its methods are steps, see `attempt`."""

    def __init__(
        self, settings: VerifySettings, requester: Requester, baseline: Baseline
    ) -> None:
        """Ask with a requester of our own: two targets may verify at the same time."""
        self._settings = settings
        self._requester = requester
        self._baseline = baseline

    @property
    def proves(self) -> bool:
        """Whether agreeing shows that something was taken, and not only good health."""
        return self._settings.changes is not None

    def before(self, change: int, number: int) -> Generator[Wait, None, Values | None]:
        """Return the value that must change; None if there is none (or none is asked).

        The first attempts of a change share one question, which is asked before any
        of them tells its target; a later attempt asks for itself.
        """
        if self._settings.changes is None:
            return None
        first = number == 1
        exchange = self._baseline.asked(change) if first else self._requester.start()
        answer = yield from answered(exchange, told=False)
        text = answer.text if isinstance(answer, Response) else None
        return _values(self._settings.changes, text)

    def agreed(
        self, before: Values | None
    ) -> Generator[Wait, None, ReloadError | None]:
        """Ask until the program agrees; return why not when `VERIFY_TIMEOUT` is up.

        The last question is asked when it is up, and has a moment to be answered.
        """
        deadline = time.monotonic() + self._settings.timeout
        hopeless = self._settings.changes is not None and before is None
        pause = _PAUSE
        doubt: str | None = None
        while True:
            until = max(deadline, time.monotonic() + _LAST_ANSWER)
            exchange = self._requester.start()
            try:
                answer = yield from answered(exchange, until=until)
            finally:
                exchange.abandon()
            latest = judge(self._settings, answer, before)
            if latest is None:
                return None
            now = time.monotonic()
            if doubt is None or now < until:  # a question cut short tells nothing
                doubt = latest
            if now >= deadline or hopeless:
                return self._disagrees(doubt)
            resume = min(now + pause, deadline)
            while time.monotonic() < resume:
                yield Wait(resume)
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    def _disagrees(self, doubt: str) -> ReloadError:
        return ReloadError(
            "not_verified",
            f"{redacted(self._settings.url or '')} does not agree: {doubt}",
            "look into the program's own log: it did not take this configuration; if"
            " it did, mend VERIFY_URL, VERIFY_STATUS, VERIFY_BODY or VERIFY_CHANGES",
        )


def judge(
    settings: VerifySettings, answer: Response | ReloadError, before: Values | None
) -> str | None:
    """Return what an answer lacks to agree, or None if it agrees."""
    if isinstance(answer, ReloadError):
        return answer.detail
    text = answer.text or ""
    if settings.body and not settings.body.search(text):
        return f"VERIFY_BODY is not found in {_extent(answer)}"
    if settings.changes is None:
        return None
    if before is None:
        return "VERIFY_CHANGES found no value before the targets were told"
    values = _values(settings.changes, text)
    if values is None:
        return f"VERIFY_CHANGES is not found in {_extent(answer)}"
    if values == before:
        return "the value of VERIFY_CHANGES is what it was before"
    return None


def _extent(answer: Response) -> str:
    if not answer.truncated:
        return "the answer"
    return f"the first {len(answer.text or '')} characters of an answer that goes on"


def _values(pattern: re.Pattern[str], text: str | None) -> Values | None:
    """Return what the group caught at every match, or None if there is none.

    Every match, because the first one may stand in a comment: Prometheus repeats a
    metric's name in its `# HELP` and `# TYPE` lines.
    """
    return tuple(match.group(1) for match in pattern.finditer(text or "")) or None
