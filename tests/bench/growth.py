"""What one update costs when there is more of something."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

from . import race
from .crowd import Crowd
from .footprint import processor_seconds
from .ground import Ground
from .lane import Load
from .series import Series
from .table import Table, number, times

Cells = dict[str, dict[int, str]]

_PAUSE_AFTER_LOOKING = 0.1
"""Thousands of processes take some time to look at, in seconds."""


def with_keys(ground: Ground) -> Iterator[Table]:
    """Cost against the number of keys."""
    yield _each_started(
        ground,
        {size: Load(keys=size) for size in ground.scale.keys},
        "Number of keys (`keys`)",
        "Rename to signal, milliseconds, and the processor's time for one update; one"
        " key of 100 octets changes.",
    )


def with_volumes(ground: Ground) -> Iterator[Table]:
    """Cost against the number of volumes."""
    yield _each_started(
        ground,
        {size: Load(volumes=size, keys=10) for size in ground.scale.volumes},
        "Number of volumes (`volumes`)",
        "Rename to signal, milliseconds, and the processor's time for one update; the"
        " volumes of ten keys are swapped in turn.",
    )


def with_processes(ground: Ground) -> Iterator[Table]:
    """Cost against the number of processes that have nothing to do with it."""
    sizes = ground.scale.processes
    medians: dict[str, dict[int, float]] = {}
    with ground.started(Load()) as (lanes, missing), Crowd() as crowd:
        for size in sizes:
            crowd.grow(size)
            ground.say(f"{size} more processes")
            updates = ground.scale.growing_updates // 2
            for result in race.run(ground, lanes, updates, _PAUSE_AFTER_LOOKING):
                if result.series and not result.problem:
                    row = medians.setdefault(result.lane.name, {})
                    row[size] = result.series.median
    rows = [(name, *_grown(row, sizes)) for name, row in medians.items()]
    rows += [(name, f"missing: {reason}") for name, reason in missing.items()]
    already = sum(1 for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208
    yield Table(
        "Other processes (`processes`)",
        "Rename to signal, milliseconds and times what it is without them, beside so"
        f" many processes that sleep; {already} run here anyway.",
        ("", *(f"+{size}" for size in sizes)),
        tuple(rows),
    )


def _grown(row: Mapping[int, float], sizes: Sequence[int]) -> Iterator[str]:
    for size in sizes:
        ratio = row[size] / row[sizes[0]] if {size, sizes[0]} <= row.keys() else None
        yield f"{number(row[size] * 1e3)} ({times(ratio)})" if ratio else number(None)


def _each_started(
    ground: Ground, loads: Mapping[int, Load], title: str, text: str
) -> Table:
    cells: Cells = {}
    missing: dict[str, str] = {}
    for size, load in loads.items():
        ground.say(f"{title}: {size}")
        with ground.started(load) as (lanes, absent):
            missing |= absent
            before = {lane.name: processor_seconds(lane.pid) for lane in lanes}
            updates = ground.scale.growing_updates
            for result in race.run(ground, lanes, updates):
                name = result.lane.name
                used = processor_seconds(result.lane.pid) - before[name]
                if result.series and not result.problem:
                    row = cells.setdefault(name, {})
                    row[size] = _cell(result.series, used / updates)
    rows = [
        (name, *(row.get(size, number(None)) for size in loads))
        for name, row in cells.items()
    ]
    rows += [(name, f"missing: {why}") for name, why in missing.items()]
    return Table(title, text, ("", *(str(size) for size in loads)), tuple(rows))


def _cell(series: Series, used: float) -> str:
    return f"{number(series.median * 1e3)} (cpu {number(used * 1e3, 2)})"
