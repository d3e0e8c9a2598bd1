"""The processes of the selector as a target: find them, signal them, see them live."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Protocol

from . import proc, processes
from .attempt import Beginning, Outcome, Plan, Steps, Wait
from .change import Change
from .errors import ReloadError
from .freshness import GRACE, Ledger
from .mounts import Container
from .processes import Found, Match, Me, PidFile, Process, ProcessId, Table
from .schedule import REJECTIONS
from .settings import TERMINATING, ProcessSettings, signal_name
from .signalling import Handle, guard
from .status import ProcessStatus, State, TargetStatus

if TYPE_CHECKING:
    from .verification import Verification

_RESTART_LOOK = 0.5
"""How often a program that was ended is looked for, in seconds."""


class Wakes(Protocol):
    """What ends the loop's wait when a descriptor becomes readable."""

    def add(self, descriptor: int) -> None:
        """Wake up for it from now on."""
        ...

    def remove(self, descriptor: int) -> None:
        """No longer."""
        ...


class Notes(Protocol):
    """Where a sent signal is noted."""

    def signal_sent(
        self, *, target: str, pid: int, uid: int, signal: str, comm: str
    ) -> None:
        """Note that a process was signalled."""
        ...


class ProcessTarget:
    """Every process that the selector matches, each with a freshness of its own."""

    name = "process"

    def __init__(
        self,
        settings: ProcessSettings,
        *,
        pod_uid: str | None,
        alive: float,
        restart_timeout: float,
        verification: Verification | None,
        wakes: Wakes,
        notes: Notes,
    ) -> None:
        """`alive` and `restart_timeout` are `VERIFY_ALIVE` and `VERIFY_TIMEOUT`."""
        self._settings = settings
        self._pod_uid = pod_uid
        self._alive = alive
        self._restart_timeout = restart_timeout
        self._verification = verification
        self._wakes = wakes
        self._notes = notes
        self._ledger: Ledger[ProcessId] = Ledger()
        self._found = Found(())
        self._lines: frozenset[Process] = frozenset()
        """Who was found, and everybody above them in their containers."""

        self._containers: dict[Process, Container] = {}
        self._pid_file = PidFile()
        self._restarts_from = inf
        """CLOCK_BOOTTIME of the signal that somebody ended of, in seconds."""

        self._present: frozenset[ProcessId] = frozenset()
        """Who was there right after it."""

        self._shown = TargetStatus(
            self.name,
            selector=processes.describe(settings),
            signal=signal_name(settings.signal),
        )
        self._ends = settings.signal in TERMINATING
        self._limit = 1 if self._ends else REJECTIONS

    def settled(self, fresh_from: float) -> None:
        """Take note of new content."""
        self._ledger = self._ledger.settled(fresh_from)
        self._restarts_from = inf

    def swapped(self, fresh_from: float, since: float) -> None:
        """Establish who held the content before the swap; they still do."""
        self._look()
        self._establish()
        self._ledger = self._ledger.swapped(fresh_from, since)
        self._restarts_from = inf

    def voided(self, now: float) -> None:
        """Forget what is established: everybody gets told."""
        self._ledger = self._ledger.voided(now)
        self._restarts_from = inf

    def doubted(self, now: float) -> None:
        """Tell once more: one reload too many is less than one that is lost."""
        self.voided(now)

    def assumed(self) -> None:
        """Take it that everybody there is now holds the content."""
        self._look()
        self._ledger = self._ledger.confirmed(
            (match.id for match in self._found.matches), -inf
        )

    def began(self, beginning: Beginning) -> None:
        """Take it that the remembered processes hold the content.

        Of the others their own start tells more than the sandbox's.
        """
        held = beginning.held
        if held is None:
            return
        self._look()
        matches = self._found.matches
        self._ledger = self._ledger.confirmed(
            (match.id for match in matches if _name(match.id) in held), -inf
        )

    def held(self, before: float) -> tuple[str, ...]:
        """Return PID and start time of every process that held the content then."""
        return tuple(
            _name(match.id)
            for match in self._found.matches
            if self._since(match) < before
        )

    def plan(self, *, quiet: bool) -> Plan:
        """Find the processes and pick those that are stale and may be told.

        Where those that are known are stale they need not wait until every process of
        the machine was looked at; who else is there is told in the same attempt. Of a
        signal that ends, nobody may be told late, and a restart takes longer anyway.
        """
        if quiet:
            if self._ends or not (self._todo() and self._known_are_meant()):
                self._look()
            self._establish()
        return Plan(
            begin=self._attempt if self._todo() else None,
            problem=self._found.problem,
            stale=not all(self._holds(match) for match in self._found.matches),
        )

    def status(self) -> TargetStatus:
        """Describe the processes as they were last seen."""
        rows = tuple(
            ProcessStatus(
                match.id.pid,
                match.uid,
                State.FRESH if self._holds(match) else State.STALE,
            )
            for match in self._found.matches
        )
        if any(row.state is State.STALE for row in rows):
            state = State.STALE
        elif self._found.problem or not rows:
            state = State.UNKNOWN
        else:
            state = State.FRESH
        return replace(self._shown, state=state, processes=rows)

    def _holds(self, match: Match) -> bool:
        """Whether a process holds the content, told or by its start."""
        return self._since(match) < inf

    def _since(self, match: Match) -> float:
        """Return since when a process is known to hold the content; inf: it is not.

        A program that its own supervisor started again after a signal ended it reads
        the content by itself, although its chain of parents is old. Were it told, it
        would end again, for ever.
        """
        restarted = match.own_start >= self._restarts_from
        if restarted and match.reads_itself and match.id not in self._present:
            return match.own_start + GRACE
        return self._ledger.since(match.id, match.started)

    def _establish(self) -> None:
        """Remember who holds the content now, whatever becomes of their parents."""
        for match in self._found.matches:
            if self._holds(match):
                self._ledger = self._ledger.confirmed([match.id], self._since(match))

    def _todo(self) -> list[Match]:
        """Return who is stale and may be told."""
        return [
            match
            for match in self._found.matches
            if not self._holds(match) and self._ledger.tells(match.id, self._limit)
        ]

    def _look(self) -> ReloadError | None:
        """Look at every process; return why that can't be done, if so."""
        try:
            table = processes.read_table()
            me = processes.read_me(table, self._pod_uid)
            self._found = found = self._find(table, me)
        except OSError as error:
            problem = _unseen(error)
            self._found = Found((), problem)
            return problem
        self._lines = frozenset(
            row
            for match in found.matches
            for row in processes.line(match.process, table, me)
        )
        alive = frozenset(table.values())
        self._ledger = self._ledger.alive(row.id for row in alive)
        self._containers = {
            row: where for row, where in self._containers.items() if row in alive
        }
        return None

    def _known_are_meant(self) -> bool:
        """Look at nobody but those found before; say whether all are what they were.

        Who is selected and how old he counts hangs on himself and those above him in
        his container. A PID file may name somebody else by now.
        """
        if self._found.problem or self._settings.pid_file:
            return False
        try:
            return all(processes.read_process(row.id.pid) == row for row in self._lines)
        except OSError:
            return False

    def _find(self, table: Table, me: Me) -> Found:
        return processes.find(
            self._settings,
            table,
            me,
            container_of=lambda pid: self._container(table[pid]),
            uid_of=processes.read_uid,
            pid_file_seen=self._pid_file,
        )

    def _container(self, process: Process) -> Container | None:
        """Tell where a process runs; reading its mounts takes longer than all else.

        It stays there for as long as it is the same program.
        """
        where = self._containers.get(process) or processes.read_container(
            process.id.pid
        )
        if where:
            self._containers[process] = where
        return where

    def _attempt(self, change: Change, number: int) -> Steps:
        todo = self._todo()
        before = None
        if self._verification:
            before = yield from self._verification.before(change.number, number)
        # a start time is rounded down to a tick
        signalled = proc.boot_time() - 1 / proc.TICKS_PER_SECOND
        with ExitStack() as stack:
            problem = self._found.problem
            told, failures = self._signal_all(todo, stack)
            # who is missing may have ended of it; if nobody can be seen, it has failed
            unseen = self._look()
            present = frozenset(match.id for match in self._found.matches)
            late = [] if self._ends else self._others(todo, signalled)
            told_late, failures_late = self._signal_all(late, stack)
            told += told_late
            failure = next(iter([*failures, *failures_late]), problem or unseen)
            if not told:
                return Outcome(failure)
            self._wake_at_the_end_of(told, stack)
            rejected = yield from (
                self._restarted(told, lambda: self._others(todo, signalled))
                if self._ends
                else self._survived(told)
            )
            if not all(handle.alive() for handle in told):
                self._restarts_from = min(self._restarts_from, signalled)
                self._present = present
            agreed = [handle for handle in told if handle not in rejected]
            if agreed and self._verification:
                doubt = yield from self._verification.agreed(before)
                if doubt:
                    rejected |= dict.fromkeys(agreed, doubt)
                    agreed = []
            self._ledger = self._ledger.confirmed(
                (handle.process.id for handle in agreed), proc.boot_time()
            ).rejected(handle.process.id for handle in rejected)
            self._look()
            return Outcome(failure, next(iter(rejected.values()), None))

    def _others(self, told: list[Match], signalled: float) -> list[Match]:
        """Return who else was there before the signal and is to be told.

        Who came after it may have come of it. Once it has ended a master, these are the
        workers that it left behind: they were below it, and so did not match.
        """
        known = {match.id for match in told}
        return [
            match
            for match in self._todo()
            if match.id not in known and match.own_start < signalled
        ]

    def _signal_all(
        self, todo: list[Match], stack: ExitStack
    ) -> tuple[list[Handle], list[ReloadError]]:
        told: list[Handle] = []
        failures: list[ReloadError] = []
        for match in todo:
            try:
                told.append(stack.enter_context(self._signal(match)))
            except ReloadError as error:
                failures.append(error)
            except OSError as error:
                failures.append(_unseen(error))
        return told, failures

    def _signal(self, match: Match) -> Handle:
        """Signal one process.

        Raises:
            ReloadError: it is not to be signalled, or could not be.
        """
        number = self._settings.signal
        handle = Handle(match.process)
        with ExitStack() as unless_sent:
            unless_sent.enter_context(handle)
            handle.send(number, lambda: self._may(match))
            unless_sent.pop_all()
        self._notes.signal_sent(
            target=self.name,
            pid=match.id.pid,
            uid=match.uid,
            signal=signal_name(number),
            comm=match.process.comm,
        )
        return handle

    def _may(self, match: Match) -> bool:
        """Whether the PID still is the process that was found, running what it ran.

        The guard comes last: a program that executes another loses its handlers.

        Raises:
            ReloadError: the signal would end it, or do nothing.
        """
        now = processes.read_process(match.id.pid)
        masks = proc.credentials(match.id.pid)
        if now is None or masks is None or now != match.process:
            return False
        if self._settings.guard:
            guard(match.process, self._settings.signal, masks)
        return True

    def _wake_at_the_end_of(self, told: list[Handle], stack: ExitStack) -> None:
        for handle in told:
            if handle.pidfd is not None:
                self._wakes.add(handle.pidfd)
                stack.callback(self._wakes.remove, handle.pidfd)

    def _survived(
        self, told: list[Handle]
    ) -> Generator[Wait, None, dict[Handle, ReloadError]]:
        """Wait until the signal has shown its effect; return who did not stand it."""
        until = time.monotonic() + self._alive
        while time.monotonic() < until and any(handle.alive() for handle in told):
            yield Wait(until)
        return {handle: self._died(handle) for handle in told if not handle.alive()}

    def _restarted(
        self, told: list[Handle], left_behind: Callable[[], list[Match]]
    ) -> Generator[Wait, None, dict[Handle, ReloadError]]:
        """Wait until everybody is gone and somebody younger has taken the place.

        Whom they left behind has as long to finish what it is at; then the next attempt
        tells it, too.
        """
        until = time.monotonic() + self._restart_timeout
        while True:
            younger = False
            alive = [handle for handle in told if handle.alive()]
            if not alive:
                self._look()
                left = left_behind()
                younger = self._younger(told, left)
                if younger and not left:
                    return {}
            now = time.monotonic()
            if now >= until:
                if younger:
                    return {}
                return {handle: self._not_restarted(handle) for handle in told}
            yield Wait(until if alive else min(until, now + _RESTART_LOOK))

    def _younger(self, told: list[Handle], left: list[Match]) -> bool:
        newest = max(handle.process.id.start for handle in told)
        return any(
            match.id.start > newest
            for match in self._found.matches
            if match not in left
        )

    def _died(self, handle: Handle) -> ReloadError:
        process = handle.process
        name = signal_name(self._settings.signal)
        return ReloadError(
            "died",
            f"{process.comm} (pid {process.id.pid}) ended within {self._alive:g}s of"
            f" {name}",
            "the new configuration or the signal ended it: look into its own log, and"
            f" check that it reloads on {name} (RELOAD_SIGNAL)",
        )

    def _not_restarted(self, handle: Handle) -> ReloadError:
        process = handle.process
        name = signal_name(self._settings.signal)
        what = "still runs" if handle.alive() else "ended, but nothing took its place,"
        return ReloadError(
            "not_restarted",
            f"{process.comm} (pid {process.id.pid}) {what} {self._restart_timeout:g}s"
            f" after {name}",
            "the kubelet waits before it restarts a container that ended recently"
            " (CrashLoopBackOff), and restarts none under restartPolicy: Never",
        )


def _unseen(error: OSError) -> ReloadError:
    exhausted = error.errno in (errno.EMFILE, errno.ENFILE)
    return ReloadError(
        "files",
        f"processes can't be looked at: {error.strerror}",
        "it is tried again; raise the limit of open files of this container"
        if exhausted
        else "it is tried again; look for what refuses it: a seccomp profile, or a node"
        " that has no memory left",
    )


def _name(process: ProcessId) -> str:
    return f"{process.pid}:{process.start}"
