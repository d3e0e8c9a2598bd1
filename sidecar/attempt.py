"""One try to tell one target, written as steps that never block.

An attempt is a generator: it acts, then yields how long it can wait. The loop resumes
it when that time has come or anything else happened, so each step looks at the facts
again. Closing the generator abandons the attempt; its `finally` blocks let go of what
it holds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Protocol

from .change import Change
from .errors import ReloadError
from .status import TargetStatus

if TYPE_CHECKING:
    from .exchange import Exchange, Response


@dataclass(frozen=True, slots=True)
class Wait:
    """Resume me at this time (CLOCK_MONOTONIC, seconds) at the latest."""

    until: float
    told: bool = True
    """Whether the target has been told, or could not be: then others may go on."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended; neither error means that the target took it."""

    failure: ReloadError | None = None
    """Somebody could not be told."""

    rejection: ReloadError | None = None
    """Somebody was told, but died or does not agree."""

    detail: str | None = None
    """What there is to say of a success."""


Steps = Generator[Wait, None, Outcome]


def answered(
    exchange: Exchange, *, told: bool = True, until: float = inf
) -> Generator[Wait, None, Response | ReloadError]:
    """Wait for an answer as long as the exchange may take, but until then at most."""
    deadline = min(exchange.deadline, until)
    while (answer := exchange.result()) is None:
        if time.monotonic() >= deadline:
            failure = exchange.timed_out()
            exchange.abandon()
            return failure
        yield Wait(deadline, told)
    return answer


@dataclass(frozen=True, slots=True)
class Plan:
    """What there is to do for a target now."""

    begin: Callable[[Change, int], Steps] | None = None
    """Starts an attempt on who can be told; it takes the attempt's number too."""

    problem: ReloadError | None = None
    """Why there is nobody to tell, or not everybody who should be there."""

    stale: bool = False
    """Whether somebody does not hold the content, told too often or not."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """What is known at the start of who held the content before. CLOCK_BOOTTIME."""

    held: Sequence[str] | None
    """Who is remembered to hold it, as `Target.held` wrote it; None: no memory."""

    sandbox_started: float | None
    """When the pod's sandbox was made; None: unknown."""

    swapped: float
    """When the newest content of any volume was swapped in."""

    swapped_by_kubelet: float
    """The same of volumes that the kubelet mounts: -inf if there is none."""


class Target(Protocol):
    """Something that can be told to reload."""

    @property
    def name(self) -> str:
        """The target's name in logs, metrics and status."""
        ...

    def settled(self, fresh_from: float) -> None:
        """Take note of new content; nobody holds it unless started since then."""
        ...

    def swapped(self, fresh_from: float, since: float) -> None:
        """Take note of swaps that left the content as it was, the first at `since`.

        Who was told or started later may have read something else.
        """
        ...

    def voided(self, now: float) -> None:
        """Forget what is established: everybody gets told."""
        ...

    def doubted(self, now: float) -> None:
        """Take back what rests on times of files: they can't be compared any more."""
        ...

    def assumed(self) -> None:
        """Take it that everybody there is now holds the content."""
        ...

    def began(self, beginning: Beginning) -> None:
        """Take up who held the content before the sidecar started."""
        ...

    def held(self, before: float) -> tuple[str, ...]:
        """Return who held the content before this time, for `began`."""
        ...

    def plan(self, *, quiet: bool) -> Plan:
        """Look who is there and what is to be done about it.

        `quiet`: nothing is being written, so who holds the content by its start can be
        remembered to, whatever becomes of its parents. Otherwise an attempt has just
        ended, and has looked.
        """
        ...

    def status(self) -> TargetStatus:
        """Describe the target as the last plan or attempt found it."""
        ...
