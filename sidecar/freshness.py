"""Who holds the current content. Arithmetic on facts: no clock, no file, no process.

A holder is a process (its PID and start time) or a webhook (its URL). It holds the
content if it was told it and confirmed, or, being a process, if it started after the
newest swap and so read the new files by itself. Times are CLOCK_BOOTTIME in seconds.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import Generic, TypeVar

GRACE = 0.05
"""A start time is a 10 ms tick and a ctime is up to 10 ms old: more than their sum."""

COARSE_GRACE = 1.0
"""The same, where the file system keeps whole seconds."""

H = TypeVar("H", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Ledger(Generic[H]):
    """What is established about the holders of one target, for the current content."""

    fresh_from: float = inf
    """Who started at or after this read the current content by itself."""

    held: Mapping[H, float] = field(default_factory=dict)
    """Since when each holder is known to hold the content."""

    rejections: Mapping[H, int] = field(default_factory=dict)

    def since(self, holder: H, started: float = -inf) -> float:
        """Return since when a holder is known to hold the content; inf: it is not."""
        if holder in self.held:
            return self.held[holder]
        return started + GRACE if started >= self.fresh_from else inf

    def tells(self, holder: H, limit: int) -> bool:
        """Whether a holder that does not hold the content may be told (again)."""
        return self.rejections.get(holder, 0) < limit

    def settled(self, fresh_from: float) -> Ledger[H]:
        """Begin new content: nobody is known to hold it."""
        return Ledger(fresh_from)

    def swapped(self, fresh_from: float, since: float) -> Ledger[H]:
        """Go on with the same content after swaps, the first of them at `since`.

        Whoever held it before still does. Who was told or started later may have read
        what was there in between.
        """
        held = {holder: at for holder, at in self.held.items() if at < since}
        return replace(self, fresh_from=fresh_from, held=held)

    def voided(self, now: float) -> Ledger[H]:
        """Take back everything: everybody there is now gets told."""
        return Ledger(now + GRACE)

    def confirmed(self, holders: Iterable[H], since: float) -> Ledger[H]:
        """Note who holds the content; who is known to hold it longer still does."""
        held = {**dict.fromkeys(holders, since), **self.held}
        rejections = {h: n for h, n in self.rejections.items() if h not in held}
        return replace(self, held=held, rejections=rejections)

    def rejected(self, holders: Iterable[H]) -> Ledger[H]:
        """Note who was told and did not take it."""
        rejections = dict(self.rejections)
        for holder in holders:
            rejections[holder] = rejections.get(holder, 0) + 1
        return replace(self, rejections=rejections)

    def alive(self, holders: Iterable[H]) -> Ledger[H]:
        """Forget the dead, so that what is remembered stays bounded."""
        known = frozenset(holders)
        return replace(
            self,
            held={h: at for h, at in self.held.items() if h in known},
            rejections={h: n for h, n in self.rejections.items() if h in known},
        )


def fresh_from(swapped: float, *, coarse: bool) -> float:
    """Return the start time from which a process reads what a swap published."""
    return swapped + (COARSE_GRACE if coarse else GRACE)
