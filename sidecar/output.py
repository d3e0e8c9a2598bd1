"""What a command says on stdout, to somebody who may have stopped listening."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress

_STDOUT = 1
_STDERR = 2


def say(text: str) -> int:
    """Write to stdout; return the exit status, which is not 0 if nobody can read it."""
    try:
        _write(text)
    except OSError as error:
        with suppress(OSError):
            os.write(_STDERR, f"stdout can't be written: {error.strerror}\n".encode())
        return 1
    return 0


def _write(text: str) -> None:
    """Write without a buffer: what it can't get rid of fails again when Python ends.

    UTF-8 whatever the locale, and the name of a key need not even be that.

    Raises:
        OSError: nobody will read it.
    """
    if sys.__stdout__ is None:  # it was closed when we started, and is /dev/null now
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    rest = text.encode("utf-8", "backslashreplace")
    while rest:
        rest = rest[os.write(_STDOUT, rest) :]
