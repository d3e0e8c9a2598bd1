"""What is told of many measurements: the middle, the worst, and ratios."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Series:
    """Measurements of one thing, in one unit; there is at least one."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Iterable[float]) -> Series:
        return cls(tuple(values))

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def maximum(self) -> float:
        return max(self.values)

    def over(self, other: Series | None) -> float | None:
        """How many times the other's median this one's is; None without another."""
        return self.median / other.median if other and other.median else None
