"""A Python with what an image would hold, and nothing else.

What is merely installed counts: structlog imports rich where it finds it, and the
commands for people, which the checks need, bring it along.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from tests.sidecar_process import CHECKOUT


def python(cache: Path) -> str:
    """Return the interpreter of an environment made from requirements.lock, kept."""
    lock = CHECKOUT / "requirements.lock"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    place = cache / f"python-{digest[:12]}"
    program = str(place / "bin/python")
    made = place / ".made"
    if not made.exists():
        pip = [
            program,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(place)],
            [*pip, "--require-hashes", "--only-binary", ":all:", "-r", str(lock)],
        ):
            subprocess.run(command, check=True)
        made.touch()
    return program
