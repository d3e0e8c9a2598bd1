"""What ends the loop's wait besides the kernel's events: signals and other threads."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from math import inf
from types import FrameType, TracebackType
from typing import Self

_STOP = (signal.SIGTERM, signal.SIGINT)

_OVERDUE = 0.75
"""How long an end that was not to take any time may take, in seconds."""

_AT_ONCE = 0.25
"""The same, of an end at once."""


class Wakeup:
    """A socket that becomes readable when something is to be done. Main thread only.

    The signal handlers only note. What wakes the loop is the byte that CPython writes
    to the wakeup descriptor, because PEP 475 would otherwise resume the wait as if
    nothing had happened. `wake` may be called from any thread.

    A loop that never comes back to its wait cannot be asked to end: one pattern of a
    regular expression may search for hours, and a log that nobody reads may block. So
    the first SIGTERM also sets an alarm for when `shutdown_timeout` (in seconds) is
    over, the second one for at once; its handler runs between two steps of the search
    or the write, too (`PyErr_CheckSignals`). A thread would wait for the GIL.
    """

    def __init__(
        self,
        ready: selectors.BaseSelector,
        shutdown_timeout: float,
        forced: int,
        overdue: Callable[[], None],
    ) -> None:
        """`overdue` tells of an end that had to be forced, with the status `forced`."""
        self._ready = ready
        self._shutdown_timeout = shutdown_timeout
        self._forced = forced
        self._overdue = overdue
        self._forcing = False
        self._stops = 0
        self._stopped_at = inf
        self._hangup = False
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def stops(self) -> int:
        """How many times SIGTERM or SIGINT came."""
        return self._stops

    def stopped_at(self) -> float:
        """CLOCK_MONOTONIC when the first of them came, in seconds; inf: none did."""
        return self._stopped_at

    def take_hangup(self) -> bool:
        """Whether SIGHUP came since this was last asked."""
        hangup, self._hangup = self._hangup, False
        return hangup

    def wake(self) -> None:
        """End the loop's wait, now or at once when it begins."""
        with suppress(OSError):  # full: it will wake; closed: it ended
            self._writer.send(b"\0")

    def _drain(self, _descriptor: int) -> None:
        """Make it unreadable again."""
        with suppress(BlockingIOError):
            while self._reader.recv(4096):
                pass

    def add(self, descriptor: int) -> None:
        """Wake up once when a descriptor becomes readable.

        The pidfd of a process that ended stays readable, and waking up for it again
        and again would be a busy loop.
        """
        self._ready.register(descriptor, selectors.EVENT_READ, self.remove)

    def remove(self, descriptor: int) -> None:
        """No longer wake up for a descriptor."""
        with suppress(KeyError):  # it did already
            self._ready.unregister(descriptor)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._hangup = True
        else:
            self._stops += 1
            first = self._stops == 1
            if first:
                self._stopped_at = time.monotonic()
            self._alarm(self._shutdown_timeout + _OVERDUE if first else _AT_ONCE)

    def _alarm(self, seconds: float) -> None:
        """Force the end after so many seconds, unless it is forced earlier already."""
        left, _ = signal.getitimer(signal.ITIMER_REAL)
        if not 0 < left < seconds:
            signal.setitimer(signal.ITIMER_REAL, seconds)

    def _force(self, _number: int, _frame: FrameType | None) -> None:
        if not self._forcing:
            self._forcing = True
            # again, because the log may be what does not come to its end
            signal.setitimer(signal.ITIMER_REAL, _AT_ONCE / 2)
            self._overdue()
        os._exit(self._forced)

    def __enter__(self) -> Self:
        self._ready.register(self._reader, selectors.EVENT_READ, self._drain)
        self._old_descriptor = signal.set_wakeup_fd(
            self._writer.fileno(), warn_on_full_buffer=False
        )
        self._old_handlers = {
            number: signal.signal(number, self._note)
            for number in (*_STOP, signal.SIGHUP)
        }
        self._old_handlers[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._force)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_descriptor)
        self._ready.unregister(self._reader)
        self._reader.close()
        self._writer.close()
