"""Which processes the selector means: a table of what runs, and matching over it.

Reading the table is the edge; everything that decides is a function of it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import NamedTuple

import psutil

from . import mounts, proc
from .errors import ReloadError
from .files import read_regular
from .mounts import Container
from .settings import ProcessSettings

WRAPPERS = frozenset(
    {"ash", "bash", "busybox", "csh", "dash", "fish", "ksh", "mksh", "sh", "tcsh"}
    | {"zsh", "catatonit", "docker-init", "dumb-init", "tini", "tini-static"}
    | {"runit", "runsv", "runsvdir", "s6-supervise", "s6-svscan", "supervise"}
)
"""Shells and small inits: they only carry the program that is meant."""

PAUSE = frozenset({"pause", "pod"})
"""PID 1 of a shared pod: the kubelet's pause container, also as CRI-O names it."""

_PID_FILE_SLACK = 0.05
_PID_FILE_LIMIT = 4096
_PID = re.compile(rb"0*[1-9][0-9]{0,9}")
"""The kernel counts to 4,194,304 at most (PID_MAX_LIMIT), and /proc takes no more."""


class ProcessId(NamedTuple):
    """A process for good: its PID and its start in clock ticks since boot."""

    pid: int
    start: int


@dataclass(frozen=True, slots=True)
class Process:
    """One row of the table."""

    id: ProcessId
    ppid: int
    comm: str
    argv: tuple[str, ...]

    @property
    def names(self) -> frozenset[str]:
        """What `PROCESS_NAME` may call it: `comm`, or the base name of `argv[0]`."""
        program = self.argv[0].rpartition("/")[2] if self.argv else ""
        return frozenset({self.comm, program.removeprefix("-")} - {""})


Table = Mapping[int, Process]


@dataclass(frozen=True, slots=True)
class Me:
    """The sidecar's own place among the processes."""

    pid: int
    ancestors: frozenset[int]
    pod_uid: str | None = None

    @property
    def shared(self) -> bool:
        """Whether PID 1 is neither us nor above us: a shared process namespace."""
        return self.pid != 1 and 1 not in self.ancestors

    @property
    def alone(self) -> bool:
        """Whether this is a pod whose other containers' processes we can't see."""
        return self.pod_uid is not None and not self.shared


@dataclass(frozen=True, slots=True)
class Match:
    """A process to keep up to date."""

    process: Process
    uid: int
    started: float
    """CLOCK_BOOTTIME when the oldest process on its chain of parents started; -inf if
    that can't be known any more."""

    reads_itself: bool = True
    """Whether it read its configuration itself: nobody above it matches, and it was not
    left behind by somebody who may have."""

    @property
    def id(self) -> ProcessId:
        """The process's identity."""
        return self.process.id

    @property
    def own_start(self) -> float:
        """CLOCK_BOOTTIME when it started itself, in seconds."""
        return self.process.id.start / proc.TICKS_PER_SECOND


@dataclass(frozen=True, slots=True)
class Found:
    """What the selector found. `problem` says what is missing, if anything is."""

    matches: tuple[Match, ...]
    problem: ReloadError | None = None


def read_table() -> dict[int, Process]:
    """Read every visible process that is not a zombie."""
    table = {}
    for pid in psutil.pids():
        if process := read_process(pid):
            table[pid] = process
    return table


def read_own_line() -> dict[int, Process]:
    """Read ourselves and everybody above: all of the table that `read_me` needs."""
    table: dict[int, Process] = {}
    pid = os.getpid()
    while pid and pid not in table and (process := read_process(pid)):
        table[pid] = process
        pid = process.ppid
    return table


def read_process(pid: int) -> Process | None:
    """Read one process, or None where there is none (any more)."""
    stat = proc.stat(pid)
    if stat is None:
        return None
    argv = proc.arguments(pid)
    if argv is None:
        return None
    return Process(ProcessId(pid, stat.start), stat.ppid, stat.comm, argv)


def read_me(table: Table, pod_uid: str | None = None) -> Me:
    """Find our own place; the pod's uid is not looked for here."""
    pid = os.getpid()
    return Me(pid, frozenset(_ancestors(pid, table)), pod_uid)


