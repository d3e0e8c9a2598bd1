"""A document written again, with its pod specs changed and nothing else.

The text is edited in place. Then it is read again, and must say what was meant: no
manifest leaves that was understood in another way than it was written.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from . import remarks
from .changes import Changing, Spec
from .documents import BrokenError, Document, Path, Plain, only, same
from .edits import Edit, ShapeError, SharedError, applied, between
from .injection import RefusedError
from .remarks import Remark
from .rules import Flaw
from .workloads import Thing


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A document's new text, and what is to be said of it."""

    document: Document
    text: str
    specs: list[tuple[Thing, Spec]] = field(default_factory=list)
    """The workloads that were changed, with what their pod specs are now."""

    remarks: list[Remark] = field(default_factory=list)
    """With a problem among them the text is of no use."""


def rewritten(
    document: Document, workloads: Iterable[Thing], change: Changing
) -> Rewritten:
    """Change some workloads of a document."""
    done: list[Edit] = []
    specs: list[tuple[Thing, Spec]] = []
    told: list[Remark] = []
    for thing in workloads:
        path = thing.spec_path or ()
        try:
            spec = _spec(document, path)
            changed = change(spec)
            edits = between(document, path, spec, changed.spec)
        except RefusedError as error:
            told += [remarks.of_flaw(thing, flaw) for flaw in error.flaws]
        except (SharedError, ShapeError) as error:
            told.append(remarks.of_flaw(thing, _flaw(error, path)))
        else:
            told += [remarks.of_flaw(thing, flaw) for flaw in changed.flaws]
            if edits:
                specs.append((thing, changed.spec))
                done += edits
    text = applied(document.text, done)
    if done and not _says(document, text, specs):
        told += [remarks.of_flaw(thing, _MISREAD) for thing, _ in specs]
    return Rewritten(document, text, specs, told)


def _spec(document: Document, path: Path) -> Spec:
    spec = document.plain(path)
    if isinstance(spec, dict):
        return spec
    raise ShapeError(path)


def _flaw(error: SharedError | ShapeError, path: Path) -> Flaw:
    where = error.path[len(path) :]
    if isinstance(error, SharedError):
        text = "other places use this through an alias, and would change with it"
        return Flaw("manifest-shared", where, text)
    return Flaw("manifest-broken", where, "this is no pod spec, or not where one is")


_MISREAD = Flaw(
    "manifest-broken",
    (),
    "this is written in a way that can't be changed without changing more",
    "write it with one key a line, and tell us about it",
)


def _says(document: Document, text: str, specs: list[tuple[Thing, Spec]]) -> bool:
    """Whether a text says what the document does, but for its pod specs."""
    meant = document.plain()
    for thing, spec in specs:
        _put(meant, thing.spec_path or (), spec)
    try:
        return same(only(document.file, text).plain(), meant)
    except BrokenError:
        return False


def _put(said: Plain, path: Path, value: Plain) -> None:
    *way, last = path
    for step in way:
        said = said[step]  # type: ignore[index]  # it was found before
    said[last] = value  # type: ignore[index]  # likewise
