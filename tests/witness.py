"""A small program that tells what it read, each time it is told to reload.

Run as a script it is that program: it reads a directory at its start and on every
signal, and writes what it saw as a line of JSON. The class starts it and listens.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self


class Witness:
    """The program as a child process; what it read is in `readings`, oldest first.

    The first reading is the one at its start.
    """

    def __init__(self, directory: Path, *, mode: str = "handle") -> None:
        """`mode`: `handle` rereads on SIGHUP; `default` and `ignore` do nothing."""
        self._command = [sys.executable, __file__, str(directory), mode]
        self._news = threading.Condition()
        self._readings: list[dict[str, str]] = []

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        self.wait_for(1)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._thread.join()
        if self._process.stdout:
            self._process.stdout.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def selector(self) -> dict[str, str]:
        """Return the sidecar's variables that mean this process and no other."""
        return {"PROCESS_CMDLINE": f"{Path(__file__).name} {self._command[2]} "}

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    @property
    def readings(self) -> list[dict[str, str]]:
        with self._news:
            return list(self._readings)

    def wait_for(self, count: int, within: float = 15.0) -> list[dict[str, str]]:
        """Return all readings once there are so many."""
        with self._news:
            if not self._news.wait_for(lambda: len(self._readings) >= count, within):
                raise TimeoutError(f"{len(self._readings)} of {count} readings")
            return list(self._readings)

    def _listen(self) -> None:
        if self._process.stdout is None:
            return
        for line in self._process.stdout:
            with self._news:
                self._readings.append(json.loads(line))
                self._news.notify_all()


def _read(directory: Path) -> dict[str, str]:
    seen: dict[str, str] = {}
    for name in sorted(os.listdir(directory)):  # noqa: PTH208  # names are wanted
        if not name.startswith(".."):
            seen.update(_read_entry(directory / name, name))
    return seen


def _read_entry(path: Path, name: str) -> Iterable[tuple[str, str]]:
    if path.is_dir():
        return [(f"{name}/{k}", v) for k, v in _read(path).items()]
    try:
        return [(name, path.read_text(errors="replace")[:64])]
    except FileNotFoundError:
        return [(name, "DANGLING")]


def _main(directory: Path, mode: str) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    if mode == "handle":
        # one byte a signal, so that two signals in a row are two readings
        signal.set_wakeup_fd(writer)
        for number in (signal.SIGHUP, signal.SIGUSR2):
            signal.signal(number, lambda *_: None)
    else:  # said in full, because whoever started us may ignore it (nohup)
        action = signal.SIG_IGN if mode == "ignore" else signal.SIG_DFL
        signal.signal(signal.SIGHUP, action)
    while True:
        sys.stdout.write(json.dumps(_read(directory)) + "\n")
        sys.stdout.flush()
        os.read(reader, 1)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), sys.argv[2])