def read_pod_uid() -> str | None:
    """Return the pod's uid from our own mounts, if they tell."""
    own = read_container(os.getpid())
    return own.pod_uid if own else None


def read_container(pid: int) -> Container | None:
    """Tell which container a process runs in, if its mounts tell."""
    return mounts.container(mounts.parse(proc.mountinfo(pid)))


def read_uid(pid: int) -> int | None:
    """Return whom a process runs as, or None if it is gone."""
    credentials = proc.credentials(pid)
    return credentials.uid if credentials else None


class PidFile:
    """A file that holds a PID, and when it was written.

    A file's time is the wall clock's, which may be set later on; a process's is not.
    So what the time meant is kept from when this version of the file was first seen.
    """

    def __init__(self, boot_offset: Callable[[], float] = proc.boot_offset) -> None:
        """`boot_offset` is CLOCK_REALTIME minus CLOCK_BOOTTIME as the clock is now."""
        self._boot_offset = boot_offset
        self._version: tuple[int, ...] = ()
        self._written = -inf

    def read(self, path: Path) -> tuple[int, float]:
        """Return the PID in the file, and CLOCK_BOOTTIME of the file's last change.

        Only the first word counts: PostgreSQL writes more lines below it.

        Raises:
            ReloadError: there is no such file yet, or no PID in it.
        """
        try:
            content, status = read_regular(path, _PID_FILE_LIMIT)
        except OSError as error:
            raise ReloadError(
                "pid_file",
                f"PID_FILE {path} can't be read: {error.strerror}",
                "it is tried again; mount the directory of the PID file in this"
                " container too, at the same path",
            ) from error
        words = content.split()
        if not words or not _PID.fullmatch(words[0]):
            raise ReloadError(
                "pid_file",
                f"PID_FILE {path} holds no PID",
                "it is tried again; the program must write its PID as the first word",
            )
        pid = int(words[0])
        version = (status.st_dev, status.st_ino, status.st_mtime_ns, pid)
        if self._version != version:
            self._version = version
            self._written = status.st_mtime - self._boot_offset()
        return pid, self._written


def find(
    settings: ProcessSettings,
    table: Table,
    me: Me,
    *,
    container_of: Callable[[int], Container | None] = read_container,
    uid_of: Callable[[int], int | None],
    pid_file_seen: PidFile | None = None,
) -> Found:
    """Find the processes that every selector matches.

    The two functions read a fact of one process, for those only that match by name.
    `pid_file_seen` is for whoever looks more than once.
    """
    pid_file = None
    if settings.pid_file:
        try:
            pid_file = (pid_file_seen or PidFile()).read(settings.pid_file)
        except ReloadError as error:
            return Found((), error)

    where_matters = bool(settings.container or me.pod_uid)
    matching = {
        pid: process
        for pid, process in table.items()
        if matches(settings, process, me)
        and (pid_file is None or pid == pid_file[0])
        and (not where_matters or _ours(settings, container_of(pid), me))
    }
    roots = {
        pid
        for pid in matching
        if not any(above in matching for above in _ancestors(pid, table))
    }
    selected = sorted(matching if settings.select == "all" else roots)
    if pid_file and (problem := _not_named(settings, pid_file, table, matching, me)):
        return Found((), problem)
    found = []
    for pid in selected:
        uid, process = uid_of(pid), matching[pid]
        if uid is not None:
            started = chain_start(process, table, me)
            reads_itself = pid in roots and not _orphaned(process, me)
            found.append(Match(process, uid, started, reads_itself))
    return Found(tuple(found), _missing(settings, tuple(matching.values()), table, me))


def matches(settings: ProcessSettings, process: Process, me: Me) -> bool:
    """Whether a process is meant by its name and command line, and may be."""
    pid = process.id.pid
    if pid == me.pid or (pid == 1 and process.comm in PAUSE):
        return False
    if settings.names:
        if process.names.isdisjoint(settings.names):
            return False
    elif not process.names.isdisjoint(WRAPPERS):
        return False
    return settings.cmdline is None or bool(
        settings.cmdline.search(" ".join(process.argv))
    )


