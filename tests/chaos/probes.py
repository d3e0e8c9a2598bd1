"""What the machine can do; each answer is what it lacks, or None."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile

from tests.sidecar_process import CHECKOUT

from .stage import NOBODY
from .target import as_user


def user() -> str | None:
    """Run programs as a user without privileges."""
    if problem := _tools("setpriv"):
        return problem
    probe = "import sidecar.__main__"
    command = [*as_user(NOBODY), sys.executable, "-c", probe]
    if not _works(command):
        return f"uid {NOBODY} can't run {sys.executable} in {CHECKOUT}"
    return None


def mounts() -> str | None:
    """Mount a file system of our own."""
    if problem := _tools("mount", "umount"):
        return problem
    with tempfile.TemporaryDirectory() as place:
        if not _works(["mount", "-t", "tmpfs", "-o", "size=4k", "chaos", place]):
            return "tmpfs can't be mounted"
        return None if _works(["umount", place]) else "tmpfs can't be unmounted"


def pids() -> str | None:
    """Choose the PID of the next process, in a namespace of our own."""
    if problem := _tools("unshare"):
        return problem
    choose = "echo 400 > /proc/sys/kernel/ns_last_pid"
    inside = ["unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", choose]
    return None if _works(inside) else "PIDs can't be chosen in a namespace"


def _tools(*names: str) -> str | None:
    if os.geteuid() != 0:
        return "root is needed"
    absent = [name for name in names if not shutil.which(name)]
    return f"{', '.join(absent)} is not installed" if absent else None


def _works(command: list[str]) -> bool:
    done = subprocess.run(
        command, check=False, capture_output=True, cwd=CHECKOUT, timeout=30
    )
    return done.returncode == 0
