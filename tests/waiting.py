"""Waiting for a fact, with a bound; standard library only: the demo uses it too."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(fact: Callable[[], T], what: str, within: float = 20.0) -> T:
    """Ask until the answer is true, and return it; the bound is in seconds.

    Raises TimeoutError with `what` and the last answer.
    """
    deadline = time.monotonic() + within
    while not (answer := fact()):
        if time.monotonic() >= deadline:
            raise TimeoutError(f"not within {within:g} s: {what}; last: {answer!r}")
        time.sleep(0.002)
    return answer
