"""A pod in virtual time: volumes, programs and webhooks, and what each really read.

Nothing here knows the sidecar. The volumes are real directories, written as a kubelet
does; only their times are virtual, because real ones could not be stepped. A program
reads what it finds at its start and when it is signalled, so in the end there is no
doubt who runs what.
"""

from __future__ import annotations

import heapq
import itertools
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Literal, Protocol

from tests.kubelet import KubeletVolume, Order

TICK = 0.01
"""A start time in `/proc` is whole ticks of the kernel's clock: proc(5)."""

MONOTONIC_BEHIND = 4096.0
"""The machine was suspended once, so that no two of its clocks can be confused."""

BAD = "bad"
"""A value that no program takes."""

Content = tuple[tuple[str, str], ...]
View = tuple[Content, ...]
"""What each volume shows to a program that reads it."""

Mood = Literal["well", "slow", "refusing", "silent", "forgetful"]
Watching = Literal["events", "overflow", "limit", "blind"]


class Observer(Protocol):
    """Who runs in this world besides its programs: the sidecar."""

    @property
    def due(self) -> float: ...

    def turn(self) -> None: ...

    def changed(self, path: str) -> None: ...

    def ended(self, pid: int) -> None: ...


@dataclass(slots=True)
class Volume:
    """A mounted volume and the virtual times of what happened to it."""

    kubelet: KubeletVolume
    touched: float = -inf
    """Boot time of the last event in it."""

    changed: dict[str, float] = field(default_factory=dict)
    """The ctime of `..data` for each generation: wall clock."""

    swapped: dict[str, float] = field(default_factory=dict)
    """When that really was: boot time."""

    content: dict[str, Content] = field(default_factory=dict)

    @property
    def path(self) -> str:
        return str(self.kubelet.path)

    @property
    def whole(self) -> bool:
        """Whether every key has its link and no link dangles."""
        names = {n for n in os.listdir(self.path) if not n.startswith("..")}  # noqa: PTH208  # names are wanted
        return names == {key for key, _ in self.content[self.kubelet.generation]}

    def shown(self) -> Content:
        """Read the keys as a program does, through their links."""
        seen = []
        for name in sorted(os.listdir(self.path)):  # noqa: PTH208  # names are wanted
            file = self.kubelet.path / name
            if not name.startswith("..") and file.is_file():
                seen.append((name, file.read_text()))
        return tuple(seen)


@dataclass(slots=True, eq=False)
class Program:
    """One process that reads the volumes."""

    pid: int
    born: float
    name: str
    parent: Program | None
    holds: View
    handles_from: float = -inf
    """Boot time when it installs its handler; inf is never."""

    ignores: bool = False
    delay: float = 0.0
    """How long after a signal it reads, in seconds."""

    alive: bool = True
    complains: bool = False
    """Whether it was asked to take content that it does not take."""

    restarts: bool = True
    """Whether its kubelet starts it again."""

    @property
    def start(self) -> int:
        return int(self.born / TICK)

    @property
    def ppid(self) -> int:
        if self.parent is None:
            return 0
        return self.parent.pid if self.parent.alive else 1

    def ancestors(self) -> list[Program]:
        above = []
        program = self.parent
        while program and program.alive:
            above.append(program)
            program = program.parent
        return above

    @property
    def counts_from(self) -> float:
        """When the oldest on its chain of parents started; -inf for an orphan."""
        chain = [self, *self.ancestors()]
        if chain[-1].parent is not None:
            return -inf
        return min(program.start for program in chain) * TICK


@dataclass(slots=True, eq=False)
class Hook:
    """A program behind a URL."""

    number: int
    holds: View
    mood: Mood = "well"
    complains: bool = False

    @property
    def name(self) -> str:
        return f"webhook:{self.number}"


