"""Where manifests come from: files, folders, or what another program writes to us."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from .documents import BrokenError, Document, read

STDIN = "-"
SUFFIXES = (".yaml", ".yml", ".json")


class SourceError(Exception):
    """A manifest that can't be had: `file` says which, `line` where in it."""

    def __init__(self, file: str, line: int, what: str) -> None:
        super().__init__(what)
        self.file = file
        self.line = line


def documents(names: list[str]) -> Iterator[Document | SourceError]:
    """Read everything that is named; what can't be read does not hide the rest."""
    for name in names or [STDIN]:
        for file in _files(name):
            if isinstance(file, SourceError):
                yield file
            else:
                yield from _documents(file)


def _files(name: str) -> Iterator[str | SourceError]:
    path = Path(name)
    if name == STDIN or not path.is_dir():
        yield name
        return
    files = sorted(f for f in path.rglob("*") if f.suffix in SUFFIXES and f.is_file())
    if not files:
        yield SourceError(name, 1, f"no file in it ends in {', '.join(SUFFIXES)}")
    yield from map(str, files)


def _documents(name: str) -> Iterator[Document | SourceError]:
    shown = "stdin" if name == STDIN else name
    try:
        content = _stdin() if name == STDIN else Path(name).read_bytes()
        text = content.decode()
    except OSError as error:
        yield SourceError(shown, 1, f"can't be read: {error.strerror}")
        return
    except UnicodeDecodeError as error:
        line = 1 + error.object.count(b"\n", 0, error.start)
        yield SourceError(shown, line, "not UTF-8: this is no YAML manifest")
        return
    empty = True
    for document in read(shown, text):
        if isinstance(document, BrokenError):
            yield _explained(shown, text, document)
            empty = False
        else:
            yield document
            empty = empty and document.is_empty
    if empty:
        yield SourceError(shown, 1, "no manifest in it")


def _stdin() -> bytes:
    if sys.stdin is None:  # it was closed when we started
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    if sys.stdin.isatty():
        sys.stderr.write("waiting for manifests: type them and Ctrl-D, or name files\n")
        sys.stderr.flush()
    return sys.stdin.buffer.read()


def _explained(file: str, text: str, error: BrokenError) -> SourceError:
    what = f"not YAML: {error}"
    if "{{" in text:
        what += "; render templates first, with `helm template`"
    return SourceError(file, error.line, what)
