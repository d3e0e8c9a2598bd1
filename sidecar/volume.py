"""What a volume holds at one moment, as the application sees it.

The kubelet publishes a payload by renaming `..data_tmp` over `..data`, a link to a
directory that it never changes again: the generation. Links of new keys may come
before or after that rename, links of deleted keys go after it, and the old generation
is removed last (kubernetes pkg/volume/util/atomic_writer.go, `Write`). So one reading
is taken from one generation, and taken again when `..data` moved meanwhile; a link that
is missing or dangles is noted as a flaw: the kubelet is not done yet.

A directory without `..data` is plain: files written in place or renamed over.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from . import digest
from .errors import VolumeError
from .selection import Selection

DATA = "..data"
_TRIES = 10
_DEEPEST = 100
_MOST = 10_000
"""Keys, and directories, that a volume may have. Links can make a few directories look
like 2^100, so whatever is walked is bounded."""

_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_CHUNK = 256 * 1024

# A file that changes twice within one tick of the file system's clock keeps its times
# (timestamps are taken from the coarse clock, at most 10 ms behind: time(7), HZ=100).
_TICK = 0.02
_WHOLE_SECOND = 1.0


class Signature(NamedTuple):
    """What changes when a file does, times in ns."""

    device: int
    inode: int
    size: int
    mtime: int
    ctime: int


@dataclass(frozen=True, slots=True)
class Key:
    """One selected file, as it was when it was read."""

    signature: Signature
    digest: bytes
    """SHA-256 of the content, or of what stands for content that can't be read."""

    read_at: float
    """CLOCK_REALTIME before the reading, in seconds."""

    readable: bool = True


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One reading of one volume, never a mix of two generations."""

    path: str
    generation: str | None
    """Name of the directory that `..data` names; None for a plain directory."""

    keys: Mapping[str, Key]
    digest: str
    """SHA-256 over names and contents of the selected keys, hex."""

    flaws: frozenset[str] = frozenset()
    """Links that dangle and entries of the generation that have no link yet."""

    empty: bool = False
    """Whether there is no entry at all, selected or not."""

    directories: tuple[str, ...] = ()
    """Real directories where a change can happen, the volume's own first."""

    root: Signature | None = None
    changed: float = 0.0
    """CLOCK_REALTIME of the newest change, in seconds."""

    coarse: bool = False
    """Whether the file system keeps whole seconds only."""

    @property
    def kind(self) -> Literal["kubelet", "plain"]:
        """Who fills the volume."""
        return "plain" if self.generation is None else "kubelet"

    @property
    def unreadable(self) -> tuple[str, ...]:
        """Names of the keys that could not be read."""
        return tuple(name for name, key in self.keys.items() if not key.readable)

    def same_files(self, other: Snapshot) -> bool:
        """Whether nothing was written between two readings, not even equal content.

        The digest too, because two writes within a tick leave one signature; of a plain
        directory also the newest time, because a link in it may lead somewhere else for
        a while, and what it led to before and after was not written.
        """
        newest = None if self.generation else self.changed
        other_newest = None if other.generation else other.changed
        ours = (self.generation, self.flaws, self.digest, newest)
        theirs = (other.generation, other.flaws, other.digest, other_newest)
        return ours == theirs and {
            name: key.signature for name, key in self.keys.items()
        } == {name: key.signature for name, key in other.keys.items()}


def generation(path: str) -> str | None:
    """Return what `..data` names, or None where there is no such link.

    Raises:
        VolumeError: the volume itself is gone or can't be entered.
    """
    try:
        return os.readlink(f"{path}/{DATA}")
    except OSError as error:
        if os.path.isdir(path) and not isinstance(error, PermissionError):
            return None
        raise VolumeError(_gone(path, error)) from error


def moved(snapshot: Snapshot) -> bool:
    """Whether a kubelet's volume may differ from a snapshot, for a readlink and a stat.

    The root's mtime shows links that a kubelet repaired without a swap. A plain
    directory has nothing so cheap, nor has a volume with another one mounted inside.

    Raises:
        VolumeError: the volume is gone.
    """
    if snapshot.generation is None or len(snapshot.directories) > 1:
        return True
    if generation(snapshot.path) != snapshot.generation:
        return True
    try:
        return _signature(os.stat(snapshot.path)) != snapshot.root
    except OSError as error:
        raise VolumeError(_gone(snapshot.path, error)) from error


