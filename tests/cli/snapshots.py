"""What `inject` makes of the manifests in charts/, as differences that are kept.

    python -m tests.cli.snapshots

writes them again; read what changed before you commit it.
"""

from __future__ import annotations

import difflib
import shlex
from pathlib import Path

from tests.cli.command import run

CHARTS = sorted((Path(__file__).parent / "charts").glob("*.[yj]*"))
_OPTIONS = {"bare-pod.json": "--preset unbound"}  # JSON has no comments to say it


def options(chart: Path) -> list[str]:
    """Return the options of `inject` that a manifest's first line tells."""
    first = chart.read_text().partition("\n")[0]
    told = first.removeprefix("# inject ")
    return shlex.split(_OPTIONS[chart.name] if told == first else told)


def snapshot(chart: Path) -> Path:
    """Return the file that keeps what is expected of a manifest."""
    return Path(__file__).parent / "snapshots" / f"{chart.stem}.diff"


def made(chart: Path) -> str:
    """Return the difference that `inject` makes, and all that it says."""
    text = chart.read_text()
    result = run("inject", *options(chart), stdin=text)
    lines = difflib.unified_diff(
        text.splitlines(), result.stdout.splitlines(), lineterm="", n=1
    )
    changes = list(lines)[2:] if result.stdout else ["nothing is written"]
    said = [f"exit status {result.status}", *result.stderr.splitlines()]
    return "".join(f"{line}\n" for line in [*said, *changes])


if __name__ == "__main__":
    for file in CHARTS:
        snapshot(file).parent.mkdir(exist_ok=True)
        snapshot(file).write_text(made(file))
