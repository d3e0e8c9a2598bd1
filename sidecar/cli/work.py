"""`push` and `status`: which pods run an object's content, and getting them to.

A patched annotation makes a pod's kubelet sync at once instead of within 90 seconds;
the pod's sidecar then says, through the API server, when the program holds the content.
"""

from __future__ import annotations

import argparse
import difflib
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from sidecar import values

from .access import Access, connect
from .api import Api
from .batches import at_once, batches
from .client import Client
from .failure import AccessError
from .mounting import Member, members, mounted
from .objects import Reference, Source, reference
from .pursuit import Pursuit
from .rounds import follow, look, touch
from .stage import Stage, Verdict
from .table import View, printable, view

T = TypeVar("T")

_HELD_BACK = (
    "the kubelets bring it to those too within 90 s: to keep it from them, put the"
    " object back"
)

_RUNS_IT = (Stage.FRESH, Stage.UNCHANGED, Stage.GONE)
"""Where a pod runs the content, or is no more."""

_LISTED_EVERY = 2.0
"""How often the pods are listed while one of them has no node, in seconds."""

_USUAL = frozenset({Stage.FRESH, Stage.ANNOTATED})
_WELL = _USUAL | {Stage.UNCHANGED}
"""Where there is nothing to add, and where nothing is missing."""

_TOLD = (Stage.ANNOTATED, Stage.ALONE, Stage.PENDING, Stage.GONE)
"""Where all is done that can be done without waiting."""


@dataclass(frozen=True, slots=True)
class _Request:
    """What was asked on the command line."""

    references: tuple[Reference, ...]
    namespace: str | None
    timeout: float
    """For one batch, in seconds."""

    batch: str | None
    no_wait: bool


def _checked(chosen: argparse.Namespace) -> _Request:
    """Read what argparse can't.

    Raises:
        AccessError: with everything that is wrong.
    """
    problems: list[str] = []

    def parsed(name: str, parse: Callable[[str], T], text: str) -> T | None:
        try:
            return parse(text)
        except ValueError as error:
            problems.append(f"{name}{error}")
            return None

    found = [parsed("", reference, text) for text in chosen.objects]
    timeout = parsed(f"--timeout {chosen.timeout}: ", values.duration, chosen.timeout)
    if chosen.batch is not None:
        parsed("--batch ", lambda text: at_once(text, 1), chosen.batch)
    if chosen.namespace is not None:
        parsed(f"--namespace {chosen.namespace}: ", values.label, chosen.namespace)
    if problems:
        raise AccessError("\n".join(problems))
    return _Request(
        tuple(dict.fromkeys(one for one in found if one)),
        chosen.namespace,
        timeout or 0.0,
        chosen.batch,
        chosen.no_wait,
    )


def run(chosen: argparse.Namespace, command: Callable[[Work, View], int]) -> int:
    """Run a command; what can't be done is said on stderr, with status 2."""
    try:
        request = _checked(chosen)
        access = connect(os.environ, chosen.context)
        with access.http, view(chosen.output) as shown:
            return command(Work(request, access), shown)
    except AccessError as error:
        sys.stderr.writelines(f"{printable(line)}\n" for line in str(error).split("\n"))
        return 2
    except BrokenPipeError:
        # who read it has enough; the interpreter would complain when it flushes
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


class Work:
    """One command under way: what is asked, of whom, and where it is shown."""

    def __init__(self, request: _Request, access: Access) -> None:
        self.references, self.timeout = request.references, request.timeout
        self.batch, self.no_wait = request.batch, request.no_wait
        self.ended = threading.Event()
        """Set when it is broken off."""

        self.namespace = request.namespace or access.namespace
        self.api = Api(Client(access, self.ended), self.namespace)

    def sources(self) -> list[Source]:
        """Get the objects.

        Raises:
            AccessError: one does not exist.
        """
        found = {wanted: self.api.source(wanted) for wanted in self.references}
        missing = [wanted for wanted, source in found.items() if source is None]
        if missing:
            raise AccessError("\n".join(map(self._missing, missing)))
        return [source for source in found.values() if source]

    def _missing(self, wanted: Reference) -> str:
        names = set(self.api.names(wanted.kind)) | mounted(self.api.pods(), wanted.kind)
        near = difflib.get_close_matches(wanted.name, names - {wanted.name}, 3, 0.6)
        meant = f"; did you mean {' or '.join(near)}?" if near else ": mind --namespace"
        return f"there is no {wanted} in namespace {self.namespace}{meant}"

    def members(self, sources: Sequence[Source]) -> list[Member]:
        """List the pods that use the objects now."""
        return members(self.api.pods(), sources)


def status(work: Work, shown: View) -> int:
    """Look once; return 0 if every pod runs the content."""
    sources = work.sources()
    pursuits = look(work.api, work.members(sources), shown.show, work.ended)
    return _closed(work, shown, pursuits)


