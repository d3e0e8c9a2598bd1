"""What is found in manifests, with its place, for people and for machines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from sidecar.findings import Finding, Severity

from .documents import Path
from .rules import Flaw
from .sources import SourceError
from .workloads import Thing


@dataclass(frozen=True, slots=True)
class Remark:
    """A finding, and where it is."""

    file: str
    line: int
    path: str
    finding: Finding

    def as_json(self) -> dict[str, str | int | None]:
        """Return what `--output json` prints for it."""
        said = self.finding.as_json()
        return {"file": self.file, "line": self.line, "path": self.path, **said}

    def as_text(self) -> str:
        """Write it as compilers do, so that editors find the place."""
        found = self.finding
        where = " ".join(filter(None, [found.subject, self.path]))
        head = f"{self.file}:{self.line}: {found.severity} {found.code}"
        return _printable(": ".join(filter(None, [head, where, found.sentence])))

    def as_github(self) -> str:
        """Write it as a workflow command, which annotates the line of a change."""
        found = self.finding
        kind = "error" if found.severity is Severity.PROBLEM else "warning"
        place = f"file={_property(self.file)},line={self.line}"
        title = _property(f"{found.subject} {found.code}".strip())
        return f"::{kind} {place},title={title}::{_message(found.sentence)}"


def of_flaw(thing: Thing, flaw: Flaw) -> Remark:
    """Place a pod's flaw in its manifest."""
    path = (*(thing.spec_path or thing.path), *flaw.path)
    document = thing.document
    finding = Finding(flaw.code, str(thing), flaw.text, flaw.mend)
    return Remark(document.file, document.line_of(path), shown(path), finding)


def of_source(error: SourceError) -> Remark:
    """Say that a manifest can't be had."""
    finding = Finding("manifest-broken", "", str(error))
    return Remark(error.file, error.line, "", finding)


def shown(path: Path) -> str:
    """Write a path as kubectl explains them: `spec.containers[0].env`."""
    text = "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in path)
    return text.removeprefix(".")


def rendered(remarks: Iterable[Remark], output: str) -> str:
    """Write remarks in one of the formats of `OUTPUTS`."""
    return OUTPUTS[output](list(remarks))


def _printable(text: str) -> str:
    """Write what would move a terminal's cursor, or begin a line, as escapes."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")


def _lines(write: Callable[[Remark], str]) -> Callable[[list[Remark]], str]:
    return lambda remarks: "".join(f"{write(remark)}\n" for remark in remarks)


def _json(remarks: list[Remark]) -> str:
    return json.dumps([remark.as_json() for remark in remarks], indent=2) + "\n"


OUTPUTS: Mapping[str, Callable[[list[Remark]], str]] = MappingProxyType(
    {"text": _lines(Remark.as_text), "json": _json, "github": _lines(Remark.as_github)}
)
