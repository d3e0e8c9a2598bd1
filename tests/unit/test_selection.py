"""Globs over keys."""

from __future__ import annotations

import pytest

from sidecar.selection import Selection


@pytest.mark.parametrize(
    ("key", "selected"),
    [
        ("nginx.conf", True),
        ("conf.d/site.conf", True),
        (".hidden.conf", True),
        ("notes.txt", False),
        ("conf.d/token.conf", False),
        ("nginx.conf\n", False),
    ],
)
def test_included_and_not_excluded(key: str, *, selected: bool) -> None:
    """`*` crosses `/` and leading dots, and an exclusion wins."""
    assert selected == Selection(["*.conf"], ["*token*"]).selects(key)


def test_everything_is_selected_by_default() -> None:
    """A star stands for every key, nested ones too."""
    assert Selection(["*"]).selects("a/b/.c")


def test_no_exclusion_excludes_nothing() -> None:
    """An empty list of globs matches no key, not even an empty one."""
    assert Selection(["*"], []).selects("")
