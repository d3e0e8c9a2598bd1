"""Reading volumes on a real file system, while somebody writes them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from sidecar import volume
from sidecar.configuration import Clocks, Configuration
from sidecar.errors import VolumeError
from sidecar.schedule import Pace
from sidecar.selection import Selection
from sidecar.volume import Snapshot
from tests.kubelet import KubeletVolume
from tests.waiting import wait_until

ALL = Selection(["*"])


def read(path: Path, selection: Selection = ALL) -> Snapshot:
    """Read a volume for the first time."""
    return volume.read(str(path), selection)


@pytest.fixture
def kubelet(tmp_path: Path) -> KubeletVolume:
    """A volume with one key, `app=1`."""
    made = KubeletVolume(tmp_path / "volume")
    made.write({"app": "1"})
    return made


@pytest.fixture
def open_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that another uid may enter; pytest's own are closed to it."""
    path = tmp_path_factory.mktemp("open")
    for above in (path, path.parent, path.parent.parent):
        above.chmod(0o755)
    return path


@contextmanager
def unprivileged() -> Iterator[None]:
    """Read as an ordinary uid; root reads what mode 0 forbids."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


def once(act: Callable[[], object]) -> Callable[[], None]:
    """Return what acts when it is first called, and never again."""
    acts = iter([act])

    def act_once() -> None:
        for do in acts:
            do()

    return act_once


def test_equal_content_has_an_equal_digest(kubelet: KubeletVolume) -> None:
    """Generations differ from swap to swap; digests only with the content."""
    first = read(kubelet.path)
    kubelet.write({"app": "1"})
    second = read(kubelet.path)

    assert first.digest == second.digest
    assert first.generation != second.generation


def test_the_digest_is_what_the_documentation_says(kubelet: KubeletVolume) -> None:
    """Others compute it too, so it may never change by accident."""
    kubelet.write({"b": "2", "a/b": "1"})

    one, two = (hashlib.sha256(content).digest() for content in (b"1", b"2"))
    expected = hashlib.sha256(b"3:a/b" + one + b"1:b" + two).hexdigest()
    assert expected == read(kubelet.path).digest


def test_names_and_contents_cannot_run_together(kubelet: KubeletVolume) -> None:
    """Two files are not one file that spells them."""
    kubelet.write({"a": "X", "b": "Y"})
    two = read(kubelet.path)
    kubelet.write({"a": "X1:bY"})

    assert two.digest != read(kubelet.path).digest


def test_keys_are_what_the_application_sees(kubelet: KubeletVolume) -> None:
    """Nested and hidden keys are keys; the kubelet's own entries are not."""
    kubelet.write({"app": "1", "conf.d/site.conf": "2", ".hidden": "3"})
    snapshot = read(kubelet.path)

    assert {"app", "conf.d/site.conf", ".hidden"} == set(snapshot.keys)
    assert (kubelet.generation, "kubelet") == (snapshot.generation, snapshot.kind)
    assert frozenset() == snapshot.flaws


def test_unselected_keys_do_not_count(kubelet: KubeletVolume) -> None:
    """A rotating token beside the configuration must not reload anything."""
    selection = Selection(["*"], ["token"])
    kubelet.write({"app": "1", "token": "first"})
    first = read(kubelet.path, selection)
    kubelet.write({"app": "1", "token": "second"})

    assert first.digest == read(kubelet.path, selection).digest


def test_a_swap_during_the_reading_gives_the_new_content_alone(
    kubelet: KubeletVolume,
) -> None:
    """Half of one generation and half of another is a configuration nobody wrote."""
    kubelet.write({"a": "1", "b": "1"})
    swap = once(lambda: kubelet.write({"a": "2", "b": "2"}))
    torn = volume.read(str(kubelet.path), ALL, progress=swap)

    assert read(kubelet.path).digest == torn.digest
    assert kubelet.generation == torn.generation


def test_a_volume_that_never_stands_still_is_given_up(kubelet: KubeletVolume) -> None:
    """The reading ends, and the next event brings the next one."""

    def swap() -> None:
        kubelet.write({"a": "1"})

    with pytest.raises(VolumeError, match="swapped 10 times"):
        volume.read(str(kubelet.path), ALL, progress=swap)


def test_a_link_that_is_missing_is_a_flaw(kubelet: KubeletVolume) -> None:
    """Current kubelets make the links of new keys after the rename."""
    seen: list[Snapshot] = []
    kubelet.write(
        {"app": "1", "new": "2"}, between=lambda: seen.append(read(kubelet.path))
    )

    assert frozenset({"new"}) == seen[0].flaws
    assert {"app"} == set(seen[0].keys)
    assert frozenset() == read(kubelet.path).flaws


def test_a_link_that_dangles_is_a_flaw(kubelet: KubeletVolume) -> None:
    """Older kubelets make it before the rename; links of deleted keys stay a bit."""
    kubelet.order = "links-before"
    seen: list[Snapshot] = []
    kubelet.write(
        {"app": "1", "new": "2"}, between=lambda: seen.append(read(kubelet.path))
    )

    assert frozenset({"new"}) == seen[0].flaws


