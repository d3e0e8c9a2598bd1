"""One run of the real sidecar in the virtual world, turn by turn.

The loop, the couriers, the targets and all that decides are the real ones. Replaced are
their edges: the clocks, what `/proc` shows, inotify, pidfds and HTTP. The loop runs in
a thread of its own, but never beside the test: it gets the word at each turn, and gives
it back when it waits.
"""

from __future__ import annotations

import io
import os
import random
import re
import selectors
import signal
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from sidecar import (
    attempt,
    courier,
    exchange,
    log,
    loop,
    proc,
    process_target,
    processes,
    signalling,
    verification,
    volume,
    webhook_target,
)
from sidecar.configuration import Clocks, Configuration, Look, Readings
from sidecar.courier import Courier
from sidecar.disclosure import Disclosure
from sidecar.errors import ReloadError, WatchError
from sidecar.exchange import Exchange, Response
from sidecar.heart import Heart
from sidecar.log import logger
from sidecar.loop import Loop, Parts
from sidecar.memory import Memory
from sidecar.metrics import Metrics
from sidecar.proc import Credentials, Stat
from sidecar.process_target import ProcessTarget
from sidecar.processes import Process, ProcessId
from sidecar.report import Report
from sidecar.request import Requester
from sidecar.schedule import Pace
from sidecar.selection import Selection
from sidecar.settings import (
    LogSettings,
    ProcessSettings,
    RequestSettings,
    RetrySettings,
    VerifySettings,
)
from sidecar.status import Status
from sidecar.verification import Baseline, Verification
from sidecar.volume import Snapshot
from sidecar.wakeup import Wakeup
from sidecar.watch import Events, Watch
from sidecar.webhook_target import WebhookTarget

from .world import Hook, Program, World

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

_FIRST_PIDFD = 1_000_000
FINE = re.compile("fine")
SANDBOX_STARTED = 10_000.5
"""After the volumes were mounted, before the first program: boot time."""


@dataclass(frozen=True, slots=True)
class Choices:
    """How the sidecar is configured in one history."""

    processes: bool = True
    select: Literal["root", "all"] = "root"
    verify: bool = False
    state: bool = False
    catch_up: Literal["auto", "always", "never"] = "auto"
    debounce: float = 0.2
    poll_interval: float = 30.0
    min_interval: float = 0.0
    jitter: float = 0.0
    pidfds: bool = True


class Witness:
    """What the test wants to see of the sidecar's work; it notes, and may object."""

    def drained(self, *, noticed: bool) -> None: ...

    def settled(self, path: str, generation: str) -> None: ...

    def attempt_ended(self, target: str, result: str) -> None: ...


class Killed(BaseException):
    """SIGKILL: nothing gets a chance to end well."""


# The edges.


class _Time:
    """The part of the `time` module that the sidecar uses."""

    CLOCK_BOOTTIME = time.CLOCK_BOOTTIME

    def __init__(self, world: World) -> None:
        self._world = world

    def monotonic(self) -> float:
        return self._world.monotonic

    def time(self) -> float:
        return self._world.wall

    def clock_gettime(self, clock: int) -> float:
        assert time.CLOCK_BOOTTIME == clock
        return self._world.now


class _Processes:
    """What `/proc` shows, and the system calls on processes."""

    POLLIN = 1

    def __init__(self, world: World, pidfds: bool) -> None:
        self._world = world
        self._pidfds = pidfds
        self.die_when_telling = False
        self._opened: dict[int, Program] = {}
        self._next = _FIRST_PIDFD

    def read_table(self) -> dict[int, Process]:
        found = map(self.read_process, (1, os.getpid(), *self._world.programs))
        return {process.id.pid: process for process in found if process}

    def read_process(self, pid: int) -> Process | None:
        if pid == 1:
            return Process(ProcessId(1, 1), 0, "pause", ("/pause",))
        if pid == os.getpid():
            return Process(ProcessId(pid, 2), 0, "python", ("python",))
        program = self._world.programs.get(pid)
        if program is None:
            return None
        return Process(
            ProcessId(pid, program.start), program.ppid, program.name, (program.name,)
        )

    def stat(self, pid: int) -> Stat | None:
        process = self.read_process(pid)
        if process is None:
            return None
        return Stat(process.comm, "S", process.ppid, process.id.start)

    def credentials(self, pid: int | str) -> Credentials | None:
        program = self._world.programs.get(int(pid))
        if program is None:
            return None
        bit = 1 << (signal.SIGHUP - 1)
        handles = self._world.now >= program.handles_from and not program.ignores
        return Credentials(
            0, 0, 0, 0, bit if handles else 0, bit if program.ignores else 0, 0
        )

    def mountinfo(self, _pid: int | str) -> str:
        return ""

    def pidfd_open(self, pid: int) -> int:
        if not self._pidfds:
            raise OSError(38, "ENOSYS")
        if pid not in self._world.programs:
            raise ProcessLookupError
        self._next += 1
        self._opened[self._next] = self._world.programs[pid]
        return self._next

    def close(self, descriptor: int) -> None:
        del self._opened[descriptor]

    def pidfd_send_signal(self, descriptor: int, number: int) -> None:
        program = self._opened[descriptor]
        if not program.alive:
            raise ProcessLookupError
        self._signal(program, number)

    def kill(self, pid: int, number: int) -> None:
        if pid not in self._world.programs:
            raise ProcessLookupError
        self._signal(self._world.programs[pid], number)

    def _signal(self, program: Program, number: int) -> None:
        self._world.signalled(program, number)
        if self.die_when_telling:
            raise Killed

    def opened(self, descriptor: int) -> Program:
        return self._opened[descriptor]

    def poll(self) -> _Poll:
        return _Poll(self)


