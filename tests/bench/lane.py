"""One contender at work: its volumes, the program that it tells, and the clock."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.kubelet import KubeletVolume
from tests.sidecar_process import CHECKOUT

from .contenders import Command, Contender, Job, Work
from .receiver import Receiver

_FIRST = 30.0
_PATIENCE = 3.0
_BOUND = 10.0
_QUIET = 0.5
_CONTENT = 100
_LOG_LINES = 5


class BenchError(Exception):
    """A contender did not do its work."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a contender is given."""

    job: Job = "signal"
    waits: bool = False
    volumes: int = 1
    keys: int = 1


class Lane:
    """Nothing that it measures is shared with another lane but the machine.

    On entering the block the contender has told of an update, so it is awake to them.
    """

    def __init__(self, contender: Contender, load: Load, place: Path) -> None:
        self.contender = contender
        self.load = load
        self.place = place
        self.updates = 0
        self._before = 0
        self._number = 0
        self._stack = ExitStack()

    @property
    def name(self) -> str:
        return self.contender.name

    @property
    def pid(self) -> int:
        """Of the contender."""
        return self._process.pid

    @property
    def log(self) -> Path:
        return self.place / "log"

    @property
    def volume(self) -> KubeletVolume:
        """The one that is written next; each in turn."""
        return self._volumes[self._number % len(self._volumes)]

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._prepare(stack)
            self._process = self.start(self._command)
            stack.callback(self.end, self._process)
            self._wake()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def start(self, command: Command) -> subprocess.Popen[bytes]:
        """Start the contender; its log goes to a file."""
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command.arguments,
                cwd=CHECKOUT,
                env=_environment(command.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @staticmethod
    def end(process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()

    def update(self) -> float:
        """Publish an update; return the seconds from the rename to its being told.

        Raises:
            BenchError: nothing was told.
        """
        renamed = self.write()
        told = self._receiver.wait_since(renamed, _BOUND)
        if told is None:
            raise self._failed(f"told nothing within {_BOUND:g} s")
        return told - renamed

    def write(self) -> float:
        """Publish an update; return CLOCK_MONOTONIC at the rename, in seconds."""
        self._number += 1
        self.updates += 1
        return self.volume.write(self._files())

    def count_from_here(self) -> None:
        """Begin to count updates and how often they were told."""
        self._settle()
        self.updates, self._before = 0, self._receiver.count

    def told_per_update(self) -> float:
        """Return how often an update was told since counting began, on average."""
        self._settle()
        return (self._receiver.count - self._before) / max(1, self.updates)

    def _prepare(self, stack: ExitStack) -> None:
        self.place.mkdir(parents=True)
        paths = [self.place / f"volume-{n}" for n in range(self.load.volumes)]
        self._volumes = [KubeletVolume(path) for path in paths]
        for volume in self._volumes:
            volume.write(self._files())
        # the name is a process's, and may have 15 characters
        self._receiver = stack.enter_context(Receiver(f"told-{self.place.name[-10:]}"))
        work = Work(
            self.load.job,
            paths,
            self._receiver.pid,
            self._receiver.name,
            self._receiver.url,
            self.load.waits,
        )
        self._command = self.contender.command(work)

    @property
    def command(self) -> Command:
        return self._command

    def _files(self) -> dict[str, str]:
        """Return keys of which one differs from those of the update before."""
        same = "x" * _CONTENT
        files = {f"key-{n:04}.conf": same for n in range(self.load.keys)}
        return files | {"key-0000.conf": f"{self._number:0{_CONTENT}}"}

    def _wake(self) -> None:
        """Publish updates until one is told: nobody says when he watches."""
        deadline = time.monotonic() + _FIRST
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise self._failed(f"ended with status {self._process.returncode}")
            renamed = self.write()
            if self._receiver.wait_since(renamed, _PATIENCE) is not None:
                return
        raise self._failed(f"told nothing in its first {_FIRST:g} s")

    def _settle(self) -> None:
        """Wait until nothing more is told; a contender may tell several times."""
        quiet = _PATIENCE if self.load.waits else _QUIET
        while self._receiver.wait_since(time.monotonic(), quiet) is not None:
            pass

    def _failed(self, what: str) -> BenchError:
        lines = self.log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
        return BenchError("\n".join([f"{self.name} {what}; its log ends:", *lines]))


def _environment(chosen: Mapping[str, str]) -> dict[str, str]:
    """Return what a program needs of our environment, and what was chosen for it."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return kept | {"PYTHONPATH": str(CHECKOUT)} | dict(chosen)
