"""The program to reload, in one life after another: its harness is its kubelet."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Literal

from .judge import Life, Reading

Mode = Literal["handle", "late", "slow"]
READER = Path(__file__).parent / "reader.py"


def as_user(uid: int | None) -> list[str]:
    """Return what is put before a command to run it as a user without privileges."""
    if uid is None:
        return []
    ids = [f"--reuid={uid}", f"--regid={uid}"]
    return ["setpriv", *ids, "--clear-groups", "--inh-caps=-all"]


class Program:
    """One process that reads; what it read is in `life`."""

    def __init__(self, directory: Path, mode: Mode, uid: int | None = None) -> None:
        command = [sys.executable, "-I", "-S", str(READER), str(directory), mode]
        self.started = time.monotonic()
        self._readings: list[Reading] = []
        self._lock = threading.Lock()
        self._ended_by_us = False
        self._process = subprocess.Popen(
            [*as_user(uid), *command],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def life(self) -> Life:
        with self._lock:
            readings = tuple(self._readings)
        return Life(f"process {self.pid}", self.started, readings)

    @property
    def harmed(self) -> bool:
        """Whether it ended, and not by us."""
        return self._process.poll() is not None and not self._ended_by_us

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._ended_by_us = self._process.poll() is None or self._ended_by_us
        self._process.kill()
        self._process.wait()
        self._thread.join()

    def _listen(self) -> None:
        assert self._process.stdout
        with self._process.stdout as lines:
            for line in lines:
                if not line.endswith("\n"):
                    return  # it was killed while it wrote
                reading = Reading(**json.loads(line))
                with self._lock:
                    self._readings.append(reading)
