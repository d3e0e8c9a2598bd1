"""`inject`: writes manifests again, with the sidecar in their pod templates."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from types import MappingProxyType

from sidecar import findings, presets
from sidecar.findings import Finding
from sidecar.output import say

from . import identity, lint, remarks, sources
from .changes import Changing, adding, removing
from .documents import Document
from .injection import IMAGE, Wish
from .remarks import Remark
from .rewriting import Rewritten, rewritten
from .workloads import Thing, things

_BEGINS = re.compile(r"(?:\s++|#[^\n]*+)*+---\s")
_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "inject", help="write manifests again, with the sidecar added"
    )
    lint.add_files(parser)
    how = parser.add_argument_group("how the program is told")
    known = ", ".join(presets.PRESETS)
    how.add_argument("--preset", metavar="NAME", help=f"as one of {known}")
    how.add_argument("--signal", metavar="PROCESS", help="by a signal to this process")
    how.add_argument("--webhook", metavar="URL", help="by a request to this URL")
    where = parser.add_argument_group("what is changed")
    where.add_argument(
        "--only",
        metavar="WORKLOAD",
        action="append",
        default=[],
        help="this workload, NAME or KIND/NAME; repeat it for more",
    )
    where.add_argument("--container", metavar="NAME", help="the program's container")
    where.add_argument(
        "--volume",
        metavar="NAME",
        action="append",
        default=[],
        help="watch this volume, not all that hold configuration; repeat it for more",
    )
    where.add_argument("--remove", action="store_true", help="take the sidecar out")
    what = parser.add_argument_group("the sidecar")
    what.add_argument(
        "--env",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        type=_variable,
        help="set one of its variables; repeat it for more",
    )
    what.add_argument("--image", default=IMAGE, help="its image (%(default)s)")
    what.add_argument(
        "--native",
        action="store_true",
        help="as an init container that goes on running; a pod that completes "
        "always gets it so",
    )
    parser.set_defaults(run=run, refuse=parser.error)


def run(arguments: argparse.Namespace) -> int:
    """Write the manifests to stdout; nothing, and 1, if any of them can't be done."""
    change = _change(arguments)
    known: list[tuple[Document, list[Thing]]] = []
    told: list[Remark] = []
    for document in sources.documents(arguments.files):
        if isinstance(document, sources.SourceError):
            told.append(remarks.of_source(document))
        else:
            known.append((document, list(things(document))))
    every = [thing for _, found in known for thing in found]
    if not told:  # else they may be in what can't be read
        told += _missing(every, arguments.only)
    fixed = lint.immutable(every)
    results = []
    for document, found in known:
        chosen = [thing for thing in found if _is_chosen(thing, arguments.only)]
        results.append(rewritten(document, chosen, change))
        told += results[-1].remarks
        for thing, spec in results[-1].specs if not arguments.remove else ():
            told += lint.judged(thing, spec, fixed)
    sys.stderr.write(remarks.rendered(told, "text"))
    if findings.status(remark.finding for remark in told):
        return 1
    return say("".join(_joined(results)))


def _is_chosen(thing: Thing, names: list[str]) -> bool:
    if thing.spec_path is None:
        return False
    return not names or thing.name in names or str(thing) in map(str.lower, names)


def _missing(known: list[Thing], asked: list[str]) -> Iterator[Remark]:
    """Say which workloads are asked for and not there."""
    workloads = [thing for thing in known if thing.spec_path is not None]
    names = ", ".join(map(str, workloads)) or "none"
    absent = [a for a in asked if not any(_is_chosen(t, [a]) for t in workloads)]
    for name in absent:
        yield _nothing(f"no workload is named {name}; there are: {names}")
    if not workloads and not asked:
        yield _nothing("no workload here")


def _nothing(text: str) -> Remark:
    return Remark("input", 1, "", Finding("manifest-none", "", text))


def _joined(results: list[Rewritten]) -> Iterator[str]:
    """Make one stream of several files' documents."""
    before = ""
    for result in results:
        text = result.text
        if before and result.document.first_line == 1:  # of another file
            text = text.removeprefix("\ufeff")
            yield "" if before.endswith("\n") else "\n"
            yield "" if _BEGINS.match(text) else "---\n"
        yield text
        before = text


def _change(arguments: argparse.Namespace) -> Changing:
    env = MappingProxyType(dict(arguments.env))
    told = [arguments.preset, arguments.signal, arguments.webhook]
    if arguments.remove:
        if any(told):
            arguments.refuse("--remove takes the sidecar out: it needs no way to tell")
        return removing
    if not any(told) and not identity.TARGETS & env.keys():
        arguments.refuse(
            "say how the program is told: --preset NAME, --signal PROCESS, "
            "--webhook URL or --env ROLLOUT=KIND/NAME"
        )
    return adding(
        Wish(
            process=arguments.signal,
            webhook=arguments.webhook,
            preset=arguments.preset,
            container=arguments.container,
            volumes=tuple(arguments.volume),
            env=env,
            image=arguments.image,
            native=arguments.native,
        )
    )


def _variable(text: str) -> tuple[str, str]:
    match = _VARIABLE.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return match[1], match[2]