def push(work: Work, shown: View) -> int:
    """Get every pod to run the content; return 0 if they do."""
    sources = work.sources()
    found = work.members(sources)
    if work.no_wait:
        pursuits = touch(work.api, found, shown.show, work.ended)
        return _closed(work, shown, pursuits, good=_TOLD)
    pursuits = _in_batches(work, shown, found)
    pursuits = _with_the_late(work, shown, sources, pursuits)
    problem = ""
    if work.sources() != sources:
        problem = "an object was changed meanwhile: push again"
    elif any(map(_is_open, pursuits)) or _only_lacks_nodes(pursuits):
        problem = f"given up after {work.timeout:g} s: --timeout sets how long to wait"
    return _closed(work, shown, pursuits, problem)


def _with_the_late(
    work: Work, shown: View, sources: Sequence[Source], pursuits: list[Pursuit]
) -> list[Pursuit]:
    """Follow who came meanwhile, and who gets a node in time.

    Who came may have mounted what was there before; who has no node runs nothing, and
    may never get one.
    """
    ends = time.monotonic() + work.timeout
    while all(map(_good, pursuits)) or _only_lacks_nodes(pursuits):
        kept = [pursuit for pursuit in pursuits if not _is_pending(pursuit)]
        known = {pursuit.member.uid for pursuit in kept}
        found = [pod for pod in work.members(sources) if pod.uid not in known]
        left = _gone(shown, filter(_is_pending, pursuits), found)
        late = follow(work.api, found, work.timeout, shown.show, work.ended)
        pursuits = [*kept, *left, *late]
        if not found:
            break
        if any(map(_is_pending, pursuits)):
            if time.monotonic() >= ends:
                break
            work.ended.wait(_LISTED_EVERY)
    return pursuits


def _gone(
    shown: View, pending: Iterable[Pursuit], found: Iterable[Member]
) -> list[Pursuit]:
    """Say of each that is found no more that it is gone."""
    here = {member.uid for member in found}
    gone = []
    for pursuit in pending:
        if pursuit.member.uid not in here:
            verdicts = tuple(Verdict(Stage.GONE) for _ in pursuit.verdicts)
            gone.append(replace(pursuit, verdicts=verdicts))
            shown.show(gone[-1])
    return gone


def _in_batches(work: Work, shown: View, found: Sequence[Member]) -> list[Pursuit]:
    """Follow batch after batch, until one does not go well.

    Who can't be followed proves nothing, and comes when all who can have taken it.
    """
    followed = [member for member in found if member.followed]
    rest = [member for member in found if not member.followed]
    planned = [found] if work.batch is None else [*batches(followed, work.batch), rest]
    done: list[Pursuit] = []
    for member in rest:
        shown.show(Pursuit.start(member, 0.0))
    for number, batch in enumerate(planned):
        done += follow(work.api, batch, work.timeout, shown.show, work.ended)
        if any(_stops(pursuit) for pursuit in done):
            left = (member for batch in planned[number + 1 :] for member in batch)
            return done + _skipped(shown, left)
    return done


def _skipped(shown: View, left: Iterable[Member]) -> list[Pursuit]:
    """Say of each that it was left alone; what else there is to say of it stays."""
    skipped = []
    for member in left:
        over = Pursuit.start(member, 0.0).over(Stage.SKIPPED, "", 0.0)
        pursuit = replace(over, ended=None)
        shown.show(pursuit)
        skipped.append(pursuit)
    return skipped


def _stops(pursuit: Pursuit) -> bool:
    """Whether nobody else should get what this pod got."""
    stages = {verdict.stage for verdict in pursuit.verdicts}
    return Stage.REJECTED in stages or _is_open(pursuit)


def _is_open(pursuit: Pursuit) -> bool:
    return any(verdict.stage.open for verdict in pursuit.verdicts)


def _is_pending(pursuit: Pursuit) -> bool:
    return any(verdict.stage is Stage.PENDING for verdict in pursuit.verdicts)


def _only_lacks_nodes(pursuits: Iterable[Pursuit]) -> bool:
    """Whether all is well but that a pod has no node yet."""
    bad = [pursuit for pursuit in pursuits if not _good(pursuit)]
    return bool(bad) and all(map(_is_pending, bad))


def _good(pursuit: Pursuit) -> bool:
    return all(verdict.stage in _RUNS_IT for verdict in pursuit.verdicts)


def _closed(
    work: Work,
    shown: View,
    pursuits: Sequence[Pursuit],
    problem: str = "",
    good: Sequence[Stage] = _RUNS_IT,
) -> int:
    """Say how it ended; return the exit status."""
    count = Counter(v.stage for pursuit in pursuits for v in pursuit.verdicts)
    names = " and ".join(map(str, work.references))
    well = sum(_WELL.issuperset(v.stage for v in one.verdicts) for one in pursuits)
    what = "were told of" if work.no_wait else "run"
    parts = [f"{well} of {len(pursuits)} pods {what} {names}"]
    if not pursuits:
        parts = [f"no pod in namespace {work.namespace} uses {names}"]
    parts += [f"{count[stage]} {stage}" for stage in count if stage not in _USUAL]
    if count[Stage.SKIPPED]:
        parts.append(_HELD_BACK)
    if problem:
        parts.append(problem)
    succeeded = not problem and all(stage in good for stage in count)
    shown.close("; ".join(parts), succeeded=succeeded)
    return 0 if succeeded else 1
