"""What a process costs while it lives, as the kernel counts it: proc(5)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Memory:
    """From `/proc/<pid>/status`, in octets."""

    resident: int
    """`VmRSS`, shared pages too."""

    anonymous: int
    """`RssAnon`: what no other process shares."""


@dataclass(frozen=True, slots=True)
class Activity:
    """What all threads of a process did since each of them started."""

    wakeups: int
    """`voluntary_ctxt_switches`: each is a wait that ended."""

    seconds: float
    """On a processor, from `schedstat`."""

    def __sub__(self, earlier: Activity) -> Activity:
        return Activity(self.wakeups - earlier.wakeups, self.seconds - earlier.seconds)


def memory(pid: int) -> Memory:
    """Read what a process uses."""
    fields = _status(Path(f"/proc/{pid}/status"))
    return Memory(_octets(fields["VmRSS"]), _octets(fields["RssAnon"]))


def activity(pid: int) -> Activity:
    """Add up the threads that live; what a thread did that ended is lost."""
    wakeups, seconds = 0, 0.0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            wakeups += int(_status(task / "status")["voluntary_ctxt_switches"])
            seconds += int((task / "schedstat").read_text().split()[0]) / 1e9
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended
    return Activity(wakeups, seconds)


def processor_seconds(pid: int) -> float:
    """Return the time on a processor, of ended threads too, to a tick (10 ms)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def armed(pid: int) -> bool:
    """Whether a process watches anything with inotify.

    Raises:
        PermissionError: it is undumpable and we are not root.
    """
    descriptors = Path(f"/proc/{pid}/fdinfo")
    for name in os.listdir(descriptors):  # noqa: PTH208  # names are enough
        try:
            if "inotify wd:" in (descriptors / name).read_text():
                return True
        except FileNotFoundError:
            continue  # it was closed
    return False


def _status(path: Path) -> dict[str, str]:
    lines = path.read_text(errors="surrogateescape").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _octets(field: str) -> int:
    return int(field.split()[0]) * 1024
