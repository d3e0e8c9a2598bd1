"""Where and on what it was measured, and whether anybody else was at work there."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tests.sidecar_process import CHECKOUT

_LIBRARIES = ("httpx", "inotify_simple", "psutil", "structlog")
_BUSY = 0.1
_LOOK = 1.0


def facts() -> list[tuple[str, str]]:
    """Describe the machine and the versions, in a few lines."""
    libraries = (f"{name} {importlib.metadata.version(name)}" for name in _LIBRARIES)
    return [
        (
            "measured",
            f"{time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}, {_commit()}",
        ),
        ("machine", f"{os.cpu_count()} of {_processor()}, {_memory()} of memory"),
        ("kernel", f"Linux {platform.release()}"),
        ("Python", f"{platform.python_version()}; {', '.join(libraries)}"),
        ("others", ", ".join(_tools())),
    ]


def load() -> str:
    """Say the load average, as uptime(1) does."""
    return " ".join(f"{value:.2f}" for value in os.getloadavg())


def others_at_work() -> float:
    """Return what share of all processors was in use while we slept for a second."""
    before = _times()
    time.sleep(_LOOK)
    after = _times()
    idle, everything = after[0] - before[0], after[1] - before[1]
    return 1 - idle / everything if everything else 0.0


def is_busy(share: float) -> bool:
    """Whether so much is in use that times can't be trusted."""
    return share > _BUSY


def _times() -> tuple[int, int]:
    """Return idle and all ticks of all processors: proc(5), `/proc/stat`."""
    ticks = [int(n) for n in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory() -> str:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return f"{pages / 2**30:.0f} GiB"


def _commit() -> str:
    commit = _first_line(["git", "-C", str(CHECKOUT), "rev-parse", "--short", "HEAD"])
    if commit is None:
        return "outside of a repository"
    changed = _first_line(
        ["git", "-C", str(CHECKOUT), "status", "--porcelain", "--", "sidecar"]
    )
    return (
        f"commit {commit}{', with changes that are not committed' if changed else ''}"
    )


def _tools() -> list[str]:
    asked = (["cc", "--version"], ["go", "version"], ["podman", "--version"])
    return [_first_line(command) or f"no {command[0]}" for command in asked]


def _first_line(command: Sequence[str]) -> str | None:
    if not shutil.which(command[0]):
        return None
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.partition("\n")[0] if done.returncode == 0 else None
