"""Metrics as the text that a scraper reads, in either of the two formats.

Sources: "Exposition formats" of Prometheus (text format 0.0.4) and OpenMetrics 1.0,
sections "Metric Types" and "Text format".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal, NamedTuple

Kind = Literal["counter", "gauge", "histogram", "info"]

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_SUFFIXES = {"counter": "_total", "info": "_info"}
"""What the name of a sample has more than its family's."""


class Sample(NamedTuple):
    """One series and its value now."""

    labels: Mapping[str, str]
    value: float
    suffix: str = ""
    """Of the name, in a histogram: `_bucket`, `_sum` or `_count`."""


@dataclass(frozen=True, slots=True)
class Family:
    """Every series of one name, which has no suffix here."""

    name: str
    kind: Kind
    text: str
    samples: Sequence[Sample]


def text(families: Iterable[Family]) -> str:
    """Write the text format: all of a counter is named `_total`, info is a gauge."""
    lines: list[str] = []
    for family in families:
        name = family.name + _SUFFIXES.get(family.kind, "")
        kind = "gauge" if family.kind == "info" else family.kind
        lines += _described(name, kind, family.text)
        lines += _samples(name, family)
    return "".join(f"{line}\n" for line in lines)


def openmetrics(families: Iterable[Family]) -> str:
    """Write OpenMetrics: only the samples of a counter and an info have a suffix."""
    lines: list[str] = []
    for family in families:
        lines += _described(family.name, family.kind, family.text)
        lines += _samples(family.name + _SUFFIXES.get(family.kind, ""), family)
    return "".join(f"{line}\n" for line in [*lines, "# EOF"])


def buckets(
    bounds: Sequence[float], values: Sequence[int], total: float, **labels: str
) -> Iterator[Sample]:
    """Describe a histogram by how many observations fell between two bounds.

    There is one value more than bounds, for what is above the last one; `total` is the
    sum of all observations.
    """
    count = 0
    for bound, value in zip([*bounds, inf], values, strict=True):
        count += value
        yield Sample(labels | {"le": _number(bound)}, count, "_bucket")
    yield Sample(labels, count, "_count")
    yield Sample(labels, total, "_sum")


def _described(name: str, kind: str, text: str) -> tuple[str, str]:
    return f"# HELP {name} {_escaped(text)}", f"# TYPE {name} {kind}"


def _samples(name: str, family: Family) -> Iterator[str]:
    for labels, value, suffix in family.samples:
        pairs = (f'{key}="{_escaped(text)}"' for key, text in sorted(labels.items()))
        shown = ",".join(pairs)
        yield f"{name}{suffix}{f'{{{shown}}}' if shown else ''} {_number(value)}"


def _escaped(text: str) -> str:
    """Escape what would end a label's value or its line."""
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    """Write a number as OpenMetrics has those of `le`: 1.0, 0.25, +Inf."""
    return "+Inf" if value == inf else repr(float(value))
