"""In which order many pods are told: one first, so that a bad change stops there."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

_SIZE = re.compile(r"([0-9]{1,6})(%?)")


def batches(items: Sequence[T], size: str) -> list[Sequence[T]]:
    """Split into one and then batches of `size`, a number or a percentage of all.

    Raises:
        ValueError: `size` is neither.
    """
    count = at_once(size, len(items))
    rest = [items[start : start + count] for start in range(1, len(items), count)]
    return [items[:1], *rest] if items else []


def at_once(size: str, total: int) -> int:
    """Return how many a batch has: at least one."""
    match = _SIZE.fullmatch(size)
    number = int(match[1]) if match else 0
    if match is None or number == 0 or (match[2] and number > 100):
        raise ValueError(f"{size!r}: not a batch; accepted: 5, or 1% to 100%")
    return max(1, math.ceil(total * number / 100)) if match[2] else number