def test_a_volume_without_its_object_is_empty(tmp_path: Path) -> None:
    """An optional ConfigMap that does not exist has an empty generation."""
    kubelet = KubeletVolume(tmp_path)
    kubelet.write({})
    snapshot = read(kubelet.path)

    assert snapshot.empty
    assert "kubelet" == snapshot.kind


def test_a_missing_volume_is_an_error_and_not_an_empty_one(tmp_path: Path) -> None:
    """An empty configuration is a configuration; a missing one is none."""
    with pytest.raises(VolumeError, match="can't be read now"):
        read(tmp_path / "nowhere")


def test_a_plain_directory_is_read_recursively(tmp_path: Path) -> None:
    """Another container may fill an emptyDir."""
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/c").write_text("1")
    (tmp_path / "top").write_text("2")
    snapshot = read(tmp_path)

    assert {"a/b/c", "top"} == set(snapshot.keys)
    assert ("plain", None) == (snapshot.kind, snapshot.generation)
    assert [str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a/b")] == list(
        snapshot.directories
    )


def test_what_is_not_a_regular_file_is_no_key(tmp_path: Path) -> None:
    """Opening a FIFO would hang, and a link in a circle would never end."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "self").symlink_to(".")
    (tmp_path / "app").write_text("1")

    assert {"app"} == set(read(tmp_path).keys)


def test_a_dangling_link_in_a_plain_directory_is_no_key(tmp_path: Path) -> None:
    """It is noted, and everything else is read."""
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "app").write_text("1")
    snapshot = read(tmp_path)

    assert {"app"} == set(snapshot.keys)
    assert frozenset({"dangling"}) == snapshot.flaws


def test_unchanged_files_are_not_read_again(tmp_path: Path) -> None:
    """A safety poll of a large plain directory costs stats only."""
    app = tmp_path / "app"
    app.write_text("1")
    os.utime(app, (1, 1))
    first = read(tmp_path)
    later = {
        name: key.__class__(key.signature, b"kept", key.read_at + 60)
        for name, key in first.keys.items()
    }
    known = Snapshot(first.path, None, later, first.digest)

    assert b"kept" == volume.read(str(tmp_path), ALL, known).keys["app"].digest


def test_a_file_that_changed_just_before_it_was_read_is_read_again(
    tmp_path: Path,
) -> None:
    """A second change within one tick of the clock keeps inode, size and times."""
    (tmp_path / "app").write_text("1")
    first = read(tmp_path)
    stale = {
        name: key.__class__(key.signature, b"stale", key.read_at)
        for name, key in first.keys.items()
    }
    known = Snapshot(first.path, None, stale, first.digest)

    assert first.digest == volume.read(str(tmp_path), ALL, known).digest


def test_a_tree_without_end_is_cut_off_and_named(tmp_path: Path) -> None:
    """Deeper than anybody mounts; it may neither end the sidecar nor hide the rest."""
    (tmp_path / "app").write_text("1")
    deep = tmp_path
    for _ in range(300):
        deep /= "d"
    deep.mkdir(parents=True)
    snapshot = read(tmp_path)

    assert "app" in snapshot.keys
    assert 1 == len(snapshot.unreadable)


@pytest.mark.parametrize("selected", ["*", "app"])
def test_links_that_fan_out_are_cut_off_and_named(
    tmp_path: Path, selected: str
) -> None:
    """Thirty directories look like a thousand million, selected or not."""
    levels = [tmp_path / f"level{number}" for number in range(30)]
    for level in levels:
        level.mkdir()
    for level, below in pairwise(levels):
        (level / "a").symlink_to(below)
        (level / "b").symlink_to(below)
    (tmp_path / "app").write_text("1")

    with pytest.raises(VolumeError, match=r"more than 10000 directories.*WATCH_DIRS"):
        read(tmp_path, Selection([selected]))


def test_there_may_be_ten_thousand_keys_and_no_more(tmp_path: Path) -> None:
    """A directory of data was meant for the program, and one key of it for us."""
    for number in range(10_000):
        (tmp_path / f"key{number}").touch()
    assert 10_000 == len(read(tmp_path).keys)

    (tmp_path / "one-more").touch()
    with pytest.raises(VolumeError, match=r"more than 10000 keys.*WATCH_INCLUDE"):
        read(tmp_path)
    assert ["one-more"] == list(read(tmp_path, Selection(["one*"])).keys)


def test_a_large_file_is_read_in_pieces(tmp_path: Path) -> None:
    """A core dump in a shared directory must not fill the memory."""
    with (tmp_path / "large").open("wb") as file:
        file.truncate(50 * 1024 * 1024)
    pieces: list[None] = []
    volume.read(str(tmp_path), ALL, progress=lambda: pieces.append(None))

    assert 200 <= len(pieces)


def test_an_unreadable_key_changes_with_every_swap(open_path: Path) -> None:
    """Nobody knows what it holds, so nobody may take it for unchanged."""
    kubelet = KubeletVolume(open_path)
    kubelet.write({"app": "1", "key": "secret"})
    digests = []
    for _ in range(2):
        kubelet.write({"app": "1", "key": "secret"})
        (kubelet.path / kubelet.generation / "key").chmod(0)
        with unprivileged():
            snapshot = read(kubelet.path)
        assert ("key",) == snapshot.unreadable
        digests.append(snapshot.digest)

    assert digests[0] != digests[1]


def test_names_that_are_no_text_are_keys_too(tmp_path: Path) -> None:
    """A file name on Linux is bytes."""
    (tmp_path / os.fsdecode(b"\xff")).write_text("1")

    assert {os.fsdecode(b"\xff")} == set(read(tmp_path).keys)


def test_a_poll_sees_a_swap_and_a_repaired_link(kubelet: KubeletVolume) -> None:
    """A readlink and a stat tell; current kubelets repair links without a swap."""
    snapshot = read(kubelet.path)
    assert not volume.moved(snapshot)

    (kubelet.path / "app").unlink()
    assert volume.moved(snapshot)

    snapshot = read(kubelet.path)
    kubelet.write({"app": "1"})
    assert volume.moved(snapshot)


def test_a_poll_takes_no_old_generation_that_went_for_a_change(
    kubelet: KubeletVolume,
) -> None:
    """It changes the directory's own times, and is compared once, not at each poll."""
    path = str(kubelet.path)
    now = Clocks(monotonic=0.0, boot=0.0, offset=0.0)
    configuration = Configuration((path,), ALL, Pace(0.0, 0.0, 60.0))
    configuration.settle(configuration.read(), now, noticed=0.0)
    (kubelet.path / "..2026_11_23").mkdir()
    (kubelet.path / "..2026_11_23").rmdir()
    before = configuration.latest(path)
    assert before
    assert volume.moved(before)

    assert not configuration.moved()
    after = configuration.latest(path)
    assert after
    assert not volume.moved(after)

    (kubelet.path / "app").unlink()
    assert configuration.moved()


