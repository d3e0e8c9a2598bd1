"""What `/proc` says of one process, and the clock that its times are measured by.

Field names are those of proc(5). psutil finds the processes; what it does not tell (the
start in clock ticks, `comm` as the kernel cut it, the signal masks) is read here.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
"""The unit of a start time (sysconf(3))."""


@dataclass(frozen=True, slots=True)
class Stat:
    """From `/proc/<pid>/stat`."""

    comm: str
    state: str
    ppid: int
    start: int
    """Field 22: ticks since boot. With the PID it names a process for good."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """From `/proc/<pid>/status`: who it is and what it does with signals.

    The masks are integers with bit `signal - 1` set for a signal in the set.
    """

    uid: int
    saved_uid: int
    effective_uid: int
    capabilities: int
    """`CapEff`."""

    caught: int
    ignored: int
    blocked: int


def stat(pid: int) -> Stat | None:
    """Read a process; None if there is none, or a zombie is all that is left."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="surrogateescape")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    # comm stands in brackets and may hold any character, brackets too
    comm = text[text.index("(") + 1 : text.rindex(")")]
    fields = text[text.rindex(")") + 2 :].split()
    if fields[0] in "ZXx":
        return None
    return Stat(comm, fields[0], int(fields[1]), int(fields[19]))


def credentials(pid: int | str) -> Credentials | None:
    """Read a process's ids and signal masks; None if it is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(errors="surrogateescape")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    uids = [int(uid) for uid in fields["Uid"].split()]
    return Credentials(
        uid=uids[0],
        effective_uid=uids[1],
        saved_uid=uids[2],
        capabilities=int(fields["CapEff"], 16),
        caught=int(fields["SigCgt"], 16),
        ignored=int(fields["SigIgn"], 16),
        blocked=int(fields["SigBlk"], 16),
    )


def mountinfo(pid: int | str) -> str:
    """Read a process's mounts; empty if it is gone or hidden from us."""
    try:
        return Path(f"/proc/{pid}/mountinfo").read_text(errors="surrogateescape")
    except OSError:  # ENOENT when gone, EINVAL for a zombie, EACCES where hidden
        return ""


def boot_time() -> float:
    """CLOCK_BOOTTIME in seconds: what start times count from, blind to clock steps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_offset() -> float:
    """Return CLOCK_REALTIME minus CLOCK_BOOTTIME: a file's time less this is boot time.

    The narrower of a few readings, so that being descheduled between the two clocks
    does not look like a step.
    """
    readings = []
    for _ in range(3):
        before = boot_time()
        real = time.time()
        after = boot_time()
        readings.append((after - before, real - (before + after) / 2))
    return min(readings)[1]
