"""Which keys of a volume count as configuration: globs over whole keys."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable


class Selection:
    """Included and not excluded; `*` crosses `/`, as in fnmatch(3) without flags."""

    def __init__(self, include: Iterable[str], exclude: Iterable[str] = ()) -> None:
        self._include = _either(include)
        self._exclude = _either(exclude)

    def selects(self, key: str) -> bool:
        """Say whether a key counts; an exclusion wins."""
        return bool(self._include.match(key)) and not self._exclude.match(key)


def _either(globs: Iterable[str]) -> re.Pattern[str]:
    # no glob at all gives a pattern that matches nothing, not even the empty string
    patterns = [fnmatch.translate(glob) for glob in globs]
    return re.compile("|".join(patterns) if patterns else r"(?!)")
