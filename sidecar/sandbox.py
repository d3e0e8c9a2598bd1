"""When the pod's sandbox was made: what was mounted before, the program has read."""

from __future__ import annotations

from pathlib import Path

from . import proc
from .processes import Me

_MADE_WITH_IT = Path("/etc/hostname")
"""Written by the runtime when it makes the sandbox. Its ctime may be of a later
container, for which the runtime gave it an SELinux label anew."""


def started(me: Me, offset: float) -> float | None:
    """Return when the sandbox was made, as CLOCK_BOOTTIME in seconds; None: unknown.

    `offset` is CLOCK_REALTIME minus CLOCK_BOOTTIME.
    """
    if me.shared and (pause := proc.stat(1)):
        return pause.start / proc.TICKS_PER_SECOND
    try:
        return _MADE_WITH_IT.stat().st_mtime - offset
    except OSError:
        return None
