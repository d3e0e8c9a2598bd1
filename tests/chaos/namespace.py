"""PIDs that are given to another process, in a PID namespace where they can be chosen.

`unshare` makes the namespace and runs this campaign in it once more, for this kind
only; its first process is the kubelet, and its numbers come back as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from tests.sidecar_process import CHECKOUT

from .arena import Arena
from .stage import Stage, Tally
from .target import Program

_LAST = Path("/proc/sys/kernel/ns_last_pid")
_TRIES = 50
INSIDE = "--inside"


def pid_reused(stage: Stage) -> None:
    """Kill the program and give its PID to another, or to its next life."""
    command = [sys.executable, "-m", "tests.chaos", "--kinds", "pid-reused", INSIDE]
    chosen = ["--rounds", str(stage.rounds), "--seed", stage.seed]
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", *command, *chosen],
        check=True,
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
    )
    found = json.loads(done.stdout)
    stage.tally.add(Tally(**found["tally"]))
    stage.problems.extend(found["problems"])
    stage.logs.extend(found["logs"])


def report(stage: Stage) -> str:
    """Write what happened in the namespace for whoever runs outside."""
    found = {"problems": stage.problems, "logs": stage.logs}
    return json.dumps(found | {"tally": asdict(stage.tally)})


def inside(stage: Stage) -> None:
    """Do it three ways, by what tells the sidecar who is meant."""
    third = max(1, stage.rounds // 3)
    with Arena(stage) as arena:
        for _ in range(third):
            _taken_by_another(arena)
    pid_file = stage.place() / "pid"
    with Arena(stage, {"PID_FILE": pid_file}) as arena:
        for _ in range(third):
            _taken_by_another(arena)
    with Arena(stage, {"STATE_DIR": stage.place()}) as arena:
        for _ in range(third):
            _taken_by_itself(arena)


def _taken_by_another(arena: Arena) -> None:
    """The PID goes to a program that is not meant, while the sidecar acts."""
    pid = arena.program.pid
    # no runtime is faster, and the times of a process and a file are not finer
    arena.wait_for(lambda: time.monotonic() > arena.program.started + 0.1, "older")
    arena.publish()
    arena.pause(0.2)
    arena.kill_program()
    bystander = _with_pid(pid, arena.start_bystander)
    arena.pause(0.5)
    bystander.kill()
    _with_pid(pid, arena.start_program)
    if arena.chance.random() < 0.5:
        arena.publish()
    arena.settle()


def _taken_by_itself(arena: Arena) -> None:
    """The program restarts with its old PID, and reads what was there in between."""
    pid, held = arena.program.pid, arena.newest.number
    arena.kill_sidecar()
    arena.kill_program()
    arena.publish()
    _with_pid(pid, arena.start_program)
    arena.wait_for(lambda: arena.program.life.readings, "the program started")
    arena.publish(held)
    arena.start_sidecar()
    arena.settle()


def _with_pid(pid: int, start: Callable[[], Program]) -> Program:
    """Start a program until it got that PID; the sidecar's threads take some too."""
    for _ in range(_TRIES):
        _LAST.write_text(str(pid - 1))
        program = start()
        if program.pid == pid:
            return program
        program.kill()
    raise TimeoutError(f"PID {pid} could not be had; this is process {os.getpid()}")
