"""The campaign's result, as a table in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields

from .stage import Tally


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of fault and what came of it."""

    name: str
    tally: Tally
    seconds: float
    missing: str | None = None
    """Why it was not run, if it was not."""

    @property
    def good(self) -> bool:
        return self.tally.good


def render(rows: Sequence[Row]) -> str:
    """Write the rows and their sum."""
    total = Tally()
    for row in rows:
        total.add(row.tally)
    head = ["kind of fault", *(column.name for column in fields(Tally))]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    lines += [_cells(row) for row in rows]
    lines.append(["**total**", *(str(number) for number in astuple(total))])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cells(row: Row) -> list[str]:
    if row.missing:
        return [row.name, f"not run: {row.missing}", *[""] * (len(fields(Tally)) - 1)]
    return [row.name, *(str(number) for number in astuple(row.tally))]
