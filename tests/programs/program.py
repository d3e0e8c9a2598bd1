"""A real program as a child process, and the sidecar that reloads it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
import pytest

from tests.kubelet import KubeletVolume
from tests.sidecar_process import SidecarProcess
from tests.waiting import wait_until


def require(name: str, package: str, directories: Sequence[Path] = ()) -> str:
    """Return the path of a program, or skip the test and say what to install."""
    # an ordinary user's PATH has no sbin, where Debian keeps servers
    places = [os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin"]
    found = shutil.which(name, path=os.pathsep.join([*places, *map(str, directories)]))
    if not found:
        pytest.skip(f"{name} is not installed (Debian, Ubuntu: apt install {package})")
    return found


class Program:
    """Started on entering the block, ended on leaving it, by its PID.

    `user` is whom it runs as, for programs that refuse root; None is whoever we are.
    `end_with` is the signal that means stop, which is not the same for all of them.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        scratch: Path,
        *,
        user: str | None = None,
        end_with: signal.Signals = signal.SIGTERM,
    ) -> None:
        self._command = command
        self._scratch = scratch
        self._user = user
        self._end_with = end_with
        self._output = scratch / "output"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._scratch,
                stdout=output,
                stderr=output,
                start_new_session=True,
                user=self._user,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        process = self._started
        process.send_signal(self._end_with)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        # pytest shows it for a test that failed
        sys.stdout.write(f"--- output of {self._command[0]}\n{self.log}")

    @property
    def pid(self) -> int:
        """Of the process that was started: the master."""
        return self._started.pid

    @property
    def alive(self) -> bool:
        return self._started.poll() is None

    @property
    def log(self) -> str:
        return self._output.read_text(errors="replace")

    def workers(self) -> frozenset[int]:
        """Return the PIDs of the master's children, as they are now."""
        return frozenset(child.pid for child in psutil.Process(self.pid).children())

    @property
    def _started(self) -> subprocess.Popen[bytes]:
        assert self._process, "it was not started"
        return self._process


@contextmanager
def reloading(
    volume: KubeletVolume, target: str = "process", **env: str | Path
) -> Iterator[SidecarProcess]:
    """Run the sidecar; the block begins when the target holds the volume's content."""
    # every test waits for both, and not for longer than it takes a program to die
    fast = {"RETRY_INITIAL": "100ms", "RETRY_MAX": "500ms", "VERIFY_ALIVE": "300ms"}
    sidecar = SidecarProcess({"WATCH_DIRS": volume.path, **fast, **env})
    try:
        with sidecar:
            wait_until_fresh(sidecar, target)
            yield sidecar
    finally:
        sys.stdout.write(f"--- log of the sidecar\n{sidecar.log}")


def wait_until_fresh(sidecar: SidecarProcess, target: str = "process") -> None:
    """Wait until the sidecar says that the target holds the newest content."""
    wait_until(
        lambda: sidecar.target(target).get("state") == "fresh", f"{target} is fresh"
    )
