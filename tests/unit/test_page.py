"""The page shows what others named, so what it must not do is obey them."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from sidecar import page
from sidecar.status import (
    ProcessStatus,
    ReloadStatus,
    Result,
    State,
    Status,
    TargetStatus,
    VolumeStatus,
)

HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "a\nb\r\t\x1b[31m",
    "</style><b>&lt;",
    "\udc80\u202egnp.exe",
)

VOID = {"meta", "br"}


class Document(HTMLParser):
    """What a browser would make of the markup: tags in order, and the text."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.open: list[str] = []
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text += data


def status(name: str) -> Status:
    """Put one name wherever the page shows one."""
    process = TargetStatus(
        "process",
        State.STALE,
        selector=name,
        signal=name,
        processes=(ProcessStatus(7, 0, State.FRESH),),
        attempts=2,
        last_result=Result.REJECTED,
        last_error=name,
        hint=name,
        stale_since=1_800_000_000.0,
    )
    return Status(
        version="0.1.0",
        watch_mode="inotify",
        started=1_800_000_000.0,
        volumes=(
            VolumeStatus(name, "kubelet", name, 1_800_000_000.0, name, (name, "a")),
        ),
        targets=(process, TargetStatus(name, State.FRESH, url=name)),
        reloads=(ReloadStatus(name, 1_800_000_000.0, 1.0, Result.REJECTED, 2, name),),
        warnings=(name,),
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_text_and_nothing_else(name: str) -> None:
    """The tags are the same whatever the names are."""
    plain, hostile = Document(page.render(status("x"))), page.render(status(name))

    assert plain.tags == Document(hostile).tags
    assert plain.attributes == Document(hostile).attributes
    assert [] == Document(hostile).open


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_not_printable_is_shown_and_not_obeyed(name: str) -> None:
    """An override of the writing direction makes one file look like another."""
    lines = page.render(status(name)).splitlines()

    assert [] == [line for line in lines if not line.isprintable()]


def test_a_name_is_shown_as_it_is() -> None:
    """Escaped once, not twice."""
    assert HOSTILE[0] in Document(page.render(status(HOSTILE[0]))).text


def test_nothing_is_loaded_and_nothing_runs() -> None:
    """One document: no script, no picture, no style from elsewhere, no handler."""
    document = Document(page.render(status("x")))

    assert set() == {"script", "img", "link", "iframe", "form"} & set(document.tags)
    assert set() == {"src", "style"} & document.attributes
    assert not [name for name in document.attributes if name.startswith("on")]


def test_the_policy_allows_exactly_the_style_of_the_page() -> None:
    """A browser hashes what is between the tags."""
    found = re.search("<style>(.*)</style>", page.render(status("x")), re.DOTALL)
    assert found
    digest = base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()

    assert page.policy().startswith(f"default-src 'none'; style-src 'sha256-{digest}'")
    assert "unsafe" not in page.policy()


@pytest.mark.parametrize(
    ("states", "verdict"),
    [
        ([State.FRESH, State.FRESH], "Every target holds the newest content"),
        ([State.FRESH, State.STALE], "1 of 2 targets stale"),
        ([State.UNKNOWN, State.STALE], "1 of 2 targets stale, 1 of 2 targets unknown"),
        ([State.UNKNOWN], "1 of 1 targets unknown"),
    ],
)
def test_says_first_whether_all_is_well(states: list[State], verdict: str) -> None:
    """The one thing that people open it for; also in the title, for a row of tabs."""
    targets = tuple(
        TargetStatus(f"webhook:{number}", state, url="http://a/")
        for number, state in enumerate(states)
    )
    markup = page.render(replace(status("x"), targets=targets))

    assert f"<title>{verdict} - config-reload-sidecar</title>" in markup
    assert 2 == Document(markup).text.count(verdict)


def test_can_be_read_by_those_who_cannot_see() -> None:
    """A language, one main heading, labelled sections, headers on columns."""
    markup = page.render(status("x"))
    tags = Document(markup).tags

    assert '<html lang="en">' in markup
    assert '<meta name="viewport"' in markup
    assert [1, 1, 1] == [tags.count(tag) for tag in ("h1", "main", "nav")]
    assert tags.count("th") == markup.count('<th scope="col">')
    labels = re.findall('aria-labelledby="([^"]+)"', markup)
    assert labels
    assert [] == [label for label in labels if f'id="{label}"' not in markup]


def test_newest_reload_comes_first() -> None:
    """`/status` has it last; people read from the top."""
    reloads = tuple(
        ReloadStatus(name, 0, 1, Result.SUCCEEDED, 1, None) for name in ("old", "new")
    )
    text = Document(page.render(replace(status("x"), reloads=reloads))).text

    assert text.index("new") < text.index("old")


def test_many_keys_are_folded() -> None:
    """A volume of 500 keys does not push the rest off the page."""
    keys = tuple(f"{number}.conf" for number in range(500))
    volume = replace(status("x").volumes[0], keys=keys)
    markup = page.render(replace(status("x"), volumes=(volume,)))

    assert "<summary>500 keys</summary>" in markup


def test_before_anything_happened_there_is_a_page() -> None:
    """It is served before the volumes are read."""
    empty = Status(version="0.1.0", watch_mode="polling", started=0)

    assert "none" in Document(page.render(empty)).text


def test_the_verdict_may_wrap() -> None:
    """On a telephone it ran out of the window, and the page with it."""
    markup = page.render(status("x"))
    kept_on_one_line = re.findall(r"([^{}]*)\{[^}]*white-space: nowrap", markup)

    assert kept_on_one_line
    assert not any(kind in "".join(kept_on_one_line) for kind in (".good", ".bad"))