def chain_start(process: Process, table: Table, me: Me) -> float:
    """Return when a process counts as started, as CLOCK_BOOTTIME in seconds.

    A worker inherits what its master read, so the oldest on the chain of parents
    counts. The chain ends where the container does (PPid 0) or at an ancestor of our
    own. A process re-parented to PID 1 of a shared namespace lost its chain.
    """
    oldest = process.id.start
    seen: set[int] = set()
    while process.ppid not in me.ancestors | {0, me.pid}:
        parent = table.get(process.ppid)
        # a table is not read in one instant, so a reused PID could close a circle
        if parent is None or process.ppid in seen or _orphaned(process, me):
            return -inf
        seen.add(process.ppid)
        oldest = min(oldest, parent.id.start)
        process = parent
    return oldest / proc.TICKS_PER_SECOND


def line(process: Process, table: Table, me: Me) -> list[Process]:
    """Return a process and those above it, up to where its chain of parents ends."""
    found = [process]
    while process.ppid not in me.ancestors | {0, me.pid}:
        parent = table.get(process.ppid)
        if parent is None or parent in found:
            break
        found.append(parent)
        process = parent
    return found


def _orphaned(process: Process, me: Me) -> bool:
    return process.ppid == 1 and me.shared


def _ours(settings: ProcessSettings, where: Container | None, me: Me) -> bool:
    """Whether a process runs in our pod and, if that was asked, in its container."""
    if settings.container and (where is None or where.name != settings.container):
        return False
    return not (where and me.pod_uid and where.pod_uid != me.pod_uid)


def _ancestors(pid: int, table: Table) -> list[int]:
    above: list[int] = []
    process = table.get(pid)
    # a table is not read in one instant, so a reused PID could close a circle
    while process and process.ppid and process.ppid not in above:
        above.append(process.ppid)
        process = table.get(process.ppid)
    return above


def _not_named(
    settings: ProcessSettings,
    pid_file: tuple[int, float],
    table: Table,
    matching: Table,
    me: Me,
) -> ReloadError | None:
    """Say why the process that the PID file names is not to be told."""
    pid, changed = pid_file
    path = settings.pid_file
    if pid == me.pid:
        detail = f"PID_FILE {path} names process {pid}, the sidecar itself"
    elif pid not in table:
        detail = f"PID_FILE {path} names process {pid}, which does not exist"
    elif table[pid].id.start / proc.TICKS_PER_SECOND > changed + _PID_FILE_SLACK:
        detail = f"PID_FILE {path} is older than process {pid}, so it means another"
    elif pid not in matching:
        detail = (
            f"PID_FILE {path} names process {pid} ({table[pid].comm}), which the other"
            " selectors do not match (shells match only by PROCESS_NAME)"
        )
    else:
        return None
    return ReloadError("pid_file", detail, "it is tried again when the file is new")


def _missing(
    settings: ProcessSettings, matching: tuple[Process, ...], table: Table, me: Me
) -> ReloadError | None:
    """Say that nothing, or not every name, was found, and what may be the cause."""
    absent = [
        name
        for name in settings.names
        if not any(name in process.names for process in matching)
    ]
    if matching and not absent:
        return None
    what = f"named {', '.join(absent)}" if absent else f"matching {describe(settings)}"
    return ReloadError(
        "not_found",
        f"no process {what} among the {len(table)} visible",
        "PID 1 is our own, so the process namespace is not shared: set"
        " shareProcessNamespace: true in the pod spec"
        if me.alone
        else "it is tried again; if the program is up, mend PROCESS_NAME,"
        " PROCESS_CMDLINE or PROCESS_CONTAINER"
        + ("" if me.shared else "; in a pod, set shareProcessNamespace: true"),
    )


def describe(settings: ProcessSettings) -> str:
    """Write the selector as `/status` shows it."""
    parts = [
        f"name={','.join(settings.names)}" if settings.names else "",
        f"cmdline={settings.cmdline.pattern}" if settings.cmdline else "",
        f"container={settings.container}" if settings.container else "",
        f"pid_file={settings.pid_file}" if settings.pid_file else "",
    ]
    return " ".join(part for part in parts if part)