def test_a_poll_finds_a_volume_that_is_back_as_it_was(kubelet: KubeletVolume) -> None:
    """Who started while it was away read nothing, and it no longer is a problem."""
    path = str(kubelet.path)
    now = Clocks(monotonic=0.0, boot=0.0, offset=0.0)
    configuration = Configuration((path,), ALL, Pace(0.0, 0.0, 60.0))
    configuration.settle(configuration.read(), now, noticed=0.0)
    kubelet.path.rename(kubelet.path.with_name("elsewhere"))
    configuration.settle(configuration.read(), now, noticed=0.0)
    was_away = configuration.away

    kubelet.path.with_name("elsewhere").rename(kubelet.path)
    assert configuration.moved()
    assert configuration.settle(configuration.read(), now, noticed=0.0).swapped
    assert was_away
    assert not configuration.away
    assert not configuration.moved()


def test_a_kubelet_that_hands_the_files_to_fsgroup_again_changes_nothing(
    kubelet: KubeletVolume,
) -> None:
    """Kubelet 1.20 does it at each sync of a pod; the files' ctimes are new then.

    Who read them before would be told for nothing, again and again.
    """
    before = read(kubelet.path)
    file = kubelet.data / "app"
    old = file.stat().st_ctime_ns

    def handed_over() -> bool:
        os.chown(file, -1, file.stat().st_gid)
        return file.stat().st_ctime_ns > old

    wait_until(handed_over, "the file has a later ctime")

    after = read(kubelet.path)
    assert before.changed == after.changed
    assert after.same_files(before)


def test_a_link_that_got_another_owner_was_not_swapped_in_again(
    kubelet: KubeletVolume,
) -> None:
    """Nor one with another SELinux label, as a runtime gives it for each container.

    Both give it a new ctime, and who had read the files would be told for nothing.
    """
    swapped = kubelet.data.lstat().st_ctime_ns
    before = read(kubelet.path)

    def labelled() -> bool:
        os.chown(kubelet.data, -1, os.getgid(), follow_symlinks=False)
        return kubelet.data.lstat().st_ctime_ns > before.changed * 1e9 + 50e6

    wait_until(labelled, "the link has a later ctime")

    changed = read(kubelet.path).changed
    assert swapped <= changed * 1e9 + 1e3
    assert changed < before.changed + 0.05


def test_a_link_that_was_mended_later_was_not_swapped_in_again(
    kubelet: KubeletVolume,
) -> None:
    """Current kubelets mend a key's link at a sync, which is no news of ..data."""
    before = read(kubelet.path)

    def mended() -> bool:
        (kubelet.path / "app").unlink()
        (kubelet.path / "app").symlink_to("..data/app")
        return kubelet.path.stat().st_mtime_ns > before.changed * 1e9 + 50e6

    wait_until(mended, "the directory has a later mtime")

    assert before.changed == read(kubelet.path).changed