class World:
    """The machine, its clocks, and all that happens on it but the sidecar."""

    def __init__(self, directory: Path, volumes: int, order: Order) -> None:
        self.now = 10_000.0
        self.offset = 1_700_000_000.0
        self.volumes = tuple(
            Volume(KubeletVolume(directory / f"volume{n}", order))
            for n in range(volumes)
        )
        self.programs: dict[int, Program] = {}
        self.hooks: list[Hook] = []
        self.harmed: list[str] = []
        self.watching: Watching = "events"
        self.stepped_at = -inf
        """When the clock was set last: boot time."""

        self.observer: Observer | None = None
        self.told: Callable[[Program | Hook], None] = lambda _: None
        self.touched: Callable[[], None] = lambda: None
        self.refuses_quietly = False
        """Whether bad content is refused (and complained of), or died of."""
        self.masters_renew = True
        """Whether workers get what their master reads, or are told by themselves."""
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._pids = itertools.cycle(range(20, 50))

    # Time.

    @property
    def wall(self) -> float:
        return self.now + self.offset

    @property
    def monotonic(self) -> float:
        return self.now - MONOTONIC_BEHIND

    def step_clock(self, seconds: float) -> None:
        self.offset += seconds
        self.stepped_at = self.now

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._later, (self.now + seconds, next(self._order), act))

    def advance(self, seconds: float) -> None:
        """Let time pass, and everybody do what is due in it."""
        until = self.now + seconds
        busy, instant = 0, -inf
        while (moment := min(self._next(), self._observer_due())) <= until:
            if moment > self.now:
                self.now = moment
            busy = busy + 1 if self.now == instant else 0
            instant = self.now
            assert busy < 500, "the sidecar turns and turns without a reason"
            if self._next() <= self.now:
                heapq.heappop(self._later)[2]()
            elif self.observer:
                self.observer.turn()
        self.now = until

    def _next(self) -> float:
        return self._later[0][0] if self._later else inf

    def _observer_due(self) -> float:
        return self.observer.due if self.observer else inf

    # Volumes.

    def view(self) -> View:
        return tuple(volume.shown() for volume in self.volumes)

    def update(
        self, volume: Volume, files: Mapping[str, str], between: float = 0.0
    ) -> None:
        """Publish files; `between` is how long the volume is not whole, in seconds."""

        def unfinished() -> None:
            self._touch(volume)
            self.advance(between)

        self._touch(volume)
        volume.kubelet.write(files, unfinished if between else lambda: None)
        self._touch(volume)

    def _touch(self, volume: Volume) -> None:
        kubelet = volume.kubelet
        if kubelet.data.is_symlink() and kubelet.generation not in volume.changed:
            generation = kubelet.generation
            volume.changed[generation] = self.wall - 0.006  # a coarse clock
            volume.swapped[generation] = self.now
            volume.content[generation] = tuple(
                (file.name, file.read_text())
                for file in sorted((kubelet.path / generation).iterdir())
            )
        volume.touched = self.now
        self.touched()
        if self.observer:
            self.observer.changed(volume.path)

    # Programs.

    def start(
        self,
        name: str = "app",
        parent: Program | None = None,
        *,
        handler_after: float = 0.0,
        ignores: bool = False,
        delay: float = 0.0,
    ) -> Program:
        """Start a program; with a parent of its name it is a worker and inherits."""
        pid = next(pid for pid in self._pids if pid not in self.programs)
        inherits = parent is not None and parent.name == name
        program = Program(
            pid,
            self.now,
            name,
            parent,
            parent.holds if parent is not None and inherits else self.view(),
            self.now + handler_after if handler_after else -inf,
            ignores,
            delay,
            restarts=not inherits,
        )
        self.programs[pid] = program
        return program

    def end(self, program: Program, *, orphans: bool = False) -> None:
        """End a program, and what it forked unless that is left behind."""
        if not program.alive:
            return
        below = [p for p in self.programs.values() if p.parent is program]
        program.alive = False
        del self.programs[program.pid]
        if self.observer:
            self.observer.ended(program.pid)
        for child in below:
            if not orphans:
                self.end(child)

    def signalled(self, program: Program, number: int) -> None:
        """Deliver a signal, with what that does to the program."""
        if program.name != "app" or number != signal.SIGHUP:
            self.harmed.append(f"{number} to {program.name} {program.pid}")
        self.told(program)
        if program.ignores:
            return
        if self.now < program.handles_from:
            self.harmed.append(f"killed {program.pid}: it had no handler")
            self.end(program)
        elif program.delay:
            self.later(program.delay, lambda: self._reload(program))
        else:
            self._reload(program)

    def _reload(self, program: Program) -> None:
        if not program.alive:
            return
        view = self.view()
        program.complains = is_bad(view) and self.refuses_quietly
        if program.complains:
            return
        program.holds = view
        for other in self.programs.values() if self.masters_renew else ():
            if other.parent is program and other.name == program.name:
                other.holds = view
        if is_bad(view):
            self.later(0.2, lambda: self._crash(program))

    def _crash(self, program: Program) -> None:
        """End a program, its container with it, and have its kubelet restart that."""
        if not program.alive:
            return
        self.end(program)
        shell = program.parent
        if program.restarts:
            if shell is not None:
                self.end(shell)
            self.later(1.0, lambda: self._restart(program, shell))

    def _restart(self, program: Program, shell: Program | None) -> None:
        parent = self.start(shell.name) if shell is not None else None
        self.start(program.name, parent, delay=program.delay)

    # Webhooks.

    def add_hooks(self, number: int) -> None:
        view = self.view()
        self.hooks.extend(Hook(n, view) for n in range(1, number + 1))

    def called(self, hook: Hook, answer: Callable[[int | None], None]) -> None:
        """Take a request; `answer` gets a status, or None for a refused connection."""
        self.told(hook)
        if hook.mood == "refusing":
            self.later(0.001, lambda: answer(None))
        elif hook.mood != "silent":
            self._hook_reads(hook)
            if hook.mood == "forgetful":  # it reads, and its answer is lost
                return
            after = 3.0 if hook.mood == "slow" else 0.01
            self.later(after, lambda: answer(200))

    def _hook_reads(self, hook: Hook) -> None:
        view = self.view()
        hook.complains = is_bad(view) and self.refuses_quietly
        if not hook.complains:
            hook.holds = view

    def asked(self, answer: Callable[[str], None]) -> None:
        """Answer whether everybody took what they last read."""
        everybody: list[Program | Hook] = [*self.programs.values(), *self.hooks]
        fine = not any(one.complains for one in everybody)
        self.later(0.01, lambda: answer("fine" if fine else "refused"))


def is_bad(view: View) -> bool:
    """Whether a program that reads this refuses it."""
    return any(BAD in dict(content).values() for content in view)
