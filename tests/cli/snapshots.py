"""What `inject` makes of the manifests in charts/, as differences that are kept.

    python -m tests.cli.snapshots

writes them again; read what changed before you commit it.
"""

from __future__ import annotations

import difflib
import shlex
from pathlib import Path

from tests.cli.command import Run, call

HERE = Path(__file__).parent
CHARTS = sorted((HERE / "charts").iterdir())
_OPTIONS = {"bare-pod.json": "--preset unbound"}  # JSON has no comments to say it


def injected(chart: Path, file: Path | None = None) -> Run:
    """Inject with the options that a manifest's first line tells."""
    first = chart.read_text().partition("\n")[0]
    told = _OPTIONS.get(chart.name, first.removeprefix("# inject "))
    return call("inject", *shlex.split(told), file or chart)


def snapshot(chart: Path) -> Path:
    """Return the file that keeps what is expected of a manifest."""
    return HERE / "snapshots" / f"{chart.stem}.diff"


def made(chart: Path) -> str:
    """Return the difference that `inject` makes, and all that it says."""
    result = injected(chart)
    before, after = chart.read_text().splitlines(), result.stdout.splitlines()
    changes = list(difflib.unified_diff(before, after, lineterm="", n=1))[2:]
    said = result.stderr.replace(f"{chart.parent}/", "").splitlines()
    lines = [f"exit status {result.status}", *said]
    lines += changes if result.stdout else ["nothing is written"]
    return "".join(f"{line}\n" for line in lines)


if __name__ == "__main__":
    for file in CHARTS:
        snapshot(file).write_text(made(file))
