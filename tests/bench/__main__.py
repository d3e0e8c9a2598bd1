"""`make bench`: this sidecar, its peers and two floors, on the same work.

A whole run is written into docs/BENCHMARKS.md; `--quick` and `--only` print only.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tests.sidecar_process import CHECKOUT

from . import contenders, growth, image, machine, peers, race, runtime, starting, upkeep
from .ground import FULL, QUICK, Ground
from .table import Table, list_of, replace_measured

Measure = Callable[[Ground], Iterator[Table]]

MEASURES: Mapping[str, Measure] = {
    "signal": race.to_signal,
    "post": race.to_post,
    "defaults": race.with_defaults,
    "start": starting.to_watch,
    "keys": growth.with_keys,
    "volumes": growth.with_volumes,
    "processes": growth.with_processes,
    "memory": upkeep.kept_memory,
    "idle": upkeep.idle,
    "image": image.footprint,
}

DOCUMENT = CHECKOUT / "docs/BENCHMARKS.md"
CACHE = CHECKOUT / "build/bench"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the measures; return the exit status."""
    options = _parser().parse_args(arguments)
    CACHE.mkdir(parents=True, exist_ok=True)
    python = runtime.python(CACHE)
    competing = [
        contenders.c_floor(_compile()),
        contenders.shortest_python(python),
        contenders.sidecar(python),
        *peers.build(CACHE, _say),
    ]
    facts = [*machine.facts(), ("load before", machine.load())]
    tables: list[Table] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        scale = QUICK if options.quick else FULL
        ground = Ground(competing, Path(directory), scale, _say)
        began = time.monotonic()
        for name in options.only:
            busy = machine.others_at_work()
            _say(f"{name}: {busy:.0%} of the processors were in use before it")
            if machine.is_busy(busy):
                facts.append(("busy", f"{busy:.0%} was in use just before `{name}`"))
            tables.extend(MEASURES[name](ground))
        _say(f"took {time.monotonic() - began:.0f} s")
    facts.append(("load after", machine.load()))
    measured = "\n\n".join([list_of(facts), *(table.render() for table in tables)])
    sys.stdout.write(f"{measured}\n")
    if not options.quick and list(options.only) == list(MEASURES):
        DOCUMENT.write_text(replace_measured(DOCUMENT.read_text(), measured))
        _say(f"written into {DOCUMENT.relative_to(CHECKOUT)}")
    return 0


def _compile() -> Path | None:
    """Make the C floor; None without a compiler."""
    if not shutil.which("cc"):
        return None
    source = Path(__file__).parent / "floor.c"
    program = CACHE / "floor"
    subprocess.run(["cc", "-O2", "-o", str(program), str(source)], check=True)
    return program


def _measures(text: str) -> list[str]:
    wanted = text.split(",")
    for name in wanted:
        if name not in MEASURES:
            raise argparse.ArgumentTypeError(
                f"{name} is none of them: {', '.join(MEASURES)}"
            )
    return wanted


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a little of everything, in two minutes"
    )
    parser.add_argument(
        "--only", type=_measures, default=list(MEASURES), help=", ".join(MEASURES)
    )
    return parser


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
