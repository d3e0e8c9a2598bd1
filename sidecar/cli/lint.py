"""`lint`: what is wrong with the manifests of pods that have the sidecar."""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from sidecar import findings
from sidecar.output import say

from . import pod, remarks, rules, sources
from .documents import Plain
from .remarks import Remark
from .workloads import Thing, things

Immutable: TypeAlias = Mapping[str, frozenset[pod.Object]]
"""Objects that never change, by their namespaces."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "lint", help="say what is wrong with manifests that have the sidecar"
    )
    add_files(parser)
    parser.add_argument(
        "--output",
        choices=list(remarks.OUTPUTS),
        default="text",
        help="for people, for machines, or annotations of a change on GitHub",
    )
    parser.add_argument(
        "--codes", action="store_true", help="print what can be found, as docs/LINT.md"
    )
    parser.set_defaults(run=run)


def add_files(parser: argparse.ArgumentParser) -> None:
    """Let a command take manifests."""
    parser.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="manifests, or folders of them; none, or -, for stdin",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print what is found; return 1 if anything is a problem."""
    if arguments.codes:
        return say(catalogue())
    found: list[Thing] = []
    told: list[Remark] = []
    for document in sources.documents(arguments.files):
        if isinstance(document, sources.SourceError):
            told.append(remarks.of_source(document))
        else:
            found += things(document)
    specs = [(t, t.document.plain(t.spec_path)) for t in found if t.spec_path]
    fixed = immutable(found)
    told += (r for thing, spec in specs for r in judged(thing, spec, fixed))
    unread = say(remarks.rendered(told, arguments.output))
    sys.stderr.write(f"{_summary([spec for _, spec in specs], told)}\n")
    return unread or findings.status(remark.finding for remark in told)


def judged(thing: Thing, spec: Plain, immutable: Immutable) -> Iterator[Remark]:
    """Say what is wrong with a workload of this pod spec, if it has the sidecar."""
    fixed = immutable.get(thing.namespace, frozenset())
    for flaw in rules.judged(pod.parse(spec), str(thing), fixed):
        yield remarks.of_flaw(thing, flaw)


def immutable(known: Iterable[Thing]) -> Immutable:
    """Find the ConfigMaps and Secrets whose content never changes."""
    objects = defaultdict(set)
    for thing in known:
        if thing.document.plain((*thing.path, "immutable")) is True:
            objects[thing.namespace].add((thing.kind, thing.name))
    return {name: frozenset(found) for name, found in objects.items()}


def _summary(specs: list[Plain], told: list[Remark]) -> str:
    ours = sum(bool(pod.parse(spec).sidecars) for spec in specs)
    problems = sum(findings.status([remark.finding]) for remark in told)
    return (
        f"{_counted(len(specs), 'pod template')}, {ours} with the sidecar: "
        f"{_counted(problems, 'problem')}, {_counted(len(told) - problems, 'warning')}"
    )


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


_TITLE = """\
# Findings

What `check` finds in the pod, and `lint` and `inject` find in manifests, by code.
`config-reload-sidecar lint --codes` writes this. A `problem` keeps the sidecar from its
work and makes the exit status 1; a `warning` does not.

| code | severity | meaning | mend |
|---|---|---|---|
"""


def catalogue() -> str:
    """Write the table of everything that can be found."""
    rows = (
        f"| `{name}` | {code.severity} | {code.meaning} | {code.mend} |\n"
        for name, code in findings.CODES.items()
        if code.severity is not findings.Severity.OK
    )
    return _TITLE + "".join(rows)
