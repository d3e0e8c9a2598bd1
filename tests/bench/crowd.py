"""Processes that have nothing to do with anything, and sleep."""

from __future__ import annotations

import subprocess
from types import TracebackType
from typing import Self

_NO_LONGER = "1800"  # seconds, should nobody be left to end them


class Crowd:
    """Grows to the sizes that are asked for; all end with the block."""

    def __init__(self) -> None:
        self._sleepers: list[subprocess.Popen[bytes]] = []

    def grow(self, size: int) -> None:
        while len(self._sleepers) < size:
            self._sleepers.append(
                subprocess.Popen(["sleep", _NO_LONGER], stdin=subprocess.DEVNULL)
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for sleeper in self._sleepers:
            sleeper.kill()
        for sleeper in self._sleepers:
            sleeper.wait()
