"""Takes every inotify instance that its uid may have, until its stdin is closed."""

from __future__ import annotations

import ctypes
import sys


def _main() -> None:
    libc = ctypes.CDLL(None)
    taken = 0
    while libc.inotify_init1(0) >= 0:
        taken += 1
    sys.stdout.write(f"{taken}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    _main()
