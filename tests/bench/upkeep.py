"""What everybody costs while alive: memory in use, and work while nothing happens."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from .contenders import Job
from .footprint import Memory, activity, memory
from .ground import Ground
from .lane import BenchError, Lane, Load
from .table import Table, mebibytes, number

_PAUSE = 0.002
_SETTLED = 3.0
_EVENTS_OF_ONE = 3  # create, close after writing, delete
_JOBS: tuple[Job, ...] = ("signal", "post")


def kept_memory(ground: Ground) -> Iterator[Table]:
    """Memory after one reload, after many, and after a storm of events."""
    scale = ground.scale
    for job in _JOBS:
        rows: list[tuple[str, ...]] = []
        with ground.started(Load(job)) as (lanes, missing):
            for lane in lanes:
                ground.say(f"memory: {lane.name}, {job}")
                try:
                    rows.append((lane.name, *_grown(lane, scale.reloads, scale.events)))
                except BenchError as error:
                    missing[lane.name] = ground.failed(error)
        rows += [(name, f"missing: {reason}") for name, reason in missing.items()]
        yield Table(
            f"Memory with a {job} target (`memory`)",
            "MiB, resident (of that anonymous, which is shared with nobody).",
            (
                "",
                "after 1 reload",
                f"after {scale.reloads:,}",
                f"and {scale.events:,} events",
            ),
            tuple(rows),
        )


def _grown(lane: Lane, reloads: int, events: int) -> Iterator[str]:
    yield _cell(memory(lane.pid))
    for _ in range(reloads):
        lane.update()
        time.sleep(_PAUSE)
    yield _cell(memory(lane.pid))
    _storm(lane.volume.path, events)
    lane.update()  # it is behind all of the events
    yield _cell(memory(lane.pid))


def _storm(volume: Path, events: int) -> None:
    # the kubelet's own names are no keys
    file = volume / "..storm"
    for _ in range(events // _EVENTS_OF_ONE):
        file.touch()
        file.unlink()


def _cell(used: Memory) -> str:
    return f"{mebibytes(used.resident)} ({mebibytes(used.anonymous)})"


def idle(ground: Ground) -> Iterator[Table]:
    """Wake-ups and processor time while nothing happens, with everybody's defaults."""
    seconds = ground.scale.idle_seconds
    with ExitStack() as stack:
        started = [
            stack.enter_context(ground.started(Load(job, waits=True))) for job in _JOBS
        ]
        lanes = [lane for group, _ in started for lane in group]
        time.sleep(_SETTLED)
        before = [activity(lane.pid) for lane in lanes]
        time.sleep(seconds)
        after = [activity(lane.pid) for lane in lanes]
    rows = []
    for lane, was, now in zip(lanes, before, after, strict=True):
        spent = now - was
        name = f"{lane.name}, {lane.load.job}"
        rows.append((name, str(spent.wakeups), number(spent.seconds * 1e3)))
    for _, missing in started:
        rows += [(name, f"missing: {reason}", "") for name, reason in missing.items()]
    yield Table(
        "Asleep (`idle`)",
        f"In {seconds:g} s without an event: wake-ups of all threads (voluntary"
        " context switches), and milliseconds on a processor.",
        ("", "wake-ups", "processor"),
        tuple(rows),
    )
