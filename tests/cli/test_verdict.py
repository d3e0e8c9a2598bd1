"""What a sidecar's answer says of a pod."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from sidecar.cli.mounting import Place, Use
from sidecar.cli.objects import Kind, Reference, Source
from sidecar.cli.stage import Stage
from sidecar.cli.verdict import Answer, Before, Reload, Target, Volume, read, verdict
from sidecar.status import (
    ReloadStatus,
    Result,
    State,
    Status,
    TargetStatus,
    VolumeStatus,
)

CHANGED = 1000.0
SOURCE = Source(Reference(Kind.SECRET, "tls"), CHANGED, frozenset({"a"}))
BY_TIME = Use(SOURCE, 9533, (Place("/etc/site"),))
BY_DIGEST = replace(BY_TIME, places=(Place("/etc/site", "new"),))
FRESH = Target("process", State.FRESH, 1, Result.SUCCEEDED, None, None)
STALE = replace(FRESH, state=State.STALE, attempts=0)


def answer(
    *targets: Target,
    digest: str | None = "new",
    generation: str = "..2",
    published: float = CHANGED - 60,
    reloads: tuple[Reload, ...] = (),
    keys: frozenset[str] = SOURCE.keys,
) -> Answer:
    """Return what a sidecar may say."""
    when = datetime.fromtimestamp(published, UTC)
    volume = Volume("/etc/site", generation, when, digest, keys)
    return Answer("0.1.0", (volume,), targets or (FRESH,), reloads)


def stage(use: Use, said: Answer, before: Before | None = None) -> Stage:
    """Return the stage alone."""
    return verdict(use, said, before or Before()).stage


def test_what_the_sidecar_writes_is_what_is_read() -> None:
    """Both sides are of one package, and only the shape in between is fixed."""
    status = Status(
        "0.1.0",
        "inotify",
        5.0,
        (VolumeStatus("/etc/site", "kubelet", "..2", 940.0, "new", ("a",)),),
        (
            TargetStatus("process", State.FRESH, attempts=1),
            TargetStatus("webhook:1", State.STALE, url="http://127.0.0.1/"),
        ),
        (ReloadStatus("process", 5.0, 0.1, Result.SUCCEEDED, 1, None),),
    )
    said = read(json.dumps(status.as_json()).encode())

    assert said
    assert answer(keys=frozenset({"a"})).volumes == said.volumes
    assert [State.FRESH, State.STALE] == [target.state for target in said.targets]


def test_a_file_may_have_a_name_that_is_no_text() -> None:
    """Another container makes it, in a directory that is watched as well."""
    volume = VolumeStatus("/data", "plain", None, 1.0, None, ("caf\udce9",))
    status = Status("0.1.0", "inotify", 5.0, (volume,), ())

    assert read(json.dumps(status.as_json()).encode())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"{}",
        b"[]",
        b'{"version": 1}',
        b"\xff",
        b'{"a": "\xff"}',
        b'{"a":' + b"[" * 100_000,
        b'{"version": "1", "volumes": [], "targets": [], "reloads": [{"target": "a",'
        b' "result": "rejected", "started": "2026-11-22T12:00:00"}]}',
    ],
)
def test_anything_else_is_no_sidecar(body: bytes) -> None:
    """Somebody else may listen on that port, with the worst intentions."""
    assert read(body) is None


def test_the_digest_decides_where_it_is_shown() -> None:
    """A swap alone proves nothing: it may have brought older content."""
    before = Before({"/etc/site": "..1"})

    assert [Stage.WAITING, Stage.FRESH] == [
        stage(BY_DIGEST, answer(digest="old", published=CHANGED + 60), before),
        stage(BY_DIGEST, answer(digest="new")),
    ]


def test_a_swap_since_we_came_brought_the_content() -> None:
    """Whatever the clocks say: node and API server have one each."""
    swapped, same = Before({"/etc/site": "..1"}), Before({"/etc/site": "..2"})

    assert [Stage.FRESH, Stage.WAITING, Stage.WAITING] == [
        stage(BY_TIME, answer(), swapped),
        stage(BY_TIME, answer(), same),
        stage(BY_TIME, answer()),
    ]


def test_a_volume_that_is_younger_than_the_change_has_it() -> None:
    """So nothing is pushed to who has it already."""
    assert Stage.FRESH == stage(BY_TIME, answer(published=CHANGED + 1))


def test_within_the_second_of_the_change_nobody_can_tell() -> None:
    """Its time is cut; but a kubelet that looked again and made no swap is current."""
    said = answer(published=CHANGED + 0.5)
    aged = replace(BY_TIME, source=replace(SOURCE, aged=True))

    assert [Stage.WAITING, Stage.FRESH, Stage.FRESH] == [
        stage(BY_TIME, said),
        stage(BY_TIME, said, Before({}, syncs=3)),
        stage(aged, said),
    ]


RESTED = Before({"/etc/site": "..2"}, syncs=4, rests=True)


def test_where_the_kubelet_finds_nothing_to_bring_nothing_has_changed() -> None:
    """Another key was written, or the same value: there will never be a swap."""
    said = verdict(BY_TIME, answer(), RESTED)

    assert (Stage.UNCHANGED, True) == (said.stage, "wrote nothing" in said.detail)


def test_a_program_that_is_behind_is_so_without_a_swap() -> None:
    """It may have been behind before."""
    assert Stage.STALE == stage(BY_TIME, answer(STALE), RESTED)


def test_a_digest_that_differs_is_waited_for_whatever_the_kubelet_does() -> None:
    """The content is known not to be there, and a person may find out why."""
    said = verdict(BY_DIGEST, answer(digest="old"), RESTED)

    assert (Stage.WAITING, True) == (said.stage, "look at the pod's" in said.detail)


NAMED = replace(BY_TIME, places=(Place("/etc/site", keys=frozenset({"a"})),))
SHARED = replace(
    BY_TIME, places=(Place("/etc/site", keys=frozenset({"a"}), is_shared=True),)
)


@pytest.mark.parametrize("before", [Before(), Before({"/etc/site": "..1"}), RESTED])
@pytest.mark.parametrize(
    ("use", "keys"),
    [
        (NAMED, frozenset[str]()),
        (NAMED, frozenset({"a", "b"})),
        (SHARED, frozenset({"b"})),
    ],
)
def test_names_that_differ_are_of_older_content(
    use: Use, keys: frozenset[str], before: Before
) -> None:
    """The server notes no time when a key is only removed: all looks old and well."""
    late = answer(published=CHANGED + 60, keys=keys)

    assert Stage.WAITING == stage(use, late, before)


def test_names_of_others_are_no_difference_in_a_volume_that_is_shared() -> None:
    """A token lies beside the certificate."""
    late = answer(published=CHANGED + 60, keys=frozenset({"a", "token"}))

    assert Stage.FRESH == stage(SHARED, late)


def test_a_volume_that_the_sidecar_has_not_read_is_waited_for() -> None:
    """It starts, perhaps."""
    assert Stage.WAITING == stage(BY_DIGEST, replace(answer(), volumes=()))


def test_the_object_that_never_changes_is_not_waited_for() -> None:
    """But who has it, has it."""
    fixed = replace(BY_DIGEST, source=replace(SOURCE, immutable=True))

    assert [Stage.IMMUTABLE, Stage.FRESH] == [
        stage(fixed, answer(digest="old")),
        stage(fixed, answer()),
    ]


def test_every_target_must_hold_it() -> None:
    """A webhook may be behind while the processes are not."""
    behind = replace(STALE, name="webhook:1", attempts=1, last_error="refused")
    said = verdict(BY_DIGEST, answer(FRESH, behind), Before())

    assert (Stage.STALE, "webhook:1: refused") == (said.stage, said.detail)


@pytest.mark.parametrize("state", [State.STALE, State.UNKNOWN])
def test_a_target_that_is_not_known_to_be_fresh_is_not(state: State) -> None:
    """Nobody there to hold it is not the same as holding it."""
    assert Stage.STALE == stage(BY_DIGEST, answer(replace(STALE, state=state)))


def test_a_sidecar_that_knows_nobody_to_tell_proves_nothing() -> None:
    """It has just been started."""
    assert Stage.STALE == stage(BY_DIGEST, replace(answer(), targets=()))


def test_a_rejection_of_the_content_before_is_not_held_against_this() -> None:
    """`last_result` stays until the first attempt has ended: a fix looks so too."""
    early = datetime.fromtimestamp(CHANGED - 120, UTC)
    behind = replace(STALE, attempts=1, last_result=Result.REJECTED)
    before = Reload("process", early, Result.REJECTED)

    assert Stage.STALE == stage(BY_DIGEST, answer(behind, reloads=(before,)))


@pytest.mark.parametrize(("attempts", "ended"), [(2, False), (1, True)])
def test_a_rejection_is_told_with_its_reason(attempts: int, *, ended: bool) -> None:
    """It was told a second time, or will not be told again."""
    behind = replace(
        STALE,
        attempts=attempts,
        last_result=Result.REJECTED,
        last_error="it died",
        hint="mend it",
    )
    late = datetime.fromtimestamp(CHANGED, UTC)
    reloads = (Reload("process", late, Result.REJECTED),) if ended else ()
    said = verdict(BY_DIGEST, answer(behind, reloads=reloads), Before())

    expected = (Stage.REJECTED, "process: it died (mend it)")
    assert expected == (said.stage, said.detail)
