"""One line on stderr for each thing that happened, for a machine or for a person.

In JSON the keys are `timestamp`, `level`, `event` and the facts, in this order. On a
terminal the same is written without the braces. Whatever a fact holds, a line stays
one line: names of keys and of processes are chosen by others.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, Final, TypeAlias

import structlog
from structlog.processors import format_exc_info
from structlog.typing import FilteringBoundLogger

from .settings import LogSettings
from .status import timestamp

Logger: TypeAlias = FilteringBoundLogger

EVENTS: Final = {
    "started": "The sidecar runs, with these settings and this version.",
    "change_detected": "New content of a volume settled.",
    "reload_started": "A target is about to be told.",
    "signal_sent": "A process was signalled.",
    "webhook_called": "A webhook answered, with this status.",
    "reload_succeeded": "A target took the new content.",
    "reload_failed": "A target could not be told; it is tried again.",
    "reload_rejected": "A target was told and did not take the content.",
    "reload_superseded": "Newer content came before a target took this one.",
    "already_fresh": "A target holds the content already and is not told.",
    "watch_degraded": "inotify cannot be had; the volumes are polled.",
    "watch_restored": "inotify works again.",
    "warning": "Something is suspicious and may need a change.",
    "stopped": "The sidecar ends.",
}
"""Every event that is ever logged, and what it tells."""

_STDERR = 2
_SAID_AT = "said_at"
"""The fact that becomes the timestamp, in seconds since the epoch."""

_encode = json.JSONEncoder(default=str).encode


def logger(settings: LogSettings, stream: BinaryIO | None = None) -> Logger:
    """Make a logger that writes to stderr, or to an unbuffered stream of bytes.

    Nothing is configured globally: two loggers can differ, and a test reads its own.
    """
    out = stream or io.FileIO(_STDERR, "w", closefd=False)
    console = settings.format == "console" or (
        settings.format == "auto" and out.isatty()
    )
    bound: Logger = structlog.wrap_logger(
        _Sink(out),
        processors=[format_exc_info, _as_line if console else _as_json],
        wrapper_class=structlog.make_filtering_bound_logger(settings.level),
        context_class=dict,
        cache_logger_on_first_use=True,
    ).bind()
    return bound


class Lines:
    """A logger whose lines may wait, each with the time at which it was said.

    One thread says them; its signal handlers may, too.
    """

    def __init__(self, logger: Logger) -> None:
        self._logger = logger
        self._held = False
        self._waiting: list[tuple[Callable[..., object], str, dict[str, object]]] = []

    def info(self, event: str, **facts: object) -> None:
        """Say what was done."""
        self._say(self._logger.info, event, facts)

    def warning(self, event: str, **facts: object) -> None:
        """Say what may need a change."""
        self._say(self._logger.warning, event, facts)

    def error(self, event: str, **facts: object) -> None:
        """Say what was not done."""
        self._say(self._logger.error, event, facts)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Write the lines of this block at its end, however it ends."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
            self.write()

    def write(self) -> None:
        """Write what waits, now."""
        while self._waiting:  # the handler of a signal may write what is left of it
            say, event, facts = self._waiting.pop(0)
            say(event, **facts)

    def _say(
        self, say: Callable[..., object], event: str, facts: dict[str, object]
    ) -> None:
        self._waiting.append((say, event, facts | {_SAID_AT: time.time()}))
        if not self._held:
            self.write()


class _Sink:
    """Where lines go. A log that cannot be written costs the line, not the work.

    EPIPE (the collector went away) and ENOSPC would otherwise end the loop. Nothing
    is buffered: what a buffer could not get rid of fails once more when Python ends,
    and turns its exit status into 120.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        rest = line.encode("utf-8", "backslashreplace") + b"\n"
        with suppress(OSError):
            while rest:
                # None or 0 is a non-blocking stderr that is full
                rest = rest[self._stream.write(rest) or len(rest) :]

    debug = info = warning = error = critical = msg


# structlog types the values of an event as Any
_Facts = MutableMapping[str, Any]


def _as_json(_sink: object, level: str, facts: _Facts) -> str:
    """Write ASCII only, so that no name can break a line or an encoding."""
    return _encode(_ordered(level, facts))


def _as_line(_sink: object, level: str, facts: _Facts) -> str:
    ordered = _ordered(level, facts)
    head = f"{ordered.pop('timestamp')} {ordered.pop('level'):<7}"
    event = _readable(ordered.pop("event"))
    rest = [f"{name}={_readable(fact)}" for name, fact in ordered.items()]
    return " ".join([head, event, *rest])


def _ordered(level: str, facts: _Facts) -> dict[str, object]:
    event, said_at = facts.pop("event"), facts.pop(_SAID_AT, None)
    when = timestamp(said_at or time.time())
    stamp = {"timestamp": when, "level": level, "event": event}
    return stamp | {name: fact for name, fact in facts.items() if name not in stamp}


def _readable(fact: object) -> str:
    """Write a fact bare when it cannot be misread, else quoted and escaped.

    What is not printable (line ends, terminal sequences, overrides of the writing
    direction, bytes that are no UTF-8) is escaped by `repr`.
    """
    if isinstance(fact, tuple | list):
        return ",".join(_readable(item) for item in fact) or "-"
    text = "-" if fact is None else str(fact)
    bare = text.isprintable() and not set(text) & set(" ,='\"") and text
    return text if bare else repr(text)
