"""The saved state: read back as it was, or not at all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sidecar import state
from sidecar.errors import StateError
from sidecar.state import Known, Now, State

NOW = Now("uid", "boot", boot=1000.0, offset=1_700_000_000.0)
LATER = replace(NOW, boot=1060.0)
STATE = State(
    {"/etc/site": Known("..2026", 1_700_000_900.0, "9f86", 900.0)},
    {"process": ("7:4711",), "webhook:1": ()},
)


def saved() -> dict[str, object]:
    """Return what a file holds, to be damaged."""
    return {
        "version": 1,
        "pod_uid": "uid",
        "boot_id": "boot",
        "boot": 1000.0,
        "offset": 1_700_000_000.0,
        "volumes": {},
        "held": {},
    }


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    """Every fact comes back, floats to the last bit."""
    state.save(tmp_path, STATE, NOW)

    assert STATE == state.load(tmp_path, LATER)


def test_nothing_saved_is_nothing_wrong(tmp_path: Path) -> None:
    """The first start of a pod has an empty directory."""
    assert state.load(tmp_path, NOW) is None


def test_a_state_is_for_its_owner_only(tmp_path: Path) -> None:
    """It holds digests, and the hash of a short secret can be guessed."""
    state.save(tmp_path, STATE, NOW)

    assert 0o600 == (tmp_path / "state.json").stat().st_mode & 0o777


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"version": 2}, "another boot or version"),
        ({"boot_id": "another"}, "another boot or version"),
        ({"boot": 2000.0}, "of the future"),
        ({"pod_uid": None}, "another pod's"),
        ({"volumes": []}, "damaged"),
        ({"volumes": {"/etc/site": {"generation": None}}}, "damaged"),
        ({"held": {"process": 7}}, "damaged"),
        ({"boot": "soon"}, "damaged"),
        ({"offset": 10**400}, "damaged"),
    ],
)
def test_a_state_that_is_of_no_use_says_why(
    change: dict[str, object], says: str
) -> None:
    """It is ignored, and everybody is told once more; the operator learns why."""
    with pytest.raises(StateError, match=says):
        state.parse(json.dumps(saved() | change).encode(), LATER)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xff\x00", b"[" * 100_000])
def test_what_is_no_state_at_all_is_damaged(content: bytes) -> None:
    """A full disk leaves anything behind."""
    with pytest.raises(StateError, match="damaged"):
        state.parse(content, LATER)


@pytest.mark.parametrize(
    ("by", "moved"), [(0.04, False), (0.2, True), (-3600.0, True), (float("nan"), True)]
)
def test_a_clock_that_is_slewed_has_not_moved(by: float, *, moved: bool) -> None:
    """Only a step makes the files' times incomparable; content still can be."""
    content = json.dumps(saved() | {"offset": 1_700_000_000.0 + by}).encode()

    assert State(clock_moved=moved) == state.parse(content, LATER)


def test_a_state_that_cannot_be_written_is_removed(tmp_path: Path) -> None:
    """The old one would say of somebody that he holds what was since replaced."""
    state.save(tmp_path, STATE, NOW)
    (tmp_path / "state.json.tmp").mkdir()

    with pytest.raises(StateError, match="can't be written"):
        state.save(tmp_path, STATE, LATER)
    assert state.load(tmp_path, LATER) is None


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    """Run as root it would overwrite what somebody else points at."""
    precious = tmp_path / "precious"
    precious.write_text("1")
    (tmp_path / "state.json.tmp").symlink_to(precious)
    state.save(tmp_path, STATE, NOW)

    assert "1" == precious.read_text()
    assert STATE == state.load(tmp_path, LATER)
