"""The numbers as tables in Markdown, and their place in a document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

BEGIN = "<!-- measured: from here to the end mark `make bench` writes -->"
END = "<!-- measured: end -->"

NOTHING = "-"


@dataclass(frozen=True, slots=True)
class Table:
    """One measure."""

    title: str
    text: str
    """How it was measured, and in what unit."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def render(self) -> str:
        """Write it; the first column is text and the others are numbers."""
        marks = ("---", *["---:"] * (len(self.head) - 1))
        filled = [(*row, *[""] * (len(self.head) - len(row))) for row in self.rows]
        lines = (f"| {' | '.join(cells)} |" for cells in (self.head, marks, *filled))
        return "\n".join([f"### {self.title}", "", self.text, "", *lines])


def number(value: float | None, digits: int = 3) -> str:
    """Write a number with so many significant digits, but every digit before the point.

    None is something that could not be measured.
    """
    if value is None:
        return NOTHING
    if value == 0:
        return "0"
    before = len(str(int(abs(value))).lstrip("0"))
    if before:
        return f"{value:.{max(0, digits - before)}f}"
    return f"{value:.{digits}g}"


def times(value: float | None) -> str:
    """Write a ratio."""
    return NOTHING if value is None else f"{value:.1f}x"


def mebibytes(octets: float) -> str:
    """Write a size in MiB."""
    return f"{octets / 2**20:.1f}"


def replace_measured(document: str, measured: str) -> str:
    """Put what was measured between the marks, and leave the rest to its writer.

    Raises:
        ValueError: the document has no place for it.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the lines {BEGIN} and {END} are missing")
    return f"{before}{BEGIN}\n\n{measured.strip()}\n\n{END}{after}"


def list_of(facts: Sequence[tuple[str, str]]) -> str:
    """Write names and facts as a list."""
    return "\n".join(f"* {name}: {fact}" for name, fact in facts)
