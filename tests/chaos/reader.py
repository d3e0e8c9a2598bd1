"""The program to reload: reads a volume at its start and on SIGHUP, and says so.

Each reading is a line of JSON on stdout. `late` handles SIGHUP only after it got
SIGUSR1, as a program that is slow to start does; `slow` takes a moment before it reads.
Few imports, so that it starts fast.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

_MOMENT = 0.03
"""In seconds; less than `VERIFY_ALIVE`, so that it has read when that is over."""


def read(directory: str, prefix: str = "") -> dict[str, str]:
    """Return for each key the first word in it and its size, or what is wrong."""
    seen: dict[str, str] = {}
    try:
        names = sorted(os.listdir(directory))  # noqa: PTH208  # pathlib costs a start
    except OSError:
        return {prefix: "GONE"}
    for name in names:
        if name.startswith(".."):
            continue
        path = os.path.join(directory, name)  # noqa: PTH118  # likewise
        if os.path.isdir(path):  # noqa: PTH112  # likewise
            seen |= read(path, f"{prefix}{name}/")
        else:
            seen[prefix + name] = _read_key(path)
    return seen


def shown(content: bytes, size: int) -> str:
    """Write what `read` says of a key that begins so."""
    return f"{content.split()[0].decode()}/{size}"


def _read_key(path: str) -> str:
    try:
        with open(path, "rb") as file:  # noqa: PTH123  # likewise
            return shown(file.read(64), os.fstat(file.fileno()).st_size)
    except PermissionError:
        return "UNREADABLE"
    except OSError:
        return "DANGLING"


def _main(directory: str, mode: str) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    # in full, because whoever started us may ignore it (nohup)
    signal.signal(signal.SIGHUP, signal.SIG_DFL if mode == "late" else _noted)
    signal.signal(signal.SIGUSR1, _noted)
    woken = signal.SIGHUP
    while True:
        if woken == signal.SIGUSR1:
            signal.signal(signal.SIGHUP, _noted)
        else:
            at = time.monotonic()
            time.sleep(_MOMENT if mode == "slow" else 0)
            reading = {"woken": at, "keys": read(directory), "done": time.monotonic()}
            sys.stdout.write(json.dumps(reading) + "\n")
            sys.stdout.flush()
        # one byte a signal, its number: signal.set_wakeup_fd
        woken = signal.Signals(os.read(reader, 1)[0])


def _noted(*_: object) -> None:
    """Do nothing: the byte in the pipe is the note."""


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2])
