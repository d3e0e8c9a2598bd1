"""The commands as a user runs them: as processes, or here, which is faster."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from dataclasses import dataclass

from sidecar.cli import entry


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
        timeout=90,
    )
    return Run(done.returncode, done.stdout.decode(), done.stderr.decode())


def call(*arguments: object) -> Run:
    """Run a command that reads files in this process."""
    written, stderr = io.BytesIO(), io.StringIO()
    stdout = io.TextIOWrapper(written, newline="")
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        status = entry.main([str(argument) for argument in arguments])
    stdout.flush()
    return Run(status, written.getvalue().decode(), stderr.getvalue())
