"""When to look at the volumes, and when to try a target again. Arithmetic only.

A look is due when the volumes have been still for a while, when that takes too long,
when a volume that is not whole may be taken as it is, or when a safety poll comes
round; the earliest wins. All times are readings of one monotonic clock, in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

DEGRADED_POLL = 2.0
"""How often the volumes are looked at where inotify is not to be had."""

EMPTY_SETTLES_AFTER = 120.0
"""An optional object that was deleted is often made again at once: wait this long."""

UNREPAIRED_SETTLES_AFTER = 120.0
"""A kubelet syncs every pod within 90 s and makes its links whole; then it won't."""

REJECTIONS = 4
"""How often one content is told to a target that rejects it: once, and three more."""


@dataclass(frozen=True, slots=True)
class Pace:
    """The durations that shape a schedule."""

    debounce: float
    debounce_max: float
    poll_interval: float
    """0 is no safety poll."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """An immutable position in time; each report gives the next one."""

    pace: Pace
    poll_at: float
    settle_at: float = inf
    impatient_at: float = inf
    recheck_at: float = inf

    @classmethod
    def start(cls, pace: Pace, now: float) -> Schedule:
        """Return a schedule in which the first look is due now."""
        return cls(pace, poll_at=now, settle_at=now)

    @property
    def due(self) -> float:
        """The time of the next look; none is early while something is written."""
        if self.settling:
            return self.settle_at
        return min(self.recheck_at, self.poll_at)

    @property
    def settling(self) -> bool:
        """Whether something happened that was not looked at yet."""
        return self.settle_at < inf

    def noticed(self, now: float) -> Schedule:
        """Postpone the look until the volumes are still, within `debounce_max`."""
        impatient_at = min(self.impatient_at, now + self.pace.debounce_max)
        return replace(
            self,
            settle_at=min(now + self.pace.debounce, impatient_at),
            impatient_at=impatient_at,
        )

    def looked(self, now: float, *, degraded: bool, recheck_at: float) -> Schedule:
        """Plan the next look; `recheck_at` is when an unsettled volume may settle."""
        poll = DEGRADED_POLL if degraded else self.pace.poll_interval or inf
        return Schedule(self.pace, poll_at=now + poll, recheck_at=recheck_at)


def retry_wait(failures: int, initial: float, maximum: float, chance: float) -> float:
    """Return the wait after so many failures: exponential, with full jitter.

    `chance` is uniform in [0, 1). Source of the method: "Exponential Backoff And
    Jitter", AWS Architecture Blog.
    """
    # 2.0 ** 1024 is out of range, and by then the maximum was reached long ago
    return chance * min(maximum, initial * 2.0 ** min(failures - 1, 60))
