"""`make chaos`: many faults of every kind, and a table of what came of them.

Exit status 0 if nothing was lost, early or harmed, and nobody was told twice but after
a SIGKILL of the sidecar, once for each.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from . import namespace
from .kinds import KINDS, Kind
from .stage import FaultError, Stage
from .table import Row, render

_ROUNDS = 3
_LOG_LINES = 100


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaign; return the exit status."""
    options = _parser().parse_args(arguments)
    chosen = [kind for kind in KINDS if kind.name in options.kinds]
    with tempfile.TemporaryDirectory(prefix="chaos-") as directory:
        place = Path(directory)
        place.chmod(0o755)
        if options.inside:
            stage = _stage(chosen[0], options.seed, options.rounds, place)
            _play(namespace.inside, stage)
            sys.stdout.write(namespace.report(stage))
            return 0
        return _campaign(chosen, options.seed, options.rounds, place)


def _campaign(chosen: list[Kind], seed: str, rounds: int, place: Path) -> int:
    _say(f"seed {seed}, rounds {rounds}")
    rows = []
    for kind in chosen:
        stage = _stage(kind, seed, rounds * kind.share, place)
        missing = kind.missing()
        began = time.monotonic()
        if missing is None:
            _play(kind.run, stage)
        row = Row(kind.name, stage.tally, time.monotonic() - began, missing)
        rows.append(row)
        _say(f"{kind.name}: {_word(row)}, {row.seconds:.0f} s")
        if not row.good:
            _tell(stage)
    sys.stdout.write(f"{render(rows)}\n\nseed {seed}, rounds {rounds}\n")
    left_out = any(row.missing for row in rows) and bool(os.environ.get("CI"))
    return 1 if left_out or not all(row.good for row in rows) else 0


def _play(run: Callable[[Stage], None], stage: Stage) -> None:
    with suppress(FaultError):  # it was noted
        run(stage)


def _stage(kind: Kind, seed: str, rounds: int, place: Path) -> Stage:
    # not for secrets: the same seed must give the same faults
    chance = random.Random(f"{seed}:{kind.name}")  # noqa: S311
    return Stage(chance, rounds, seed, place)


def _tell(stage: Stage) -> None:
    """Show what went wrong, and the end of the sidecar's log."""
    for log in stage.logs:
        _say("\n".join(["--- a sidecar's log", *log.splitlines()[-_LOG_LINES:]]))
    _say("\n".join(["--- what went wrong", *stage.problems]))


def _word(row: Row) -> str:
    if row.missing:
        return f"not run: {row.missing}"
    return "good" if row.good else "BAD"


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _parser() -> argparse.ArgumentParser:
    names = [kind.name for kind in KINDS]
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", default=str(random.SystemRandom().randrange(10**6)))
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    parser.add_argument(
        "--kinds",
        type=lambda text: text.split(","),
        default=names,
        help=", ".join(names),
    )
    parser.add_argument(namespace.INSIDE, action="store_true", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
