"""The commands as a user runs them: as processes, with their streams and status."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a command."""

    status: int
    stdout: str
    stderr: str


def run(*arguments: str, stdin: str | bytes = "") -> Run:
    """Run `config-reload-sidecar` with these arguments."""
    given = stdin.encode() if isinstance(stdin, str) else stdin
    done = subprocess.run(
        [sys.executable, "-m", "sidecar", *arguments],
        input=given,
        capture_output=True,
        check=False,
        timeout=60,
    )
    return Run(done.returncode, done.stdout.decode(), done.stderr.decode())
