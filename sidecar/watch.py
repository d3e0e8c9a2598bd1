"""The kernel's word that a watched directory changed.

Source of the facts: inotify(7). A watch follows the inode, not the path, so a directory
that was replaced is watched anew; whoever covers the volumes again and again is safe.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import selectors
import termios
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from inotify_simple import INotify, flags, parse_events

from .errors import WatchError

# MODIFY too, because a program may write for long without closing the file
_CHANGE = (
    flags.CREATE
    | flags.DELETE
    | flags.MOVED_FROM
    | flags.MOVED_TO
    | flags.MODIFY
    | flags.CLOSE_WRITE
    | flags.ATTRIB
    | flags.DELETE_SELF
    | flags.MOVE_SELF
    | flags.ONLYDIR
)
_VOID = flags.IGNORED | flags.UNMOUNT | flags.DELETE_SELF | flags.MOVE_SELF
_SCRATCH = re.compile(r"\.\.(data_tmp$|\d{4}_\d\d_\d\d_)")
"""A kubelet's next link, and its directories (atomic_writer.go, `newTimestampDir`)."""

_BUFFER = 16 * 1024
_LIMITS = {
    errno.EMFILE: (
        "the limit of inotify instances of this uid on the node, or of open files, is"
        " reached (fs.inotify.max_user_instances)"
    ),
    errno.ENFILE: "the node has no file descriptors left (fs.file-max)",
    errno.ENOSPC: (
        "the limit of inotify watches on the node is reached"
        " (fs.inotify.max_user_watches)"
    ),
    errno.ENOMEM: "the kernel has no memory for a watch",
}


@dataclass(frozen=True, slots=True)
class Events:
    """What the queue held. What happened is not told: whoever wants to know looks."""

    any: bool = False
    """Whether any of it may be a change."""

    overflowed: bool = False
    """IN_Q_OVERFLOW: events were lost, so anything may have happened."""

    prepared: bool = False
    """Whether a kubelet is about to publish."""


class Watch:
    """inotify watches on directories, as one descriptor in a selector."""

    def __init__(self, ready: selectors.BaseSelector) -> None:
        self._ready = ready
        self._inotify: INotify | None = None
        self._watched: dict[str, tuple[int, int, int]] = {}
        """Path of a directory: watch descriptor, device, inode."""

    def cover(self, directories: Iterable[str]) -> bool:
        """Watch these directories and no others; say whether any watch is new.

        What happened in a directory before its watch is not known.

        Raises:
            WatchError: one of them can't be watched; the others are.
        """
        wanted = tuple(directories)
        for path in self._watched.keys() - set(wanted):
            self._forget(path)
        new = False
        problem: WatchError | None = None
        for path in wanted:
            try:
                new = self._watch(path) or new
            except WatchError as error:
                problem = error
        if problem:
            raise problem
        return new

    def drain(self) -> Events:
        """Take every event that is queued now, in bounded memory.

        What comes meanwhile stays: somebody who writes faster than we read would keep
        us here, and the selector tells of it at once.

        What a kubelet prepares before it publishes, and removes afterwards, is no
        reason to look: we would read twice.
        """
        seen = prepared = overflowed = False
        waiting = self._waiting()
        while waiting > 0 and (data := self._read()):
            waiting -= len(data)
            for event in parse_events(data):
                if _SCRATCH.match(event.name):
                    prepared = prepared or not event.mask & flags.DELETE
                else:
                    seen = True
                overflowed = overflowed or bool(event.mask & flags.Q_OVERFLOW)
                if event.mask & _VOID:
                    self._voided(event.wd)
        return Events(seen, overflowed, prepared)

    def _waiting(self) -> int:
        """Return how much is queued, in octets."""
        if self._inotify is None:
            return 0
        size = array("i", [0])
        fcntl.ioctl(self._inotify.fd, termios.FIONREAD, size)
        return size[0]

    def _read(self) -> bytes:
        if self._inotify is None:
            return b""
        try:
            return os.read(self._inotify.fd, _BUFFER)
        except BlockingIOError:
            return b""

    def _watch(self, path: str) -> bool:
        try:
            status = os.stat(path)
        except OSError as error:
            self._forget(path)
            raise WatchError("gone", f"{path}: {error.strerror}") from error
        identity = (status.st_dev, status.st_ino)
        known = self._watched.get(path)
        if known and known[1:] == identity:
            return False
        self._forget(path)
        try:
            descriptor = self._instance().add_watch(path, _CHANGE)
        except OSError as error:
            raise _explained(path, error) from error
        self._watched[path] = (descriptor, *identity)
        return True

    def _instance(self) -> INotify:
        if self._inotify is None:
            self._inotify = INotify(nonblocking=True)
            self._ready.register(self._inotify, selectors.EVENT_READ)
        return self._inotify

    def _forget(self, path: str) -> None:
        known = self._watched.pop(path, None)
        shared = known and any(w[0] == known[0] for w in self._watched.values())
        if known and self._inotify and not shared:
            try:
                self._inotify.rm_watch(known[0])
            except OSError as error:
                if error.errno != errno.EINVAL:  # the kernel removed it before us
                    raise

    def _voided(self, descriptor: int) -> None:
        for path, known in tuple(self._watched.items()):
            if known[0] == descriptor:
                self._forget(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._inotify is not None:
            self._ready.unregister(self._inotify)
            self._inotify.close()
            self._inotify = None


def _explained(path: str, error: OSError) -> WatchError:
    if error.errno in _LIMITS:
        return WatchError("limit", f"{path}: {_LIMITS[error.errno]}")
    gone = error.errno in (errno.ENOENT, errno.ENOTDIR)
    return WatchError("gone" if gone else "other", f"{path}: {error.strerror}")
