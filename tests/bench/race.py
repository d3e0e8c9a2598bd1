"""From the rename to the word: everybody in turn, again and again."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from .contenders import C_FLOOR, PYTHON_FLOOR, Job
from .ground import Ground
from .lane import BenchError, Lane, Load
from .series import Series
from .table import Table, number, times

_PAUSE = 0.02
_PAUSE_AFTER_WAITING = 1.2  # VERIFY_ALIVE is over


@dataclass(slots=True)
class Times:
    """What came of one lane: seconds from the rename to the word."""

    lane: Lane
    seconds: list[float] = field(default_factory=list)
    problem: str | None = None

    @property
    def series(self) -> Series | None:
        return Series.of(self.seconds) if self.seconds else None


def run(
    ground: Ground, lanes: Sequence[Lane], updates: int, pause: float = _PAUSE
) -> list[Times]:
    """Let every lane bring so many updates, in turn and in a rotating order.

    `pause` is for what a contender does after the word, in seconds.
    """
    results = [Times(lane) for lane in lanes]
    for turn in range(updates):
        at = turn % max(1, len(results))
        for result in results[at:] + results[:at]:
            if result.problem:
                continue
            try:
                result.seconds.append(result.lane.update())
            except BenchError as error:
                result.problem = ground.failed(error)
            time.sleep(pause)
        if lanes and lanes[0].load.waits:
            time.sleep(_PAUSE_AFTER_WAITING)
    return results


def to_signal(ground: Ground) -> Iterator[Table]:
    """Rename to signal, delays off."""
    yield _race(
        ground,
        Load("signal"),
        ground.scale.updates,
        "Rename to signal, delays off (`signal`)",
        "Milliseconds from the kubelet's rename of `..data` until the program notes"
        " SIGHUP; the sidecar with `DEBOUNCE=0`, `VERIFY_ALIVE=0`.",
    )


def to_post(ground: Ground) -> Iterator[Table]:
    """Rename to POST, delays off."""
    yield _race(
        ground,
        Load("post"),
        ground.scale.updates,
        "Rename to POST, delays off (`post`)",
        "Milliseconds from the rename until the first octet of the POST is read.",
    )


def with_defaults(ground: Ground) -> Iterator[Table]:
    """Both, with everybody's own defaults."""
    words: dict[Job, str] = {"signal": "signal", "post": "POST"}
    for job, word in words.items():
        yield _race(
            ground,
            Load(job, waits=True),
            ground.scale.waiting_updates,
            f"Rename to {word}, everybody's defaults (`defaults`)",
            "Milliseconds. A delay here is chosen: it lets an update settle"
            " (`DEBOUNCE`, 200 ms), and is what makes one reload of it.",
        )


def _race(ground: Ground, load: Load, updates: int, title: str, text: str) -> Table:
    with ground.started(load) as (lanes, missing):
        for lane in lanes:
            lane.count_from_here()
        results = run(ground, lanes, updates)
        told = {result.lane.name: result.lane.told_per_update() for result in results}
    series = {result.lane.name: result.series for result in results}
    rows = []
    for result in results:
        name, mine = result.lane.name, series[result.lane.name]
        if result.problem or mine is None:
            missing[name] = result.problem or "nothing measured"
            continue
        floors = (mine.over(series.get(floor)) for floor in _floors(load))
        rows.append(
            (
                name,
                number(mine.median * 1e3),
                number(mine.maximum * 1e3),
                *(times(ratio) for ratio in floors),
                number(told[name], 3),
            )
        )
    rows += [(name, f"missing: {reason}") for name, reason in missing.items()]
    ratios = (f"x {floor.partition(':')[0]}" for floor in _floors(load))
    head = ("", "median", "maximum", *ratios, "reloads an update")
    return Table(title, f"{text} {updates} updates each.", head, tuple(rows))


def _floors(load: Load) -> tuple[str, ...]:
    """Return what to compare with: nothing, where a chosen delay is most of it."""
    if load.waits:
        return ()
    return (C_FLOOR, PYTHON_FLOOR) if load.job == "signal" else (PYTHON_FLOOR,)
