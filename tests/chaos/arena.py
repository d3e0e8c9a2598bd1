"""A volume, a sidecar and what it keeps up to date, where faults are injected.

Everything is a real process. The arena writes down what it did, and lets the judge
compare that with what the targets read.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from tests.kubelet import KubeletVolume, Order
from tests.sidecar_process import SidecarProcess

from . import judge
from .judge import Detection, Evidence, Keys, Life, Update
from .reader import shown
from .stage import FaultError, Stage
from .target import READER, Mode, Program, as_user
from .webhook import Webhook

SETTLES_WITHIN = 20.0
"""A healthy sidecar needs 2 s at most, in seconds; the rest is for a busy machine."""

FAST = {
    "DEBOUNCE": "50ms",
    "DEBOUNCE_MAX": "500ms",
    "VERIFY_ALIVE": "100ms",
    "RETRY_INITIAL": "50ms",
    "RETRY_MAX": "200ms",
    "SHUTDOWN_TIMEOUT": "1s",
}
SLOW = 0.2
"""A slow answer, in seconds: half of the timeout."""


class Sidecar(SidecarProcess):
    """The sidecar as a certain user, who may be killed, stopped and continued."""

    def __init__(self, env: Mapping[str, str | Path], uid: int | None) -> None:
        super().__init__(env)
        self._command = [*as_user(uid), *self._command]

    @property
    def ended(self) -> int | None:
        return self._running().poll()

    def signal(self, number: signal.Signals) -> None:
        self._running().send_signal(number)

    def kill(self) -> None:
        self._running().kill()
        self._running().wait()


class Volume(KubeletVolume):
    """A volume of which some keys are large, or may not be read."""

    size: int | None = None
    unreadable: frozenset[str] = frozenset()

    def publish(self, number: int, between: Callable[[], None]) -> Keys:
        """Write one update; return what a reader is to see of it."""
        names = ["number", "app.conf", "conf.d/site", f"key{number}"]
        content = f"{number}\n".encode()
        self.write(dict.fromkeys(names, content), between)
        size = self.size or len(content)
        return {
            name: "UNREADABLE" if name in self.unreadable else shown(content, size)
            for name in names
        }

    def _make_generation(self, files: Mapping[str, str | bytes]) -> Path:
        new = super()._make_generation(files)
        for name in files:
            if self.size:  # a hole costs no time to write
                os.truncate(new / name, self.size)
            if name in self.unreadable:
                (new / name).chmod(0)
        return new


class Arena:
    """Entered it runs and everybody holds the first update; left it is judged."""

    def __init__(
        self,
        stage: Stage,
        env: Mapping[str, str | Path] | None = None,
        *,
        uid: int | None = None,
        process: bool = True,
        webhook: bool = False,
        mode: Mode = "handle",
    ) -> None:
        self.stage = stage
        self.chance = stage.chance
        self.place = stage.place()
        order: Order = self.chance.choice(["links-after", "links-before"])
        self.volume = Volume(self.place / "volume", order)
        self.hook = Webhook(self.volume.path, SLOW) if webhook else None
        self.remembers = "STATE_DIR" in (env or {})
        self._uid = uid
        self._mode = mode
        self._programs: list[Program] = []
        self._has_process = process
        self._bystanders: list[Program] = []
        poll = self.chance.choice(["0", "1s", "30s"])
        paths: dict[str, str | Path] = {
            "WATCH_DIRS": self.volume.path,
            "POLL_INTERVAL": poll,
        }
        self._env: dict[str, str | Path] = {**FAST, **paths, **(env or {})}
        if process and "PID_FILE" not in self._env:
            # so that it is this arena's program and no other
            self._env["PROCESS_CMDLINE"] = f"{READER.name} {self.volume.path} "
        if self.hook:
            self._env |= {"WEBHOOK_URL": self.hook.url, "WEBHOOK_BODY": "json"}
            self._env |= {"WEBHOOK_TIMEOUT": "400ms"}
        self._runs: list[Sidecar] = []
        self._killed: set[Sidecar] = set()
        self._updates: list[Update] = []
        self._held_up: list[float] = []
        self._calm = False
        self._number = 0
        self._settled: dict[str, int] = {}

    # what there is

    @property
    def sidecar(self) -> Sidecar:
        return self._runs[-1]

    @property
    def program(self) -> Program:
        return self._programs[-1]

    @property
    def newest(self) -> Update:
        return self._updates[-1]

    # what the world does

    def pause(self, longest: float) -> None:
        """Let time pass, so that what comes next comes at a random moment."""
        time.sleep(self.chance.uniform(0, longest))

    def publish(self, number: int | None = None, longest: float = 0.15) -> None:
        """Swap the volume; often the kubelet takes long in the middle.

        `longest` is how long at most, in seconds.
        """
        if number is None:
            self._number += 1
            number = self._number
        slow = self.chance.random() < 1 / 2
        calm, self._calm = self._calm, False
        began = time.monotonic()
        keys = self.volume.publish(
            number, lambda: self.pause(longest) if slow else None
        )
        self._updates.append(
            Update(number, keys, self.volume.generation, began, time.monotonic(), calm)
        )
        self.stage.tally.updates += 1

    def update(self) -> None:
        """Publish what may come: mostly one, else a few at once, or there and back."""
        kind = self.chance.random()
        if kind < 0.6:
            self.publish()
        elif kind < 0.8:
            for _ in range(self.chance.randint(2, 6)):
                self.publish(longest=0.02)
                self.pause(0.03)
        else:
            back = self.newest.number
            self.publish(longest=0.0)
            self.publish(back, longest=0.0)

    def fault(self) -> None:
        """Count one fault; from now on somebody may be told at any moment."""
        self.stage.tally.faults += 1

    def there_and_back(self) -> None:
        """Publish something else for a moment; the program may start in it."""
        back = self.newest.number
        self.publish(longest=0.02)
        if self._has_process and self.chance.random() < 0.3:
            self.kill_program()
            program = self.start_program()
            self.wait_for(lambda: program.life.readings, "the program started")
        self.pause(0.03)
        self.publish(back, longest=0.02)

    def come_back(self, elsewhere: Path) -> None:
        """Move a directory to where the volume belongs: this is a swap, too."""
        calm, self._calm = self._calm, False
        began = time.monotonic()
        elsewhere.rename(self.volume.path)
        update = self.newest
        self._updates.append(
            replace(update, began=began, ended=time.monotonic(), calm=calm)
        )

    # what happens to the sidecar

    def start_sidecar(self, **env: str | Path) -> None:
        self._calm = False
        self._env |= env
        run = Sidecar(self._env, self._uid)
        run.start()
        self._runs.append(run)

    def kill_sidecar(self) -> None:
        """Send SIGKILL; who was told and did not confirm yet may be told again."""
        self.fault()
        if not (self._calm and self.remembers):
            self.stage.tally.allowed += 1
        self._calm = False
        self._killed.add(self.sidecar)
        self.sidecar.kill()

    def end_sidecar(self) -> None:
        """Send SIGTERM and hold it to its promise: status 0, and soon."""
        self._calm = False
        began = time.monotonic()
        self._killed.add(self.sidecar)
        status = self.sidecar.stop()
        took = time.monotonic() - began
        if status != 0 or took > 2.0:
            self.stage.note(
                f"harmed: the sidecar ended with {status}, {took:.1f} s after SIGTERM"
            )

    def stop_sidecar(self) -> None:
        self.fault()
        self.sidecar.signal(signal.SIGSTOP)

    def continue_sidecar(self) -> None:
        self.sidecar.signal(signal.SIGCONT)
        self._held_up.append(time.monotonic())

    # what happens to the program

    def start_program(self) -> Program:
        program = Program(self.volume.path, self._mode, self._uid)
        self._programs.append(program)
        if pid_file := self._env.get("PID_FILE"):
            Path(pid_file).write_text(f"{program.pid}\n")
        return program

    def kill_program(self) -> None:
        self.fault()
        self._calm = False
        self.program.kill()

    def start_bystander(self) -> Program:
        """Start a program that reads something else and must not be told."""
        elsewhere = self.place / "elsewhere"
        elsewhere.mkdir(exist_ok=True)
        bystander = Program(elsewhere, "handle", self._uid)
        self._bystanders.append(bystander)
        return bystander

    # what must become true

    def wait_for(self, fact: Callable[[], object], what: str) -> None:
        """Wait for something that must happen; if it does not, that is a loss."""
        deadline = time.monotonic() + SETTLES_WITHIN
        while not fact():
            if time.monotonic() > deadline:
                self._fail(f"lost: not within {SETTLES_WITHIN:g} s: {what}")
            time.sleep(0.01)

    def wait_for_event(self, name: str) -> None:
        """Wait until this run of the sidecar has logged that."""
        self.wait_for(lambda: self.sidecar.events(name), f"the sidecar logs {name}")

    @contextmanager
    def followed_by(self, name: str, **facts: object) -> Iterator[None]:
        """Do something, and wait until the sidecar has logged that after it."""
        before = len(self.sidecar.events(name, **facts))
        yield
        self.wait_for(
            lambda: len(self.sidecar.events(name, **facts)) > before,
            f"the sidecar logs {name}",
        )

    def settle(self) -> None:
        """Wait until everybody holds the newest content, and the sidecar says so."""
        for name, life in self._lives().items():
            self._expect(name, life)
        self.wait_for(self._everybody_read, f"everybody read {self.newest.number}")
        self.wait_for(self._stands, "the sidecar says that everybody is fresh")
        self._look_for_harm()
        self._calm = all(map(self._is_seen, self.sidecar.status()["targets"]))

    def _expect(self, name: str, life: Life) -> None:
        """Count a reload that must come, because of new content."""
        key = f"{name} {life.name} {life.started}"
        held = self._settled.get(key)
        if held is None and life.started is not None:
            if not life.readings:
                return
            held = self._evidence().read(life.readings[0])
        if held != self.newest.number:
            self.stage.tally.expected += 1
        self._settled[key] = self.newest.number

    def _lives(self) -> dict[str, Life]:
        """Return who is to be kept up to date now."""
        lives = {}
        if self._has_process:
            self.wait_for(lambda: self.program.life.readings, "the program started")
            lives["process"] = self.program.life
        if self.hook:
            lives["webhook"] = self.hook.life
        return lives

    def _everybody_read(self) -> bool:
        evidence = self._evidence()
        for life in self._lives().values():
            confirmed = [r for r in life.readings if r.confirmed]
            if not confirmed:
                return False
            last = confirmed[-1]
            if {evidence.read(last), evidence.number(last)} != {self.newest.number}:
                return False
        return True

    def program_read_newest(self) -> bool:
        """Whether the process is up to date, whatever the webhook does."""
        last = self.program.life.readings[-1]
        return self._evidence().read(last) == self.newest.number

    def _stands(self) -> bool:
        """Whether it says so, and still does when a turn of its loop is complete.

        By then it has told of the new content everybody it will, and remembers it.
        """
        return self._said_so() and self._answers() and self._said_so()

    def _answers(self) -> bool:
        try:
            return self.sidecar.get("/healthz")[0] == HTTPStatus.OK
        except (OSError, HTTPException):
            return False

    def _said_so(self) -> bool:
        try:
            status = self.sidecar.status()
        except ChildProcessError as error:
            self._fail(f"harmed: {error}")
        except (OSError, HTTPException, ValueError):
            return False
        generations = [volume["generation"] for volume in status["volumes"]]
        return generations == [self.volume.generation] and all(
            target["state"] == "fresh" or not self._is_seen(target)
            for target in status["targets"]
        )

    def _is_seen(self, target: Mapping[str, Any]) -> bool:
        """Whether the sidecar has seen this life of the program, and won't tell later.

        One that restarted after the last change is looked at with the next poll.
        """
        seen = [process["pid"] for process in target.get("processes", [])]
        return target["name"] != "process" or self.program.pid in seen

    def _look_for_harm(self) -> None:
        for program in self._programs:
            if program.harmed:
                self._fail(f"harmed: {program.life.name} ended")
        for bystander in self._bystanders:
            if bystander.harmed or bystander.life.told:
                self._fail(f"harmed: bystander {bystander.pid} was signalled")
        for run in self._runs:
            if run.ended is not None and run not in self._killed:
                self._fail(f"harmed: the sidecar ended with {run.ended}")

    def _fail(self, problem: str) -> NoReturn:
        self.stage.note(problem)
        self.stage.problems.extend(self._situation())
        raise FaultError(problem)

    def _situation(self) -> Iterator[str]:
        """Say what somebody needs to know who looks for the cause."""
        evidence = self._evidence()
        for update in self._updates[-5:]:
            yield f"  published: {update}"
        for life in (self.program.life,) if self._has_process else ():
            for reading in life.readings[-3:]:
                number = evidence.read(reading)
                yield f"  {life.name}, started {life.started}: {number} {reading}"
        if self.hook:
            for reading in self.hook.life.readings[-3:]:
                yield f"  webhook: {evidence.read(reading)} {reading}"
        with suppress(OSError, HTTPException, ChildProcessError, TimeoutError):
            yield f"  /status: {self.sidecar.status()['targets']}"

    # what is to be judged

    def _evidence(self) -> Evidence:
        offset = time.time() - time.monotonic()
        detections = (
            Detection(_seconds(event.facts["timestamp"]) - offset, generation)
            for run in self._runs
            for event in run.events("change_detected")
            if isinstance(generation := event.facts["generation"], str)
        )
        return Evidence(tuple(self._updates), tuple(detections), tuple(self._held_up))

    def _judge(self) -> None:
        evidence = self._evidence()
        lives = [program.life for program in self._programs]
        if self.hook:
            lives.append(self.hook.life)
        for life in lives:
            self.stage.tally.reloads += len(life.told)
            for problem in judge.early(life, evidence):
                self.stage.note(problem)
            for problem in judge.duplicates(life, evidence):
                self.stage.note(problem)

    def __enter__(self) -> Self:
        try:
            self.publish()
            if self._has_process:
                self.start_program()
                self.wait_for(lambda: self.program.life.readings, "the program started")
                if self._mode == "late":  # but not late at the very start
                    self.program.signal(signal.SIGUSR1)
            self.start_sidecar()
            self.settle()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self.settle()
                time.sleep(0.3)  # a reload too many would come now
                self._look_for_harm()
        finally:
            self._end()

    def _end(self) -> None:
        self._judge()
        for run in self._runs:
            if run.ended is None:
                run.signal(signal.SIGCONT)
                run.kill()
        for program in (*self._programs, *self._bystanders):
            program.kill()
        if self.hook:
            self.hook.__exit__(None, None, None)
        self.stage.logs.extend(run.log for run in self._runs)


def _seconds(timestamp: str) -> float:
    """Read the time of a log line, in seconds since the epoch."""
    return datetime.fromisoformat(timestamp).timestamp()
