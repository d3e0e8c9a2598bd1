"""A stream of manifests, taken apart into documents that know where they stand.

A document keeps its text. What is changed is changed in the text, at the places that
its nodes name (see `edits`), so that everything else stays as it is, byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError, YAMLStreamError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
)

Plain: TypeAlias = "bool | int | str | list[Plain] | dict[str, Plain] | None"
"""What a manifest says, without how it is written."""

Path: TypeAlias = tuple[str | int, ...]
"""Keys and indexes from the top of a document to one of its nodes."""

DEEPEST = 100
"""Levels of nesting; the deepest manifest of a real cluster has about thirty."""

# YAML keeps both marks to the beginning of a line: no scalar can hold them there
_START = re.compile(r"^(?=---(?:\s|$))|(?<=^\.\.\.\n)", re.MULTILINE)
# no two ways to match one text, or a line of `#` would take for ever
_NOTHING = re.compile(r"(?:(?:\s|\ufeff|\.\.\.)++|(?:#|%)[^\n]*+)*+")
_NUMBER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,18})")
_OCTAL = re.compile(r"0o?([0-7]{1,6})")
_WORDS = MappingProxyType(
    {"": None, "~": None, "null": None}
    | {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
)
"""What kubectl takes for more than text: YAML 1.1, in small letters here."""


class BrokenError(Exception):
    """A text that is no YAML; `line` counts from 1 in its file."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line = line


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A piece of a document's text: from `start` to the end of its last character."""

    start: int
    end: int
    line: int
    """Counted from 0 at the document's first line."""

    column: int


@dataclass(frozen=True, slots=True, eq=False)
class Scalar(Node):
    """A leaf. Only a plain one can mean anything but text."""

    text: str
    is_plain: bool


@dataclass(frozen=True, slots=True, eq=False)
class Alias(Node):
    """A place where a node that stands elsewhere is meant."""

    target: Node


@dataclass(frozen=True, slots=True, eq=False)
class Sequence(Node):
    """Items; `in_flow` if written with brackets."""

    items: tuple[Node, ...]
    in_flow: bool


@dataclass(frozen=True, slots=True, eq=False)
class Mapping(Node):
    """Pairs of key and value; `in_flow` if written with braces."""

    pairs: tuple[tuple[Node, Node], ...]
    in_flow: bool

    def find(self, key: str) -> tuple[Node, Node] | None:
        """Return the pair of a key; of a repeated key, the last, as kubectl does."""
        for pair in reversed(self.pairs):
            if isinstance(pair[0], Scalar) and pair[0].text == key:
                return pair
        return None


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a stream, with the text around it that belongs to no other."""

    file: str
    first_line: int
    """In its file, counted from 1."""

    text: str
    root: Node | None = None
    """None where there is nothing but comments."""

    shared: frozenset[int] = field(default=frozenset(), repr=False)
    """The ids of the nodes that an alias refers to."""

    def line_of(self, path: Path) -> int:
        """Return the line of a place in the file, or of the nearest one above it."""
        node, line = self.root, 0
        for step in path:
            pair = child(node, step)
            if pair is None:
                break
            named, node = pair
            line = named.line
        return self.first_line + line

    def plain(self, path: Path = ()) -> Plain:
        """Return what the document says at a place; None where there is nothing."""
        node = self.root
        for step in path:
            pair = child(node, step)
            if pair is None:
                return None
            node = pair[1]
        return None if node is None else plain(node)


def child(node: Node | None, step: str | int) -> tuple[Node, Node] | None:
    """Return what is meant by a key or an index, through aliases and merge keys.

    The first of the two nodes is where it is named: the key, or the item itself.
    """
    node = node.target if isinstance(node, Alias) else node
    if isinstance(node, Sequence) and isinstance(step, int) and step < len(node.items):
        return node.items[step], node.items[step]
    if isinstance(node, Mapping) and isinstance(step, str):
        if pair := node.find(step):
            return pair
        bases = _bases(merge[1]) if (merge := node.find("<<")) else ()
        return next(filter(None, (child(base, step) for base in bases)), None)
    return None


def _bases(node: Node) -> Iterator[Mapping]:
    node = node.target if isinstance(node, Alias) else node
    if isinstance(node, Mapping):
        yield node
    elif isinstance(node, Sequence):
        for item in node.items:
            yield from _bases(item)


def split(text: str) -> list[tuple[int, str]]:
    """Take a stream apart; return each document's first line, from 1, and its text.

    The texts, one after the other, are the stream. Comments and directives before a
    document's `---` go with that document.
    """
    parts: list[tuple[int, str]] = []
    line, kept = 1, ""
    for piece in filter(None, _START.split(text)):
        kept += piece
        if not _NOTHING.fullmatch(kept):
            parts.append((line, kept))
            line, kept = line + kept.count("\n"), ""
    return [*parts, (line, kept)] if kept else parts


def read(file: str, text: str) -> Iterator[Document | BrokenError]:
    """Read every document of a stream; a broken one does not hide the others."""
    for line, part in split(text):
        try:
            root, shared = _compose(part, line)
        except BrokenError as error:
            yield error
        else:
            yield Document(file, line, part, root, shared)


def only(file: str, text: str) -> Document:
    """Read a text that is one document.

    Raises:
        BrokenError: it is no YAML.
        ValueError: it is several.
    """
    (document,) = read(file, text)
    if isinstance(document, BrokenError):
        raise document
    return document


def same(one: Plain, other: Plain) -> bool:
    """Say whether two manifests say the same; each pair of parts is compared once.

    `==` would follow every alias of every alias.
    """
    return _same(one, other, set())


def _same(one: Plain, other: Plain, known: set[tuple[int, int]]) -> bool:
    pair = (id(one), id(other))
    if pair in known:
        return True
    if isinstance(one, dict) and isinstance(other, dict):
        alike = one.keys() == other.keys() and all(
            _same(value, other[key], known) for key, value in one.items()
        )
    elif isinstance(one, list) and isinstance(other, list):
        alike = len(one) == len(other) and all(
            _same(*values, known) for values in zip(one, other, strict=True)
        )
    else:
        alike = one == other
    if alike:
        known.add(pair)
    return alike


def plain(node: Node) -> Plain:
    """Return what a node says: aliases followed, merge keys merged, as kubectl does."""
    return _plain(node, {})


def _plain(node: Node, known: dict[int, Plain]) -> Plain:
    # each node once, or a few nested aliases would make billions
    if id(node) not in known:
        match node:
            case Alias():
                known[id(node)] = _plain(node.target, known)
            case Scalar():
                known[id(node)] = _value(node)
            case Sequence():
                known[id(node)] = [_plain(item, known) for item in node.items]
            case Mapping():
                known[id(node)] = _dict(node, known)
            case _:
                raise TypeError(node)
    return known[id(node)]


def _dict(node: Mapping, known: dict[int, Plain]) -> Plain:
    merged: dict[str, Plain] = {}
    own: dict[str, Plain] = {}
    for key, value in node.pairs:
        name = key.text if isinstance(key, Scalar) else ""
        if name == "<<":
            for base in _bases(value):
                said = _plain(base, known)
                if isinstance(said, dict):
                    merged = {**said, **merged}
        else:
            own[name] = _plain(value, known)
    return {**merged, **own}


def _value(node: Scalar) -> Plain:
    if not node.is_plain:
        return node.text
    if node.text.lower() in _WORDS:
        return _WORDS[node.text.lower()]
    if octal := _OCTAL.fullmatch(node.text):
        return int(octal[1], 8)
    return int(node.text) if _NUMBER.fullmatch(node.text) else node.text


def _compose(text: str, first_line: int) -> tuple[Node | None, frozenset[int]]:
    composer = _Composer(text, first_line)
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            composer.take(event)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = ", ".join(filter(None, [error.context, error.problem]))
        raise BrokenError(first_line + (mark.line if mark else 0), what) from error
    except (YAMLStreamError, YAMLError) as error:
        # ruamel's ReaderError: a character that no YAML may hold
        position = getattr(error, "position", 0)
        line = first_line + text.count("\n", 0, position)
        raise BrokenError(line, "a control character has no place in YAML") from error
    return composer.root, frozenset(composer.shared)


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come yet."""

    event: CollectionStartEvent
    children: list[Node] = field(default_factory=list)


