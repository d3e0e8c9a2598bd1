"""The commands as a user runs them: as processes, or here, which is faster."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
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
    stderr = io.StringIO()
    with tempfile.TemporaryFile() as written:
        with _stdout_into(written.fileno()), contextlib.redirect_stderr(stderr):
            status = entry.main([str(argument) for argument in arguments])
        written.seek(0)
        return Run(status, written.read().decode(), stderr.getvalue())


@contextlib.contextmanager
def _stdout_into(descriptor: int) -> Iterator[None]:
    """Let what is written to descriptor 1 go elsewhere."""
    kept = os.dup(1)
    os.dup2(descriptor, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