def read(
    path: str,
    selection: Selection,
    previous: Snapshot | None = None,
    progress: Callable[[], None] = lambda: None,
) -> Snapshot:
    """Read one volume; files that `previous` holds unchanged are not read again.

    `progress` is called between files and between the chunks of a large one.

    Raises:
        VolumeError: the volume is gone, can't be listed, has too many keys, or was
            swapped again and again while it was read.
    """
    for _ in range(_TRIES):
        before = generation(path)
        reading = _Reading(path, before, selection, previous, progress)
        try:
            snapshot = reading.take()
        except FileNotFoundError as error:
            if generation(path) == before:
                raise VolumeError(_gone(path, error)) from error
            continue
        except OSError as error:
            raise VolumeError(_gone(path, error)) from error
        if generation(path) == before:
            return snapshot
    raise VolumeError(f"{path} was swapped {_TRIES} times while it was read")


@dataclass(slots=True)
class _Reading:
    """One walk over a volume. Vanished plain files are skipped: an event follows."""

    path: str
    generation: str | None
    selection: Selection
    previous: Snapshot | None
    progress: Callable[[], None]
    files: list[tuple[str, str, os.stat_result]] = field(default_factory=list)
    """Those that are selected: key, path, and what it was when it was found."""

    keys: dict[str, Key] = field(default_factory=dict)
    flaws: set[str] = field(default_factory=set)
    directories: list[str] = field(default_factory=list)
    changed: int = 0
    fractions: bool = False
    immutable: str | None = field(init=False)
    """What the path of everything in the generation begins with."""

    def __post_init__(self) -> None:
        named = self.generation
        self.immutable = None if named is None else f"{self.path}/{named}/"

    def take(self) -> Snapshot:
        root = os.stat(self.path)
        entries = self._root_entries()
        if self.generation is None:
            self._note_time(root.st_ctime_ns)
        else:
            data = os.lstat(f"{self.path}/{DATA}")
            # A swap gives the link a new ctime and the directory a new mtime. An owner
            # or an SELinux label gives the first alone, and a link that is mended later
            # the second: the older of both is no older than the swap.
            self._note_time(min(data.st_ctime_ns, root.st_mtime_ns))
        self.directories.append(self.path)
        for name, place in entries:
            self._visit(name, place, (_identity(root),))
        for name, place, status in self.files:
            self.progress()
            self._read_key(name, place, status)
        return Snapshot(
            path=self.path,
            generation=self.generation,
            keys=self.keys,
            digest=digest.of_volume(
                {os.fsencode(name): key.digest for name, key in self.keys.items()}
            ),
            flaws=frozenset(self.flaws),
            empty=not entries,
            directories=tuple(self.directories),
            root=_signature(root),
            changed=self.changed / 1e9,
            coarse=not self.fractions,
        )

    def _root_entries(self) -> list[tuple[str, str]]:
        """List the volume's own entries and where to read each.

        A link into `..data` is read through the generation, so that a swap can't mix
        two of them. Names with two leading dots are the kubelet's own.
        """
        entries = []
        for name in sorted(os.listdir(self.path)):
            if not name.startswith(".."):
                place = f"{self.path}/{name}"
                entries.append((name, self._in_generation(place) or place))
        if self.generation is not None:
            named = {name for name, _ in entries}
            held = os.listdir(f"{self.path}/{self.generation}")
            self.flaws.update(set(held) - named)
        return entries

    def _in_generation(self, place: str) -> str | None:
        if self.immutable is None:
            return None
        try:
            link = os.readlink(place)
        except OSError:  # EINVAL: not a link
            return None
        head, _, rest = link.partition("/")
        return self.immutable + rest if head == DATA else None

    def _visit(self, name: str, place: str, above: tuple[tuple[int, int], ...]) -> None:
        self.progress()
        try:
            status = os.stat(place)
        except OSError as error:
            self._failed(name, place, error, Signature(0, 0, 0, 0, 0))
            return
        if stat.S_ISDIR(status.st_mode):
            if _identity(status) not in above:  # a link to a directory above is a loop
                self._enter(name, place, status, above)
        elif stat.S_ISREG(status.st_mode) and self.selection.selects(name):
            if not self._immutable(place):
                self._note_time(status.st_ctime_ns)
            self.files.append((name, place, status))
            if len(self.files) > _MOST:
                raise VolumeError(
                    f"{self.path} has more than {_MOST} keys",
                    "choose with WATCH_INCLUDE and WATCH_EXCLUDE which of them are"
                    " configuration",
                )

    def _enter(
        self,
        name: str,
        place: str,
        status: os.stat_result,
        above: tuple[tuple[int, int], ...],
    ) -> None:
        if not self._immutable(place):
            self.directories.append(place)
            self._note_time(status.st_ctime_ns)
            if len(self.directories) > _MOST:
                raise VolumeError(
                    f"{self.path} has more than {_MOST} directories, with those that"
                    " links lead to",
                    "name in WATCH_DIRS only the one that holds the configuration",
                )
        if len(above) > _DEEPEST:
            too_deep = OSError(errno.ENAMETOOLONG, "too deep", place)
            self._failed(name, place, too_deep, _signature(status))
            return
        try:
            inside = sorted(os.listdir(place))
        except OSError as error:
            self._failed(name, place, error, _signature(status))
            return
        for entry in inside:
            if not entry.startswith(".."):
                self._visit(
                    f"{name}/{entry}",
                    f"{place}/{entry}",
                    (*above, _identity(status)),
                )

    def _failed(
        self, name: str, place: str, error: OSError, signature: Signature
    ) -> None:
        """Tell what is not there from what can't be read.

        A link of the kubelet's without its key is a flaw whether selected or not. That
        there are no descriptors left says nothing of the volume.
        """
        if error.errno in _EXHAUSTED:
            raise error
        if error.errno not in _ABSENT:
            if self.selection.selects(name):
                self.keys[name] = self._unreadable(signature)
            return
        dangles = os.path.islink(place) and self.selection.selects(name)
        if dangles or self._immutable(place):
            self.flaws.add(name)

    def _immutable(self, place: str) -> bool:
        """Whether a path lies in the generation, which nobody changes."""
        return self.immutable is not None and place.startswith(self.immutable)

    def _read_key(self, name: str, place: str, status: os.stat_result) -> None:
        known = self.previous.keys.get(name) if self.previous else None
        signature = self._signature(place, status)
        if known and known.readable and known.signature == signature:
            tick = _TICK if status.st_ctime_ns % 1_000_000_000 else _WHOLE_SECOND
            if status.st_ctime_ns / 1e9 < known.read_at - tick:
                self.keys[name] = known
                return
        read_at = time.time()
        try:
            signature, content = self._hash(place)
        except FileNotFoundError:
            if self.generation is not None and self._immutable(place):
                raise  # the whole generation went
        except OSError as error:
            if error.errno in _EXHAUSTED:
                raise
            self.keys[name] = self._unreadable(signature)
        else:
            self.keys[name] = Key(signature, content, read_at)

    def _hash(self, place: str) -> tuple[Signature, bytes]:
        # not blocking, because a FIFO may have taken the file's place
        descriptor = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(f"{place} is no longer a regular file")
            content = digest.sha256()
            # one byte more than its size, so that a small file ends in one short read
            size = min(status.st_size + 1, _CHUNK)
            while chunk := os.read(descriptor, size):
                content.update(chunk)
                self.progress()
                if len(chunk) < size:
                    break
            return self._signature(place, status), content.digest()
        finally:
            os.close(descriptor)

    def _signature(self, place: str, status: os.stat_result) -> Signature:
        """Return what changes when a file does; of a generation's, without the ctime.

        Kubelets that hand the files to the pod's fsGroup do so at each sync, and give
        them a new one (measured on 1.20; SetVolumeOwnership).
        """
        signature = _signature(status)
        return signature._replace(ctime=0) if self._immutable(place) else signature

    def _unreadable(self, signature: Signature) -> Key:
        stands_for = self.generation or repr(signature)
        content = digest.of_content(b"unreadable:" + os.fsencode(stands_for))
        return Key(signature, content, time.time(), readable=False)

    def _note_time(self, written: int) -> None:
        self.changed = max(self.changed, written)
        self.fractions = self.fractions or bool(written % 1_000_000_000)


def _signature(status: os.stat_result) -> Signature:
    return Signature(
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _gone(path: str, error: OSError) -> str:
    said = f"{path} can't be read now: {error.strerror or error}"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return f"{said}; raise the limit of open files of this container"
    return said