class _Composer:
    """Makes nodes from the parser's events, which know where aliases stand."""

    def __init__(self, text: str, first_line: int) -> None:
        self.root: Node | None = None
        self.shared: set[int] = set()
        self._text = text
        self._first_line = first_line
        self._open: list[_Open] = []
        self._anchors: dict[str, Node] = {}

    def take(self, event: Event) -> None:
        match event:
            case DocumentStartEvent() if self.root is not None:
                self._refuse(event, "two documents without `---` between them")
            case CollectionStartEvent():
                if len(self._open) == DEEPEST:
                    self._refuse(event, f"nested deeper than {DEEPEST} levels")
                self._open.append(_Open(event))
            case CollectionEndEvent():
                self._close(event)
            case AliasEvent():
                self._add(event, self._alias(event))
            case ScalarEvent():
                self._add(event, self._scalar(event))
            case _:
                pass  # where the stream and its documents begin and end

    def _refuse(self, event: Event, what: str) -> None:
        raise BrokenError(self._first_line + event.start_mark.line, what)

    def _add(self, event: NodeEvent, node: Node) -> None:
        if event.anchor and not isinstance(node, Alias):
            self._anchors[str(event.anchor)] = node
        if self._open:
            self._open[-1].children.append(node)
        else:
            self.root = node

    def _alias(self, event: AliasEvent) -> Alias:
        name = str(event.anchor)
        if name not in self._anchors:
            self._refuse(event, f"no anchor &{name} stands before its alias *{name}")
        target = self._anchors[name]
        self.shared.add(id(target))
        start, end = event.start_mark, event.end_mark
        return Alias(start.index, end.index, start.line, start.column, target)

    def _scalar(self, event: ScalarEvent) -> Scalar:
        start, end = event.start_mark, event.end_mark.index
        written = self._text[start.index : end]
        # a block's end is where the next thing begins; with `+` the blanks are content
        if event.style in ("|", ">") and "+" not in written.partition("\n")[0]:
            end = start.index + len(written.rstrip())
        is_plain = event.style is None and event.tag is None
        return Scalar(start.index, end, start.line, start.column, event.value, is_plain)

    def _close(self, event: CollectionEndEvent) -> None:
        opened = self._open.pop()
        begin, children = opened.event, opened.children
        start, flow = begin.start_mark, bool(begin.flow_style)
        # the end of a block is where the next thing begins, after comments
        end = event.end_mark.index if flow or not children else children[-1].end
        where = (start.index, end, start.line, start.column)
        if isinstance(begin, MappingStartEvent):
            pairs = tuple(zip(children[::2], children[1::2], strict=True))
            self._add(begin, Mapping(*where, pairs, flow))
        else:
            self._add(begin, Sequence(*where, tuple(children), flow))
