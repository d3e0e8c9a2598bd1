"""What a person sees: a live table on a terminal, lines elsewhere, or JSON."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from math import inf
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .objects import short_generation
from .pursuit import Pursuit
from .stage import Stage

_DIGEST_LENGTH = 12
_LONGEST = 500
"""Characters of a text from elsewhere."""

_NAMED = 3
"""Pods that are named where several have one reason."""

_REDRAW = 0.1
"""Seconds between two drawings: hundreds of pods move at once."""

_FRAME = 6
"""Lines of a terminal that are not rows: titles, borders, the prompt."""

_COLOURS = {
    Stage.FRESH: "green",
    Stage.UNCHANGED: "green",
    Stage.REJECTED: "red",
    Stage.SILENT: "yellow",
    Stage.WAITING: "dim",
    Stage.PENDING: "dim",
    Stage.STALE: "yellow",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One pod and one object."""

    pod: str
    node: str
    object: str
    sidecar: str
    """Which one says so, where a pod has several that watch the object."""

    volume: str
    generation: str
    digest: str
    state: Stage
    seconds: float | None
    """From the beginning of its batch to its last state, as it was seen from here."""

    detail: str


def rows(pursuit: Pursuit) -> list[Row]:
    """Describe a pod; what others wrote is made fit for a terminal."""
    ended, uses = pursuit.ended, pursuit.member.uses
    watched = Counter(use.source.reference for use in uses)
    seconds = None if ended is None else round(ended - pursuit.began, 2)
    return [
        Row(
            pursuit.member.name,
            pursuit.member.node,
            str(use.source.reference),
            use.sidecar if watched[use.source.reference] > 1 else "",
            verdict.path,
            printable(verdict.generation or ""),
            printable(verdict.digest or ""),
            verdict.stage,
            seconds,
            printable(" ".join(verdict.detail.split())),
        )
        for use, verdict in zip(uses, pursuit.verdicts, strict=True)
    ]


def printable(text: str) -> str:
    """Leave out what would move a terminal's cursor, and what nobody would read."""
    return "".join(c if c.isprintable() else "?" for c in text)[:_LONGEST]


class View(Protocol):
    """Where the pods are shown as they go."""

    def show(self, pursuit: Pursuit) -> None:
        """Show what is true of a pod now."""
        ...

    def close(self, summary: str, *, succeeded: bool) -> None:
        """Show how it ended."""
        ...


@contextmanager
def view(output: str) -> Iterator[View]:
    """Make the view for `--output`."""
    console = Console(highlight=False)
    if output == "json":
        yield Document()
    elif output == "table" or (output == "auto" and console.is_terminal):
        with Live(console=console, auto_refresh=False, transient=True) as live:
            try:
                yield LiveTable(console, live)
            except BaseException:
                live.transient = False  # what was seen is all there will be
                raise
    else:
        yield Lines()


class _Kept:
    """The newest rows of each pod, in the pods' order."""

    def __init__(self) -> None:
        self._rows: dict[str, list[Row]] = {}

    def keep(self, pursuit: Pursuit) -> list[Row]:
        new = rows(pursuit)
        self._rows[pursuit.member.uid] = new
        return new

    def all(self) -> list[Row]:
        return sorted(
            (row for some in self._rows.values() for row in some),
            key=lambda row: (row.pod, row.object, row.sidecar),
        )


class LiveTable:
    """A table that is drawn again and again, and stays when it is complete."""

    def __init__(self, console: Console, live: Live) -> None:
        self._console = console
        self._kept = _Kept()
        self._live = live
        self._drawn = -inf

    def show(self, pursuit: Pursuit) -> None:
        """Show what is true of a pod now."""
        self._kept.keep(pursuit)
        now = time.monotonic()
        if now < self._drawn + _REDRAW:
            return  # what is open is shown again soon
        self._drawn = now
        room = max(3, self._console.height - _FRAME)
        self._live.update(_table(_foremost(self._kept.all(), room)), refresh=True)

    def close(self, summary: str, *, succeeded: bool) -> None:
        """Show how it ended."""
        self._live.stop()
        rows = self._kept.all()
        if rows:
            self._console.print(_table(rows))
        for line in _reasons(rows):
            self._console.print(Text(line))
        self._console.print(Text(summary, style="green" if succeeded else "red"))


def _foremost(rows: Sequence[Row], room: int) -> Sequence[Row]:
    """Return as many rows as fit, those that are waited for first."""
    if len(rows) <= room:
        return rows
    return sorted(rows, key=lambda row: not row.state.open)[:room]


def _table(rows: Sequence[Row]) -> Table:
    """Draw the rows; a narrow terminal cuts generations and digests short."""
    several = len({row.object for row in rows}) > 1
    shared = any(row.sidecar for row in rows)
    table = Table(box=None, pad_edge=False)
    table.add_column("POD", no_wrap=True)
    table.add_column("NODE", no_wrap=True)
    if several:
        table.add_column("OBJECT", no_wrap=True)
    if shared:
        table.add_column("SIDECAR", no_wrap=True)
    table.add_column("GENERATION", overflow="ellipsis")
    table.add_column("DIGEST", overflow="ellipsis")
    table.add_column("STATE", no_wrap=True)
    table.add_column("SECONDS", no_wrap=True, justify="right")
    for row in rows:
        names = [row.pod, row.node, *([row.object] if several else [])]
        names += [row.sidecar] if shared else []
        content = [short_generation(row.generation), row.digest[:_DIGEST_LENGTH]]
        state = Text(row.state, style=_COLOURS.get(row.state, "yellow"))
        table.add_row(*map(Text, [*names, *content]), state, Text(_seconds(row)))
    return table


def _reasons(rows: Iterable[Row]) -> list[str]:
    """Say why pods are where they are, each reason once."""
    pods: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.detail:
            pods.setdefault((row.state, row.detail), []).append(row.pod)
    return [
        f"{_some(names)}: {state}: {detail}" for (state, detail), names in pods.items()
    ]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _seconds(row: Row) -> str:
    return "" if row.seconds is None else f"{row.seconds:.1f}"


class Lines:
    """One line for each change of a state: for logs of pipelines."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, str, str], tuple[Stage, str]] = {}

    def show(self, pursuit: Pursuit) -> None:
        """Show what is true of a pod now."""
        for row in rows(pursuit):
            key = (pursuit.member.uid, row.object, row.sidecar)
            said = (row.state, row.detail)
            if self._said.get(key) != said:
                self._said[key] = said
                _say(_line(row))

    def close(self, summary: str, *, succeeded: bool) -> None:  # noqa: ARG002
        """Show how it ended."""
        _say(summary)


def _line(row: Row) -> str:
    parts = [row.pod, row.node, row.object, row.sidecar, row.state, _seconds(row)]
    parts += [short_generation(row.generation), row.digest[:_DIGEST_LENGTH]]
    line = "  ".join(part for part in parts if part)
    return f"{line}  {row.detail}" if row.detail else line


class Document:
    """JSON, once, for programs."""

    def __init__(self) -> None:
        self._kept = _Kept()

    def show(self, pursuit: Pursuit) -> None:
        """Keep what is true of a pod now."""
        self._kept.keep(pursuit)

    def close(self, summary: str, *, succeeded: bool) -> None:
        """Show all of it."""
        pods = [asdict(row) for row in self._kept.all()]
        document = {"succeeded": succeeded, "summary": summary, "pods": pods}
        _say(json.dumps(document, indent=1))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
