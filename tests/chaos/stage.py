"""What one kind of fault is given, and what it leaves: chance, a place, a tally."""

from __future__ import annotations

import random
import tempfile
from dataclasses import dataclass, field, fields
from pathlib import Path

NOBODY = 31337
"""A uid without privileges, whose inotify instances nobody else uses."""


class FaultError(Exception):
    """The kind of fault can't go on; what is wrong was noted."""


@dataclass(slots=True)
class Tally:
    """The numbers of one row of the table, in its order."""

    faults: int = 0
    updates: int = 0
    expected: int = 0
    reloads: int = 0
    lost: int = 0
    early: int = 0
    duplicate: int = 0
    allowed: int = 0
    harmed: int = 0

    def add(self, other: Tally) -> None:
        for column in fields(self):
            name = column.name
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def good(self) -> bool:
        bad = self.lost + self.early + self.harmed
        return bad == 0 and self.duplicate <= self.allowed


@dataclass(slots=True)
class Stage:
    """Where one kind of fault plays, for so many rounds."""

    chance: random.Random
    rounds: int
    seed: str
    directory: Path
    tally: Tally = field(default_factory=Tally)
    problems: list[str] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)

    def note(self, problem: str) -> None:
        """Note what went wrong: its first word is the column that counts it."""
        column = problem.partition(":")[0]
        setattr(self.tally, column, getattr(self.tally, column) + 1)
        self.problems.append(problem)

    def place(self) -> Path:
        """Make a directory that every user may enter."""
        path = Path(tempfile.mkdtemp(prefix="arena-", dir=self.directory))
        path.chmod(0o755)
        return path
