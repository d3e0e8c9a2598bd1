"""What happened and what should have: decides on values, with no process or clock.

Every update's keys carry the update's number, so a reading shows which update it is
of, or that it is a mix. Times are CLOCK_MONOTONIC in seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

Keys = Mapping[str, str]
"""What a reader saw of each key: the number in it and its size."""

GRACE = 0.05
"""Who started later than this after the newest swap read it by itself."""

NOTICED = 0.3
"""How long a sidecar that was not held up may take to notice an event."""

CONFIRMED = 0.1
"""How long after the signal a process counts as told (`VERIFY_ALIVE`)."""

_SLACK = 0.05
"""How far the sidecar's own time of a log line may be off, compared with ours."""


@dataclass(frozen=True, slots=True)
class Update:
    """One swap of the volume; equal numbers mean equal content."""

    number: int
    keys: Keys
    generation: str
    began: float
    ended: float
    calm: bool
    """Whether everybody held the content before, so that nobody was being told."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a target read when it was told, or at its start."""

    woken: float
    done: float
    keys: Keys
    generation: str | None = None
    """What the request named; a signal names nothing."""

    confirmed: bool = True
    """Whether whoever told it could know that it was heard."""


@dataclass(frozen=True, slots=True)
class Life:
    """One process from start to end, or a webhook."""

    name: str
    started: float | None
    """None for a webhook; the first reading of any other was made at its start."""

    readings: tuple[Reading, ...]

    @property
    def told(self) -> tuple[Reading, ...]:
        """The readings that somebody asked for."""
        return self.readings if self.started is None else self.readings[1:]


@dataclass(frozen=True, slots=True)
class Detection:
    """The sidecar's word that new content settled."""

    at: float
    generation: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was published and noticed while the lives were lived."""

    updates: tuple[Update, ...]
    detections: tuple[Detection, ...] = ()
    held_up: tuple[float, ...] = ()
    """When the sidecar could go on after it was stopped."""

    def number(self, reading: Reading) -> int | None:
        """Return the update that was told, or read; None for a mix."""
        for update in self.updates:
            if reading.generation == update.generation:
                return update.number
        return self.read(reading)

    def read(self, reading: Reading) -> int | None:
        """Return the update whose content was read; None for a mix."""
        for update in self.updates:
            if reading.keys == update.keys:
                return update.number
        return None


def early(life: Life, evidence: Evidence) -> Iterator[str]:
    """Tell of each reading on demand that is no update's content.

    A target that was told of one update may read in the middle of the next. That is
    nobody's fault, and can't be where everybody held the content before.
    """
    for reading in life.told:
        if evidence.read(reading) is None and not _disturbed(reading, evidence):
            yield f"early: {life.name} read {_shown(reading.keys)}"


def _disturbed(reading: Reading, evidence: Evidence) -> bool:
    return any(
        update.began <= reading.done and reading.woken <= update.ended
        for update in evidence.updates
        if not update.calm
    )


def duplicates(life: Life, evidence: Evidence) -> Iterator[str]:
    """Tell of each time that a live target was told what it was known to hold."""
    excuses = set(evidence.detections)
    swaps = list(evidence.updates)
    for before, after in pairwise(life.readings):
        number = evidence.number(after)
        if number is None or number != evidence.number(before) or not before.confirmed:
            continue
        if before not in life.told:
            if _may_be_older(life, after, evidence):
                continue
        elif excuse := _settled_between(before, after, number, evidence, excuses):
            # the first was told of an older update, and read this one already
            excuses.remove(excuse)
            continue
        elif swap := _swapped_while_told(before, after, evidence, swaps):
            # it may have read what stood there for a moment only
            swaps.remove(swap)
            continue
        times = f"at {before.woken:.3f} and {after.woken:.3f}"
        yield f"duplicate: {life.name} was told {number} again, {times}"


def _may_be_older(life: Life, told: Reading, evidence: Evidence) -> bool:
    """Whether a process may have started before the sidecar noticed the swap."""
    # by its beginning: a busy machine lets us note its end after the sidecar has acted
    swapped = (update.ended for update in evidence.updates if update.began < told.woken)
    held_up = (until for until in evidence.held_up if until < told.woken)
    newest = max((*swapped, *held_up))
    return life.started is not None and life.started < newest + GRACE + NOTICED


def _settled_between(
    before: Reading,
    after: Reading,
    number: int,
    evidence: Evidence,
    unused: set[Detection],
) -> Detection | None:
    """Find a content that the sidecar found settled after the first was told."""
    generations = {u.generation for u in evidence.updates if u.number == number}
    for detection in evidence.detections:
        if (
            detection in unused
            and detection.generation in generations
            and before.woken - _SLACK <= detection.at <= after.woken + _SLACK
        ):
            return detection
    return None


def _swapped_while_told(
    before: Reading, after: Reading, evidence: Evidence, unused: list[Update]
) -> Update | None:
    """Find a swap that came before the sidecar could take the first for granted.

    On a busy machine a target wakes up a while after it was told.
    """
    held_up = (t for t in evidence.held_up if before.woken < t < after.woken)
    until = max(before.woken + CONFIRMED, before.done, *held_up) + NOTICED
    told = _told_of(before, evidence)
    for update in unused:
        if (
            update.began > told
            and update.ended > before.woken - NOTICED
            and update.began < min(until, after.woken)
        ):
            return update
    return None


def _told_of(reading: Reading, evidence: Evidence) -> float:
    """Return when the update began that a target was told of, not one after it."""
    number = evidence.number(reading)
    return max(
        (
            update.began
            for update in evidence.updates
            if update.number == number
            and (
                reading.generation == update.generation
                if reading.generation
                else update.ended + GRACE <= reading.woken
            )
        ),
        default=reading.woken,
    )


def _shown(keys: Keys) -> str:
    return " ".join(f"{name}={seen}" for name, seen in sorted(keys.items()))
