"""Changes to a document's text: something goes in or out, all else stays.

`between` compares what a mapping says with what it should say, and returns what to
change; `applied` changes it. What goes in is written as its surroundings are: with
their indentation, and with braces where they have braces.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .documents import (
    Alias,
    Document,
    Mapping,
    Node,
    Path,
    Plain,
    Scalar,
    Sequence,
    child,
    same,
)

_GAP = re.compile(r"(?:\s|#[^\n]*)*")
_COMMENT = re.compile(r"( *)#[^\n]*(?:\n|$)")
_PROPERTIES = re.compile(r"(?:[&!]\S*|\s|#[^\n]*)*")
# no word that YAML 1.1 would take for more than text is among these
_PLAIN = re.compile(r"(?!(?i:y|n|yes|no|on|off|true|false|null)$)[A-Za-z/][\w/.-]*")
_QUANTITY = re.compile(r"[0-9]{1,6}(?:m|Mi)")
_PLAIN_IMAGE = re.compile(r"[a-z][a-z0-9._-]*(?::[0-9]+)?/[\w/.-]+:[\w.-]+", re.ASCII)


class SharedError(Exception):
    """What should be changed is used in another place as well; `path` leads there."""

    def __init__(self, path: Path) -> None:
        super().__init__("used by an alias")
        self.path = path


class ShapeError(Exception):
    """What should be changed is no list, or no mapping; `path` leads there."""

    def __init__(self, path: Path) -> None:
        super().__init__("neither a list nor a mapping")
        self.path = path


@dataclass(frozen=True, slots=True, order=True)
class Edit:
    """In place of what stands from `start` to `end` comes `text`."""

    start: int
    end: int
    text: str


def applied(text: str, edits: Iterable[Edit]) -> str:
    """Return the text with the edits, which must not overlap.

    Of two that insert at one place, the items of a list come before the key that
    follows it: a dash or a blank sorts before a letter.
    """
    pieces, done = [], 0
    for edit in sorted(set(edits)):
        pieces += [text[done : edit.start], edit.text]
        done = edit.end
    return "".join([*pieces, text[done:]])


def own(document: Document, path: Path) -> Node | None:
    """Return the node that stands at a place and nowhere else.

    Raises:
        SharedError: an alias or a merge key is on the way: others use it too.
    """
    node = document.root
    for depth, step in enumerate(path):
        if node is None:
            return None
        pair = child(node, step)
        if isinstance(node, Mapping) and pair and pair not in node.pairs:
            raise SharedError(path[: depth + 1])
        node = pair[1] if pair else None
        if isinstance(node, Alias) or id(node) in document.shared:
            raise SharedError(path[: depth + 1])
    return node


def between(
    document: Document, path: Path, old: dict[str, Plain], new: dict[str, Plain]
) -> list[Edit]:
    """Return what makes a mapping say `new`, where it says `old`.

    Of its keys some may be new, some gone, and some have other values: another scalar,
    or a list with items gone from it and items behind it.

    Raises:
        SharedError: what would be changed is used in another place as well.
        ShapeError: it is neither a list nor a scalar.
    """
    done: list[Edit] = []
    for key in old.keys() & new.keys():
        if not same(old[key], new[key]):
            done += _replaced(document, (*path, key), old[key], new[key])
    if fresh := {key: value for key, value in new.items() if key not in old}:
        done.append(_put_before(document, path, "containers", fresh))
    if gone := old.keys() - new.keys():
        done += _take_out(document, path, {*gone})
    return done


def _replaced(document: Document, path: Path, old: Plain, new: Plain) -> list[Edit]:
    if not isinstance(old, list) or not isinstance(new, list):
        return [_set(document, path, new)]
    kept = 0
    gone: set[str | int] = set()
    for index, item in enumerate(old):
        if kept < len(new) and same(item, new[kept]):
            kept += 1
        else:
            gone.add(index)
    done = _take_out(document, path, gone) if gone else []
    return [*done, _append(document, path, new[kept:])] if new[kept:] else done


def _set(document: Document, path: Path, value: Plain) -> Edit:
    node = own(document, path)
    if not isinstance(node, Scalar):
        raise ShapeError(path)
    gap = " " if node.start == node.end else ""  # `volumes:` and no more
    return Edit(node.start, node.end, gap + _json(value))


def _append(document: Document, path: Path, items: list[Plain]) -> Edit:
    node = own(document, path)
    if not isinstance(node, Sequence):
        raise ShapeError(path)
    if node.in_flow:
        return _append_in_flow(document, node, items)
    dash = _dash(document, node, 0)
    lines = [line for item in items for line in _item(item, _style(document, path))]
    return _below(document, node.end, lines, _column(document, dash))


def _put_before(
    document: Document, path: Path, before: str, new: dict[str, Plain]
) -> Edit:
    node = own(document, path)
    pair = node.find(before) if isinstance(node, Mapping) else None
    if not isinstance(node, Mapping) or pair is None:
        raise ShapeError(path)
    key, text = pair[0], document.text
    if node.in_flow:
        shown = _json(new)[1:-1]
        gap = text[text.rfind("\n", 0, key.start) : key.start]
        gap = gap if gap.isspace() else " "
        return Edit(key.start, key.start, f"{shown},{gap}")
    lines = list(_pairs(new, _style(document, (*path, before))))
    start = _comments_above(text, _line_start(text, key.start), key.column)
    return Edit(start, start, _block(document, lines, key.column))


def _take_out(document: Document, path: Path, gone: set[str | int]) -> list[Edit]:
    """Take items out of a list, by their indexes, or pairs out of a mapping."""
    node = own(document, path)
    match node:
        case Sequence():
            spans = [(item.start, item.end) for item in node.items]
            chosen = {i for i in range(len(spans)) if i in gone}
        case Mapping():
            spans = [(key.start, value.end) for key, value in node.pairs]
            names = [k.text if isinstance(k, Scalar) else "" for k, _ in node.pairs]
            chosen = {i for i, name in enumerate(names) if name in gone}
        case _:
            raise ShapeError(path)
    if node.in_flow:
        return _without(spans, chosen, node)
    edits = []
    for i in sorted(chosen):
        start = _dash(document, node, i) if isinstance(node, Sequence) else spans[i][0]
        edits.append(_without_lines(document, start, spans[i][1]))
    return edits


def _append_in_flow(document: Document, node: Sequence, items: list[Plain]) -> Edit:
    shown = _json(items)[1:-1]
    if not node.items:
        return Edit(node.end - 1, node.end - 1, shown)
    last, text = node.items[-1], document.text
    gap = text[text.rfind("\n", 0, last.start) : last.start]
    if not gap.isspace():
        return Edit(last.end, last.end, f", {shown}")
    # written over several lines, as `kubectl get -o json` does: so is what comes
    head = text[_line_start(text, node.start) : node.start]
    step = max(1, last.column - (len(head) - len(head.lstrip())))
    shown = f",{gap}".join(
        json.dumps(item, indent=step, ensure_ascii=False).replace("\n", gap)
        for item in items
    )
    return Edit(last.end, last.end, f",{gap}{shown}")


def _without(spans: list[tuple[int, int]], gone: set[int], node: Node) -> list[Edit]:
    """Take things between commas out, each with the comma that came with it."""
    if len(gone) == len(spans):
        return [Edit(node.start + 1, node.end - 1, "")]
    kept = [index for index in range(len(spans)) if index not in gone]
    edits = []
    for index in sorted(gone):
        if index < kept[0]:
            edits.append(Edit(spans[index][0], spans[index + 1][0], ""))
        else:
            edits.append(Edit(spans[index - 1][1], spans[index][1], ""))
    return edits


def _without_lines(document: Document, start: int, end: int) -> Edit:
    """Take whole lines out, and the comments above them that speak of them."""
    text = document.text
    column = _column(document, start)
    first = _comments_above(text, _line_start(text, start), column)
    after = _after(text, end, column)
    if after == len(text) and not text.endswith("\n"):
        # the last line of all has no end, and so has the one before it then
        first = len(text[:first].rstrip("\r\n"))
    return Edit(first, after, "")


def _comments_above(text: str, line_start: int, column: int) -> int:
    """Go up over the comments of the same indentation."""
    comment = " " * column + "#"
    while line_start:
        above = _line_start(text, line_start - 1)
        if not text.startswith(comment, above):
            break
        line_start = above
    return line_start


def _below(document: Document, end: int, lines: list[str], column: int) -> Edit:
    """Insert lines below the one in which something ends."""
    text, newline = document.text, document.newline
    block = _block(document, lines, column)
    after = _after(text, end, column)
    if after == len(text) and not text.endswith("\n"):
        block = newline + block.removesuffix(newline)
    return Edit(after, after, block)


def _after(text: str, end: int, column: int) -> int:
    """Return where the lines of something end: with the comments that are inside it."""
    if not text.endswith("\n", 0, end):  # as a scalar does that keeps its line breaks
        end = text.find("\n", end) + 1 or len(text)
    while match := _COMMENT.match(text, end):
        if len(match[1]) <= column:
            break
        end = match.end()
    return end


def _block(document: Document, lines: list[str], column: int) -> str:
    start, end = " " * column, document.newline
    return "".join(f"{start}{line}{end}" for line in lines)


def _line_start(text: str, index: int) -> int:
    return text.rfind("\n", 0, index) + 1


def _column(document: Document, index: int) -> int:
    return index - _line_start(document.text, index)


def _dash(document: Document, node: Sequence, index: int) -> int:
    """Return where the dash of an item of a block stands."""
    after = node.items[index - 1].end if index else node.start
    # an anchor and a tag of the whole list stand before its first dash
    match = (_GAP if index else _PROPERTIES).match(document.text, after)
    return match.end() if match else after


@dataclass(frozen=True, slots=True)
class _Style:
    """How a document is indented."""

    step: int
    """Columns from a key to the keys below it."""

    offset: int
    """Columns from a key to the dashes below it."""


def _style(document: Document, path: Path) -> _Style:
    """See how the nearest list and mapping around a place are indented."""
    step, offset = 2, 0
    node = document.root
    for key in path:
        pair = child(node, key)
        if pair is None:
            break
        named, node = pair
        if isinstance(node, Mapping) and not node.in_flow and isinstance(key, str):
            step = max(1, node.column - named.column) if node.pairs else step
        if isinstance(node, Sequence) and not node.in_flow and node.items:
            dash = _dash(document, node, 0)
            offset = max(0, _column(document, dash) - named.column)
    return _Style(step, offset)


def _item(value: Plain, style: _Style) -> Iterator[str]:
    lines = _pairs(value, style) if isinstance(value, dict) else [_scalar(value)]
    for number, line in enumerate(lines):
        yield f"  {line}" if number else f"- {line}"


def _pairs(pairs: dict[str, Plain], style: _Style) -> Iterator[str]:
    for key, value in pairs.items():
        if isinstance(value, dict) and value:
            yield f"{key}:"
            for line in _pairs(value, style):
                yield " " * style.step + line
        elif isinstance(value, list) and value:
            yield f"{key}:"
            for item in value:
                for line in _item(item, style):
                    yield " " * style.offset + line
        else:
            yield f"{key}: {_scalar(value)}"


def _scalar(value: Plain) -> str:
    ways = (_PLAIN, _QUANTITY, _PLAIN_IMAGE)
    if isinstance(value, str) and any(way.fullmatch(value) for way in ways):
        return value
    return _json(value)


def _json(value: Plain) -> str:
    return json.dumps(value, ensure_ascii=False)
