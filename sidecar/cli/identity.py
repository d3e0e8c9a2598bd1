"""Which containers of a pod are the sidecar, for everything that looks for it.

A variable alone tells little: many programs have a CONFIG_DIR of their own, and some a
WEBHOOK_URL as well. So what a container is told counts only where none bears our name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from sidecar.presets import SELECTORS
from sidecar.variables import ALIASES

T = TypeVar("T")

NAME = "config-reload"
"""Of the container, as `inject` and the examples call it."""

PROGRAM = "config-reload-sidecar"
"""Last part of the image's name, wherever it is pulled from."""

DIRECTORIES = (
    "WATCH_DIRS",
    *(old for old, new in ALIASES.items() if new == "WATCH_DIRS"),
)
"""The variables that say what is watched; the first one that is set counts."""

TARGETS = frozenset({"PRESET", "WEBHOOK_URL", "ROLLOUT", *SELECTORS})
"""The variables each of which says whom to tell."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a container is known by."""

    name: str
    image: str
    variables: frozenset[str]

    @property
    def is_named(self) -> bool:
        """Whether it bears our name, or its image does."""
        return self.name == NAME or image_name(self.image) == PROGRAM

    @property
    def is_told(self) -> bool:
        """Whether it is told what to watch and whom to tell."""
        watches = not self.variables.isdisjoint(DIRECTORIES)
        return watches and not self.variables.isdisjoint(TARGETS)


def sidecars(containers: Iterable[T], look: Callable[[T], Look]) -> list[T]:
    """Return those of one pod's containers that are ours."""
    looks = [(container, look(container)) for container in containers]
    named = [container for container, seen in looks if seen.is_named]
    return named or [container for container, seen in looks if seen.is_told]


def image_name(image: str) -> str:
    """Return the last part of an image's name, without its tag and digest."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[0]
