"""What every measure stands on: the contenders, a place for files, how much to do."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .contenders import Contender
from .lane import BenchError, Lane, Load


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is done."""

    updates: int
    """Of each contender with its delays off."""

    waiting_updates: int
    """Of each contender with its own defaults."""

    starts: int
    reloads: int
    events: int
    idle_seconds: float
    growing_updates: int
    """At each size of what grows."""

    keys: Sequence[int]
    volumes: Sequence[int]
    processes: Sequence[int]


FULL = Scale(
    updates=200,
    waiting_updates=15,
    starts=15,
    reloads=1000,
    events=100_000,
    idle_seconds=60,
    growing_updates=30,
    keys=(1, 10, 100, 500, 2000),
    volumes=(1, 10, 50),
    processes=(0, 10, 100, 300, 1000, 2000),
)
QUICK = Scale(
    updates=20,
    waiting_updates=2,
    starts=3,
    reloads=50,
    events=3000,
    idle_seconds=5,
    growing_updates=5,
    keys=(1, 200),
    volumes=(1, 5),
    processes=(0, 300),
)


@dataclass(frozen=True, slots=True)
class Ground:
    """Handed to every measure."""

    contenders: Sequence[Contender]
    place: Path
    scale: Scale
    say: Callable[[str], None]
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def lane(self, contender: Contender, load: Load) -> Lane:
        """Make a lane in a place of its own."""
        return Lane(contender, load, self.place / f"lane-{next(self._numbers):04}")

    def able(self, load: Load) -> list[Contender]:
        """Return who could do such work; there may be reasons why one is missing."""
        return [
            contender
            for contender in self.contenders
            if load.job in contender.jobs
            and (load.volumes == 1 or contender.several_volumes)
        ]

    @contextmanager
    def started(self, load: Load) -> Iterator[tuple[list[Lane], dict[str, str]]]:
        """Start everybody who can do such work; name who can't be had, and why."""
        with ExitStack() as stack:
            lanes, missing = [], {}
            for contender in self.able(load):
                if contender.missing:
                    missing[contender.name] = contender.missing
                    continue
                try:
                    lane = self.lane(contender, load)
                    lanes.append(stack.enter_context(lane))
                except BenchError as error:
                    missing[contender.name] = self.failed(error)
            yield lanes, missing

    def failed(self, error: BenchError) -> str:
        """Tell of a contender that failed, and return what the table says of it."""
        self.say(str(error))
        return str(error).partition(";")[0]
