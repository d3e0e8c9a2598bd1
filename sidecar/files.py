"""Small files that somebody else writes, read without ever waiting for them."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read_regular(path: Path, limit: int) -> tuple[bytes, os.stat_result]:
    """Return at most `limit` bytes of a regular file, and its status.

    A FIFO in its place would block the open, and an endless device the reading.

    Raises:
        OSError: it can't be read, or is no regular file (EINVAL).
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return os.read(descriptor, limit), status
    finally:
        os.close(descriptor)
