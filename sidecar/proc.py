"""What `/proc` says of processes, and the clock that its times are measured by.

Field names are those of proc(5). psutil lists the processes. Hundreds are read at a
time, so their files are read here, without the layers of `open` and of an object each.
"""

from __future__ import annotations

import errno
import os
import time
from dataclasses import dataclass

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
"""The unit of a start time (sysconf(3))."""

_PART = 4096
"""How much of a file is read at once, in octets: all of most."""


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
    text = _read(pid, "stat")
    if text is None:
        return None
    # comm stands in brackets and may hold any character, brackets too
    end = text.rindex(")")
    comm = text[text.index("(") + 1 : end]
    fields = text[end + 2 :].split(" ", 20)
    if fields[0] in "ZXx":
        return None
    return Stat(comm, fields[0], int(fields[1]), int(fields[19]))


def arguments(pid: int) -> tuple[str, ...] | None:
    """Read a process's arguments; none of a kernel thread's, None if it is gone.

    They end with a NUL each. A program that wrote a title over them leaves the NUL
    away, or one at the end, and puts spaces between the words.
    """
    text = _read(pid, "cmdline")
    if not text:
        return None if text is None else ()
    separated = text.removesuffix("\0").split("\0") if text[-1] == "\0" else [text]
    if len(separated) == 1:
        return tuple(separated[0].removesuffix(" ").split(" "))
    return tuple(separated)


def credentials(pid: int | str) -> Credentials | None:
    """Read a process's ids and signal masks; None if it is gone."""
    text = _read(pid, "status")
    if text is None:
        return None

    def field(name: str) -> str:
        # the name of the program comes first, with its line ends escaped
        begin = text.index(f"\n{name}:\t") + len(name) + 3
        return text[begin : text.index("\n", begin)]

    uid, effective_uid, saved_uid, _ = map(int, field("Uid").split())
    return Credentials(
        uid=uid,
        effective_uid=effective_uid,
        saved_uid=saved_uid,
        capabilities=int(field("CapEff"), 16),
        caught=int(field("SigCgt"), 16),
        ignored=int(field("SigIgn"), 16),
        blocked=int(field("SigBlk"), 16),
    )


def mountinfo(pid: int | str) -> str:
    """Read a process's mounts; empty if it is gone, a zombie, or hidden from us."""
    try:
        return _read(pid, "mountinfo") or ""
    except OSError as error:
        if error.errno != errno.EINVAL:  # what a zombie's says
            raise
        return ""


def _read(pid: int | str, name: str) -> str | None:
    """Read a file of a process; None if it is gone or hidden from us."""
    try:
        descriptor = os.open(f"/proc/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    try:
        data = os.read(descriptor, _PART)
        # what is short may be a part of a longer file, so only nothing is the end
        while more := os.read(descriptor, _PART):
            data += more
    except ProcessLookupError:
        return None
    finally:
        os.close(descriptor)
    return data.decode(errors="surrogateescape")


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
