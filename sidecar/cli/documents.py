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

import yaml
from yaml.cyaml import CSafeLoader
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
)
from yaml.reader import ReaderError

Plain: TypeAlias = "bool | int | str | list[Plain] | dict[str, Plain] | None"
"""What a manifest says, without how it is written."""

Path: TypeAlias = tuple[str | int, ...]
"""Keys and indexes from the top of a document to one of its nodes."""

DEEPEST = 100
"""Levels of nesting, aliases followed; the deepest of a real cluster has thirty."""

MOST_MERGED = 1_000_000
"""Keys that a document's merge keys bring in: each is copied."""

# YAML keeps both marks to the beginning of a line: no scalar can hold them there
_START = re.compile(r"^(?=---(?:\s|$))|(?<=^\.\.\.\n)", re.MULTILINE)
# no two ways to match one text, or a line of `#` would take for ever
_NOTHING = re.compile(r"(?:(?:\s|\ufeff|\.\.\.)++|(?:#|%)[^\n]*+)*+")
_TOO_DEEP = f"nested deeper than {DEEPEST} levels"
_END = re.compile(r"^\.\.\.(?=\s)", re.MULTILINE)
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

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing."""
        return self.root is None or (
            isinstance(self.root, Scalar) and _value(self.root) is None
        )

    @property
    def newline(self) -> str:
        """How its lines end."""
        first = self.text.find("\n")
        return "\r\n" if self.text[first - 1 : first] == "\r" else "\n"

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
    node = _meant(node)
    if isinstance(node, Sequence) and isinstance(step, int) and step < len(node.items):
        return node.items[step], node.items[step]
    if isinstance(node, Mapping) and isinstance(step, str):
        return _pair(node, step, set())
    return None


def _pair(node: Mapping, key: str, seen: set[int]) -> tuple[Node, Node] | None:
    # each mapping once, or a few that merge each other twice would take for ever
    if id(node) in seen:
        return None
    seen.add(id(node))
    if pair := node.find(key):
        return pair
    bases = _bases(merge[1]) if (merge := node.find("<<")) else ()
    return next(filter(None, (_pair(base, key, seen) for base in bases)), None)


def _meant(node: Node | None) -> Node | None:
    return node.target if isinstance(node, Alias) else node


def _bases(node: Node) -> Iterator[Mapping]:
    """Return what a merge key merges: a mapping, or each of a list of them."""
    merged = _meant(node)
    bases = merged.items if isinstance(merged, Sequence) else [merged]
    yield from (base for base in map(_meant, bases) if isinstance(base, Mapping))


def split(text: str) -> list[tuple[int, str]]:
    """Take a stream apart; return each document's first line, from 1, and its text.

    The texts, one after the other, are the stream. Comments and directives before a
    document's `---` go with that document.
    """
    parts: list[tuple[int, str]] = []
    line = 1
    kept: list[str] = []
    for piece in filter(None, _START.split(text)):
        kept.append(piece)
        if not _NOTHING.fullmatch(piece):
            parts.append((line, "".join(kept)))
            line, kept = line + parts[-1][1].count("\n"), []
    return [*parts, (line, "".join(kept))] if kept else parts


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
    if one is other or pair in known:
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
    # libyaml takes no end of a document where none has begun
    head = _NOTHING.match(text)
    begin = head.end() if head else 0
    text = _END.sub("#..", text[:begin]) + text[begin:]
    try:
        # libyaml, of which kubectl's parser is a translation; 20 times as fast as one
        # in Python
        for event in yaml.parse(text, Loader=CSafeLoader):
            composer.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = ", ".join(filter(None, [error.context, error.problem]))
        raise BrokenError(first_line + (mark.line if mark else 0), what) from error
    except ReaderError as error:
        line = first_line + text.encode()[: error.position].count(b"\n")
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
        # libyaml does not count the mark that may begin a file
        self._uncounted = int(text.startswith("\ufeff"))
        self._open: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._heights: dict[int, int] = {}  # levels, by the collection that has them
        self._merged: dict[int, int] = {}  # keys, by the mapping that merges them
        self._all_merged = 0

    def take(self, event: Event) -> None:
        match event:
            case DocumentStartEvent() if self.root is not None:
                self._refuse(event, "two documents without `---` between them")
            case CollectionStartEvent():
                if len(self._open) == DEEPEST:
                    self._refuse(event, _TOO_DEEP)
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
        _, _, line, _ = self._where(event)
        raise BrokenError(self._first_line + line, what)

    def _add(self, event: NodeEvent, node: Node) -> None:
        if event.anchor and not isinstance(node, Alias):
            self._anchors[event.anchor] = node
        if self._open:
            self._open[-1].children.append(node)
        else:
            self.root = node

    def _alias(self, event: AliasEvent) -> Alias:
        name = event.anchor or ""
        if name not in self._anchors:
            self._refuse(event, f"no anchor &{name} stands before its alias *{name}")
        target = self._anchors[name]
        self.shared.add(id(target))
        return Alias(*self._where(event), target)

    def _scalar(self, event: ScalarEvent) -> Scalar:
        start, end, line, column = self._where(event)
        written = self._text[start:end]
        # a block's end is where the next thing begins; with `+` the blanks are content
        if event.style in ("|", ">") and "+" not in written.partition("\n")[0]:
            end = start + len(written.rstrip())
        is_plain = not event.style and event.tag is None
        return Scalar(start, end, line, column, event.value, is_plain)

    def _close(self, event: CollectionEndEvent) -> None:
        opened = self._open.pop()
        begin, children = opened.event, opened.children
        flow = bool(begin.flow_style)
        start, _, line, column = self._where(begin)
        # the end of a block is where the next thing begins, after comments
        _, after, _, _ = self._where(event)
        end = after if flow or not children else children[-1].end
        where = (start, end, line, column)
        made: Mapping | Sequence
        if isinstance(begin, MappingStartEvent):
            pairs = tuple(zip(children[::2], children[1::2], strict=True))
            made = Mapping(*where, pairs, flow)
            self._count_merged(event, made)
        else:
            made = Sequence(*where, tuple(children), flow)
        height = 1 + max(map(self._height, children), default=0)
        if height > DEEPEST:
            self._refuse(event, _TOO_DEEP)
        self._heights[id(made)] = height
        self._add(begin, made)

    def _height(self, node: Node) -> int:
        return self._heights.get(id(_meant(node)), 0)

    def _count_merged(self, event: Event, mapping: Mapping) -> None:
        """Note how many keys are merged; a few lines could make billions of them."""
        bases = [
            base
            for key, value in mapping.pairs
            if isinstance(key, Scalar) and key.text == "<<"
            for base in _bases(value)
        ]
        if not bases:
            return
        self._merged[id(mapping)] = count = sum(
            len(base.pairs) + self._merged.get(id(base), 0) for base in bases
        )
        self._all_merged += count
        if self._all_merged > MOST_MERGED:
            self._refuse(event, f"merge keys bring in over {MOST_MERGED:,} keys")

    def _where(self, event: Event) -> tuple[int, int, int, int]:
        """Return where an event's text begins and ends, its line and its column."""
        start, end = event.start_mark, event.end_mark
        if start is None or end is None:
            raise TypeError(event)  # libyaml's have both
        skipped = self._uncounted
        return start.index + skipped, end.index + skipped, start.line, start.column
