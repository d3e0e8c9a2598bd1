"""The entry: be careful first, then load the rest.

Loading takes a third of a second. A program that is PID 1 of its namespace ignores
SIGTERM until it has a handler, and one that is not dies of SIGHUP; so both come first.
"""

from __future__ import annotations

import os
import signal
import sys

from .cli import COMMANDS

_PR_SET_DUMPABLE = 4
_INTERRUPTED = 130
"""What a shell shows of a program that Ctrl-C has ended."""


def main() -> int:
    """Run the command line; return the exit status."""
    if sys.argv[1:2] and sys.argv[1] in COMMANDS:
        return _for_people(sys.argv[1:])
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # everybody is looked at anyway
    _make_undumpable()
    _fill_standard_streams()

    from . import command

    return command.main(sys.argv[1:])


def _for_people(arguments: list[str]) -> int:
    try:
        from .cli import entry

        return entry.main(arguments)
    except ModuleNotFoundError as error:
        sys.stderr.write(
            f"{arguments[0]} is for people and their machines, and {error.name} is not"
            " installed here: pip install '.[cli]' in a checkout\n"
        )
        return 2
    except KeyboardInterrupt:
        return _INTERRUPTED


def _end(*_: object) -> None:
    """End at once; only who runs until it is told to stop has then done its work."""
    os._exit(1 if sys.argv[1:] else 0)


def _fill_standard_streams() -> None:
    """Open what is closed of stdin, stdout and stderr, or a socket takes its number."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def _make_undumpable() -> None:
    """Hide our environment and files from other processes of our uid.

    With a shared process namespace `/proc/<pid>/environ` would show them: proc(5).
    """
    import ctypes  # after the handlers: it takes longer than all else here

    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main())
