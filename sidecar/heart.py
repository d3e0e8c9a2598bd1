"""Whether the loop makes progress, asked by others and answered by the loop itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Heart:
    """Health that follows the loop's own turns.

    An idle loop sleeps without a bound, so the age of its last turn says nothing.
    Each question therefore wakes the loop and waits up to `patience` seconds for its
    next beat. Once the oldest question that got no beat is older than `bound` seconds,
    the loop counts as stuck, until it beats again.

    `wake` is called from any thread, and must neither block nor fail.
    """

    def __init__(
        self,
        wake: Callable[[], None],
        bound: float = 10.0,
        patience: float = 0.5,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wake = wake
        self._bound = bound
        self._patience = patience
        self._monotonic = monotonic
        self._beaten = threading.Condition()
        self._beats = 0
        self._asked: float | None = None

    def beat(self) -> None:
        """Note progress: called at each turn of the loop and during long work."""
        if self._asked is None:  # whoever asks from now on wakes us for another beat
            return
        with self._beaten:
            self._beats += 1
            self._asked = None
            self._beaten.notify_all()

    def reason(self) -> str | None:
        """Say what is wrong with the loop, or None. Any thread, any time."""
        with self._beaten:
            before = self._beats
            if self._asked is None:
                self._asked = self._monotonic()
        self._wake()
        with self._beaten:
            self._beaten.wait_for(lambda: self._beats != before, self._patience)
            return self._stuck()

    def _stuck(self) -> str | None:
        if self._asked is None:
            return None
        waited = self._monotonic() - self._asked
        if waited <= self._bound:
            return None
        return (
            f"the watching loop has made no progress for at least {waited:.1f} s "
            f"(bound: {self._bound:g} s)"
        )
