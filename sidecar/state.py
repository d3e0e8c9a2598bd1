"""What survives a restart of the sidecar: who holds which content, in `STATE_DIR`.

Nothing here is needed to be right, only to be quiet: without a state everybody who is
older than the newest swap is told once. So whatever is wrong with a file, it is
ignored. A state that could not be replaced is removed, because an old one might say of
somebody that he holds what was since replaced.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any  # what JSON holds

from .errors import StateError
from .files import read_regular

VERSION = 1
_NAME = "state.json"
_LIMIT = 16 * 1024 * 1024
_STEP = 0.05
"""A clock that moved by more, in seconds, makes files' times incomparable."""


@dataclass(frozen=True, slots=True)
class Known:
    """A volume when it last settled."""

    generation: str | None
    changed: float
    """The newest change in it: CLOCK_REALTIME, in seconds."""

    digest: str
    swapped: float
    """The swap time: CLOCK_BOOTTIME, in seconds."""


@dataclass(frozen=True, slots=True)
class State:
    """Everything that is remembered."""

    volumes: Mapping[str, Known] = field(default_factory=dict)
    held: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """For each target who holds the volumes' content, as the target writes it."""

    clock_moved: bool = False
    """Whether the clock was set since, so that its times can't be compared."""


@dataclass(frozen=True, slots=True)
class Now:
    """The pod and the machine that a state belongs to, and its clocks."""

    pod_uid: str | None
    boot_id: str
    boot: float
    """CLOCK_BOOTTIME, in seconds."""

    offset: float
    """CLOCK_REALTIME minus CLOCK_BOOTTIME, in seconds."""


def read_boot_id() -> str:
    """Return what the kernel drew at its start: random(4)."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def load(directory: Path, now: Now) -> State | None:
    """Return what was saved, or None if nothing was.

    Raises:
        StateError: it is damaged, or of another pod, boot or version.
    """
    try:
        content, _ = read_regular(directory / _NAME, _LIMIT)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"STATE_DIR can't be read: {error.strerror}") from error
    return parse(content, now)


def parse(content: bytes, now: Now) -> State:
    """Read a saved state.

    Raises:
        StateError: it is damaged, or of another pod, boot or version.
    """
    try:
        saved = json.loads(content)
        if saved["version"] != VERSION or saved["boot_id"] != now.boot_id:
            raise StateError("the state is of another boot or version, and is ignored")
        if saved["boot"] > now.boot:
            raise StateError("the state is of the future, and is ignored")
        if saved["pod_uid"] != now.pod_uid:
            raise StateError(
                "the state is another pod's, and is ignored: mount an emptyDir at"
                " STATE_DIR"
            )
        return State(
            {path: _known(known) for path, known in saved["volumes"].items()},
            {name: tuple(map(str, held)) for name, held in saved["held"].items()},
            # NaN is no small step, too
            clock_moved=not abs(float(saved["offset"]) - now.offset) <= _STEP,
        )
    except (
        *(ValueError, TypeError, KeyError, AttributeError),
        *(RecursionError, OverflowError),
    ) as error:
        raise StateError("the state is damaged, and is ignored") from error


def _known(saved: Mapping[str, Any]) -> Known:
    """Read one volume; what is missing or of another type raises."""
    generation = saved["generation"]
    return Known(
        None if generation is None else str(generation),
        float(saved["changed"]),
        str(saved["digest"]),
        float(saved["swapped"]),
    )


def save(directory: Path, state: State, now: Now) -> None:
    """Replace the saved state, all of it or nothing.

    Raises:
        StateError: it could not be written; then there is none.
    """
    saved = {"version": VERSION, **asdict(now), **asdict(state)}
    del saved["clock_moved"]  # whoever loads it compares
    new = directory / f"{_NAME}.tmp"
    try:
        # what somebody else left in its place is neither followed nor waited for
        new.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(new, flags, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(saved, file)
            file.flush()
            os.fsync(descriptor)
        new.replace(directory / _NAME)
    except OSError as error:
        for path in (new, directory / _NAME):
            with suppress(OSError):
                path.unlink()
        raise StateError(
            f"STATE_DIR can't be written: {error.strerror}; after a restart of the"
            " sidecar everybody may be told once more. Mount a writable emptyDir there"
        ) from error
