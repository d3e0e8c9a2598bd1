"""From the start of a process until it watches."""

from __future__ import annotations

import time
from collections.abc import Iterator

from .contenders import PYTHON_FLOOR
from .footprint import armed
from .ground import Ground
from .lane import BenchError, Lane, Load
from .series import Series
from .table import Table, number, times

_LOOK = 0.0005
_BOUND = 20.0


def to_watch(ground: Ground) -> Iterator[Table]:
    """Start to armed watch, everybody in turn."""
    seconds: dict[str, list[float]] = {}
    with ground.started(Load()) as (lanes, missing):
        for _ in range(ground.scale.starts):
            for lane in lanes:
                if lane.name in missing:
                    continue
                try:
                    seconds.setdefault(lane.name, []).append(_start(lane))
                except BenchError as error:
                    missing[lane.name] = ground.failed(error)
                except PermissionError:
                    missing[lane.name] = "undumpable, so only root sees what it watches"
    series = {
        name: Series.of(values)
        for name, values in seconds.items()
        if name not in missing
    }
    rows = [
        (
            name,
            number(mine.median * 1e3),
            number(mine.maximum * 1e3),
            times(mine.over(series.get(PYTHON_FLOOR))),
        )
        for name, mine in series.items()
    ]
    rows += [(name, f"missing: {reason}", "", "") for name, reason in missing.items()]
    yield Table(
        "Start to armed watch (`start`)",
        "Milliseconds until `/proc/<pid>/fdinfo` shows an inotify watch; code and"
        f" bytecode are in the page cache. {ground.scale.starts} starts each.",
        ("", "median", "maximum", f"x {PYTHON_FLOOR}"),
        tuple(rows),
    )


def _start(lane: Lane) -> float:
    """Start the lane's contender a second time, and return the seconds it took."""
    began = time.monotonic()
    process = lane.start(lane.command)
    try:
        while not armed(process.pid):
            if time.monotonic() > began + _BOUND:
                raise BenchError(f"{lane.name} did not watch within {_BOUND:g} s; end")
            time.sleep(_LOOK)
        return time.monotonic() - began
    finally:
        lane.end(process)