class _Poll:
    """A pidfd is readable when its process has ended."""

    def __init__(self, processes: _Processes) -> None:
        self._processes = processes
        self._registered: list[int] = []

    def register(self, descriptor: int, _events: int) -> None:
        self._registered.append(descriptor)

    def poll(self, _timeout: int) -> list[tuple[int, int]]:
        return [
            (fd, 1) for fd in self._registered if not self._processes.opened(fd).alive
        ]


class _Selector(selectors.BaseSelector):
    """The loop's one wait: it ends the turn."""

    def __init__(self, wait: Callable[[float | None], None]) -> None:
        self._wait = wait

    def select(
        self, timeout: float | None = None
    ) -> list[tuple[selectors.SelectorKey, int]]:
        self._wait(timeout)
        return []

    def register(
        self, fileobj: FileDescriptorLike, events: int, data: object = None
    ) -> selectors.SelectorKey:
        raise NotImplementedError

    def unregister(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        raise NotImplementedError

    def get_map(self) -> Mapping[FileDescriptorLike, selectors.SelectorKey]:
        return {}


class _Wakeup(Wakeup):
    """Signals to the sidecar, and what else ends its wait."""

    def __init__(self, wake: Callable[[], None], kernel: _Processes) -> None:
        self.wake_up = wake
        self.stopping = 0
        self.stopping_since = inf
        self.hangup = False
        self._kernel = kernel
        self._descriptors: dict[int, int] = {}

    def stops(self) -> int:
        return self.stopping

    def stopped_at(self) -> float:
        return self.stopping_since

    def take_hangup(self) -> bool:
        hangup, self.hangup = self.hangup, False
        return hangup

    def wake(self) -> None:
        self.wake_up()

    def drain(self) -> None: ...

    def add(self, descriptor: int) -> None:
        program = self._kernel.opened(descriptor)
        self._descriptors[descriptor] = program.pid
        if not program.alive:
            self.wake_up()

    def remove(self, descriptor: int) -> None:
        self._descriptors.pop(descriptor, None)

    def ended(self, pid: int) -> None:
        if pid in self._descriptors.values():
            self.wake_up()


class _Watch(Watch):
    """inotify, as well as the world lets it work."""

    def __init__(
        self, world: World, witness: Witness, wake: Callable[[], None]
    ) -> None:
        self._world = world
        self._witness = witness
        self._wake = wake
        self._covered: set[str] = set()
        self._events = Events()

    def cover(self, directories: Iterable[str]) -> bool:
        if self._world.watching == "limit":
            self._covered.clear()
            raise WatchError("limit", "no inotify instance is left")
        new = set(directories) - self._covered
        self._covered |= new
        return bool(new)

    def changed(self, path: str) -> None:
        if path in self._covered and self._world.watching in ("events", "overflow"):
            self._events = Events(
                any=True, overflowed=self._world.watching == "overflow"
            )
            self._wake()

    def lost(self) -> None:
        """IN_IGNORED, or IN_UNMOUNT: it is told once."""
        self._covered.clear()
        self._events = Events(any=True)
        self._wake()

    def drain(self) -> Events:
        events, self._events = self._events, Events()
        self._witness.drained(noticed=events.any)
        return events


class _Requester(Requester):
    """HTTP to a hook of the world, or to its `VERIFY_URL`."""

    def __init__(
        self,
        wake: Callable[[], None],
        settings: RequestSettings,
        call: Callable[[Callable[[Response | ReloadError], None]], None],
    ) -> None:
        self._wake_up = wake
        self._request = settings
        self._call = call

    def start(
        self, body: bytes | None = None, content_type: str | None = None
    ) -> Exchange:
        del body, content_type
        request = self._request
        sent = Exchange(request.url, request.method, request.timeout, self._wake_up)
        self._call(sent.settle)
        return sent

    def close(self) -> None: ...


class _Configuration(Configuration):
    """The real volumes; what has settled is seen before anybody is told of it."""

    witness = Witness()

    def settle(self, readings: Readings, clocks: Clocks, noticed: float | None) -> Look:
        look = super().settle(readings, clocks, noticed)
        for path, settled in self.settled.items():
            assert settled.snapshot.generation is not None
            self.witness.settled(path, settled.snapshot.generation)
        return look


class _Report(Report):
    """The real report, overheard."""

    witness = Witness()

    def attempt_ended(
        self,
        *,
        target: str,
        result: Literal["succeeded", "rejected", "failed", "abandoned"],
    ) -> None:
        super().attempt_ended(target=target, result=result)
        self.witness.attempt_ended(target, result)


def _virtual_times(world: World) -> Callable[..., Snapshot]:
    """Return a `volume.read` that puts the virtual time for the real ctime."""
    really = volume.read
    volumes = {volume.path: volume for volume in world.volumes}

    def read(
        path: str,
        selection: Selection,
        previous: Snapshot | None = None,
        progress: Callable[[], None] = lambda: None,
    ) -> Snapshot:
        snapshot = really(path, selection, previous, progress)
        assert snapshot.generation is not None
        changed = volumes[path].changed[snapshot.generation]
        return replace(snapshot, changed=changed)

    return read


class Incarnation:
    """The sidecar from one start to its end."""

    def __init__(
        self,
        world: World,
        witness: Witness,
        choices: Choices,
        state: Path | None,
        patch: pytest.MonkeyPatch,
    ) -> None:
        self._world = world
        self._woken = True
        self._due = -inf
        self._frozen_until = -inf
        self._killed = False
        self._failure: BaseException | None = None
        self.turns = 0
        self.over = False
        self._go = threading.Semaphore(0)
        self._back = threading.Semaphore(0)
        self._kernel = kernel = _Processes(world, choices.pidfds)
        _install(world, kernel, patch)
        self._wakeup = _Wakeup(self._wake, kernel)
        self._watch = _Watch(world, witness, self._wake)
        self._log = io.BytesIO()
        self._loop = self._built(choices, witness, state)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _built(self, choices: Choices, witness: Witness, state: Path | None) -> Loop:
        world = self._world
        paths = tuple(volume.path for volume in world.volumes)
        names = ["process"] if choices.processes else []
        names += [hook.name for hook in world.hooks]
        lines = logger(LogSettings(format="console"), self._log)
        metrics = Metrics(lambda: world.monotonic)
        self._report = report = _Report(
            lines,
            metrics,
            tuple(names),
            paths,
            clock=lambda: world.wall,
            monotonic=lambda: world.monotonic,
        )
        report.witness = witness
        retry = RetrySettings(
            maximum=20.0,
            min_interval=choices.min_interval,
            jitter=choices.jitter,
            catch_up=choices.catch_up,
        )
        memory = Memory(state, None, report)
        pace = Pace(choices.debounce, 5.0, choices.poll_interval)
        self._couriers = [
            Courier(target, retry, report, random.Random(1).random)  # noqa: S311  # a history can be played again
            for target in self._targets(choices, report)
        ]
        configuration = _Configuration(
            paths,
            Selection(["*"]),
            pace,
            known=memory.before.volumes if memory.before else None,
        )
        configuration.witness = witness
        return Loop(
            Parts(
                configuration=configuration,
                couriers=self._couriers,
                disclosure=Disclosure(None),
                memory=memory,
                report=report,
                heart=Heart(lambda: None, monotonic=lambda: world.monotonic),
                ready=_Selector(self._wait),
                wakeup=self._wakeup,
                watch=self._watch,
                chance=random.Random(2).random,  # noqa: S311  # likewise
                sandbox_started=SANDBOX_STARTED,
            ),
            paths,
            pace,
            retry,
        )

    def _targets(
        self, choices: Choices, report: Report
    ) -> Iterable[ProcessTarget | WebhookTarget]:
        if choices.processes:
            yield ProcessTarget(
                ProcessSettings(names=("app",), select=choices.select),
                pod_uid=None,
                alive=1.0,
                restart_timeout=5.0,
                verification=self._verification(choices),
                wakes=self._wakeup,
                notes=report,
            )
        for hook in self._world.hooks:
            settings = RequestSettings(url=f"http://hook/{hook.number}")
            yield WebhookTarget(
                hook.number,
                settings,
                requester=_Requester(self._wake, settings, self._caller(hook)),
                verification=self._verification(choices),
                notes=report,
            )

    def _verification(self, choices: Choices) -> Verification | None:
        if not choices.verify:
            return None
        requester = _Requester(
            self._wake, RequestSettings(url="http://app/verify"), self._verify
        )
        settings = VerifySettings(body=FINE, timeout=5.0)
        return Verification(settings, requester, Baseline(requester))

    def _caller(
        self, hook: Hook
    ) -> Callable[[Callable[[Response | ReloadError], None]], None]:
        def call(settle: Callable[[Response | ReloadError], None]) -> None:
            def answered(status: int | None) -> None:
                if status is None:
                    settle(ReloadError("refused", "nothing listens there"))
                else:
                    settle(Response(status, None))

            self._world.called(hook, answered)
            if self._kernel.die_when_telling:
                raise Killed

        return call

    def _verify(self, settle: Callable[[Response | ReloadError], None]) -> None:
        self._world.asked(lambda text: settle(Response(200, text)))

    # The thread's side.

    def _run(self) -> None:
        self._go.acquire()
        try:
            if not self._killed:
                self._loop.run(5.0)
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001  # told in the test's own thread
            self._failure = error
        finally:
            # what an attempt holds is let go of while the world is still in place
            del self._loop, self._couriers
            self.over = True
            self._due = inf
            self._back.release()

    def _wait(self, timeout: float | None) -> None:
        now = self._world.now
        # half a microsecond, because adding less to a float may change nothing
        self._due = inf if timeout is None else now + (timeout and max(timeout, 5e-7))
        self._back.release()
        self._go.acquire()
        if self._killed:
            raise Killed

    # The world's side.

    @property
    def due(self) -> float:
        due = -inf if self._woken else self._due
        return inf if self.over else max(due, self._frozen_until)

    def turn(self) -> None:
        self._woken = False
        self.turns += 1
        self._go.release()
        self._back.acquire()
        if self._failure:
            raise self._failure

    def changed(self, path: str) -> None:
        self._watch.changed(path)

    def ended(self, pid: int) -> None:
        self._wakeup.ended(pid)

    def _wake(self) -> None:
        self._woken = True

    # The test's side.

    def telling(self) -> frozenset[str]:
        """Names of the targets that are being told."""
        return frozenset(one.target.name for one in self._couriers if one.telling)

    def hangup(self) -> None:
        self._wakeup.hangup = True
        self._wake()

    def stop(self) -> None:
        self._wakeup.stopping += 1
        since = self._wakeup.stopping_since
        self._wakeup.stopping_since = min(since, self._world.monotonic)
        self._wake()

    def freeze(self, seconds: float) -> None:
        self._frozen_until = self._world.now + seconds

    @property
    def frozen(self) -> bool:
        return self._frozen_until > self._world.now

    def watch_lost(self) -> None:
        self._watch.lost()

    def die_when_telling(self) -> None:
        """SIGKILL comes as soon as somebody is told."""
        self._kernel.die_when_telling = True

    def kill(self) -> None:
        if not self.over:
            self._killed = True
            self._go.release()
            self._back.acquire()
        self._thread.join()

    def status(self) -> Status:
        return self._report.status()

    def log(self) -> str:
        return self._log.getvalue().decode()


def _install(world: World, kernel: _Processes, patch: pytest.MonkeyPatch) -> None:
    """Put the world where the sidecar's modules look for the machine.

    Their own names are replaced, never anything of the standard library.
    """
    patch.undo()
    for module in (
        attempt,
        courier,
        exchange,
        log,
        loop,
        proc,
        process_target,
        verification,
        webhook_target,
    ):
        patch.setattr(module, "time", _Time(world))
    for name in ("stat", "credentials", "mountinfo"):
        patch.setattr(proc, name, getattr(kernel, name))
    for name in ("read_table", "read_process"):
        patch.setattr(processes, name, getattr(kernel, name))
    for name in ("os", "signal", "select"):
        patch.setattr(signalling, name, kernel)
    patch.setattr(volume, "read", _virtual_times(world))
