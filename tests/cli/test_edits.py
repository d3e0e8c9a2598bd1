"""Where something goes in a text, and what of the text goes with it."""

from __future__ import annotations

import time

import pytest

from sidecar.cli.documents import BrokenError, Plain, only, read, same, split
from sidecar.cli.edits import ShapeError, SharedError, applied, between

ITEM: Plain = {"name": "b", "value": "yes"}


def edited(text: str, **new: Plain) -> str:
    """Return a text whose top mapping says something else of some keys."""
    document = only("x.yaml", text)
    old = document.plain()
    assert isinstance(old, dict)
    wanted = {k: v for k, v in {**old, **new}.items() if v != "gone"}
    return applied(text, between(document, (), old, wanted))


BELOW = [
    ("containers:\n- a\n", 'containers:\n- a\n- name: b\n  value: "yes"\n'),
    (
        "containers:\n  -  a # c",
        'containers:\n  -  a # c\n  - name: b\n    value: "yes"',
    ),
    (
        "containers:\n- a\n  # in it\n# - old\n# next\n",
        'containers:\n- a\n  # in it\n- name: b\n  value: "yes"\n# - old\n# next\n',
    ),
    (
        "containers:\n- |+\n  a\n\nz: 1\n",
        'containers:\n- |+\n  a\n\n- name: b\n  value: "yes"\nz: 1\n',
    ),
    (
        "containers:\n- |\n  a\n  # a\n\nz: 1\n",
        'containers:\n- |\n  a\n  # a\n- name: b\n  value: "yes"\n\nz: 1\n',
    ),
    ("containers: [a ]\n", 'containers: [a, {"name": "b", "value": "yes"} ]\n'),
]


@pytest.mark.parametrize(("text", "expected"), BELOW)
def test_an_item_goes_below_the_last_one_and_its_comments(
    text: str, expected: str
) -> None:
    """A comment that is indented deeper is the item's; another one is the next's."""
    old = only("x.yaml", text).plain(("containers",))
    assert isinstance(old, list)

    assert expected == edited(text, containers=[*old, ITEM])


def test_a_key_goes_above_the_comments_of_the_next() -> None:
    """They speak of what comes below them."""
    text = "a: 1\n# what runs\ncontainers: []\n"

    assert f"a: 1\nb: true\n{text[5:]}" == edited(text, b=True)


def test_what_goes_takes_its_comments_along() -> None:
    """Nobody would know what they spoke of."""
    text = "# of a\na: 1\n# of b\nb:\n- c\n  # in b\n# of the rest\ncontainers: []\n"

    assert "# of a\na: 1\n# of the rest\ncontainers: []\n" == edited(text, b="gone")


def test_an_alias_and_what_it_means_are_not_changed() -> None:
    """Else a second place would change with the first."""
    text = "a: &a [x]\nb: *a\nc: {<<: &m {d: [x]}}\ncontainers: []\n"

    for key in ("a", "b"):
        new: dict[str, Plain] = {key: ["x", "y"]}
        with pytest.raises(SharedError) as error:
            edited(text, **new)
        assert (key,) == error.value.path


def test_what_has_another_shape_is_not_changed() -> None:
    """A text where a list should be is somebody's mistake, and not ours to mend."""
    with pytest.raises(ShapeError):
        edited("containers: {a: b}\n", containers=["x"])


def test_documents_are_split_only_where_yaml_does() -> None:
    """Scripts and certificates hold such lines, indented."""
    text = "# head\n---\na: |\n  ---\n  b\n--- # next\nb\n...\n# tail\n"

    assert [
        (1, text[: text.index("--- #")]),
        (6, "--- # next\nb\n...\n"),
        (9, "# tail\n"),
    ] == (split(text))
    assert text == "".join(part for _, part in split(text))


@pytest.mark.parametrize("line", ["#" * 5000, "# a" * 1000, "%" * 5000, " \t" * 2000])
def test_lines_of_signs_take_no_time(line: str) -> None:
    """A pattern that could match them in several ways would try every one."""
    began = time.monotonic()
    list(read("x.yaml", f"{line}\n" * 20 + "a: 1\n"))

    assert 5 > time.monotonic() - began


def test_a_manifest_says_what_kubectl_reads_in_it() -> None:
    """YAML 1.1, and of two values of a key the last."""
    text = (
        "a: no\nb: 0440\nc: '0440'\nd: ~\na: on\ne: 1_0\nf: !!str 1\n<<: {a: 1, g: 2}"
    )
    expected = {"a": True, "b": 288, "c": "0440", "d": None, "e": "1_0", "f": "1"}

    assert expected | {"g": 2} == only("x.yaml", text).plain()


def test_same_compares_what_is_said() -> None:
    """It is what stands between a mistake of ours and a cluster."""
    assert same({"a": [1, {"b": None}]}, {"a": [1, {"b": None}]})
    assert not same({"a": [1, {"b": None}]}, {"a": [1, {"b": "x"}]})
    assert not same({"a": 1, "b": 2}, {"a": 1})
    assert not same([1, 2], [1])


def test_only_takes_one_document() -> None:
    """And says what is wrong with a broken one."""
    with pytest.raises(BrokenError) as error:
        only("x.yaml", "a: b\nc: [\n")
    assert 3 == error.value.line
