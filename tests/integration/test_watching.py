"""Watching degrades and recovers, and nothing is lost meanwhile."""

from __future__ import annotations

import os
import re
import selectors
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.errors import WatchError
from sidecar.watch import Events, Watch
from tests.kubelet import KubeletVolume
from tests.sidecar_process import SidecarProcess
from tests.waiting import wait_until
from tests.witness import Witness

FAST = {"VERIFY_ALIVE": "0", "RETRY_INITIAL": "50ms", "RETRY_MAX": "200ms"}
OWN_LIMITS = ("unshare", "--user", "--map-root-user")
"""A user namespace has a limit of inotify instances of its own (namespaces(7))."""

LIMIT = "/proc/sys/user/max_inotify_instances"


def run(volume: Path, witness: Witness, *prefix: str, **env: str) -> SidecarProcess:
    """Return a sidecar for the witness."""
    settings = {"WATCH_DIRS": str(volume), **FAST, **witness.selector(), **env}
    return SidecarProcess(settings, prefix=prefix)


def read_at_start(process: SidecarProcess, witness: Witness) -> int:
    """Wait until the witness is fresh; return how often it read so far."""
    wait_until(lambda: process.target("process")["state"] == "fresh", "fresh at start")
    return len(witness.wait_for(1 + len(process.events("signal_sent"))))


def metric(process: SidecarProcess, name: str) -> float:
    """Return the value of one series."""
    found = re.search(rf"^{re.escape(name)} (\S+)$", process.get("/metrics")[1], re.M)
    assert found, name
    return float(found.group(1))


@pytest.fixture
def ready() -> Iterator[selectors.BaseSelector]:
    """A selector to register a watch in."""
    with selectors.DefaultSelector() as selector:
        yield selector


def test_a_swap_makes_events(
    ready: selectors.BaseSelector, volume: KubeletVolume
) -> None:
    """And reading makes none, or the sidecar would wake itself for ever."""
    with Watch(ready) as watch:
        assert watch.cover([str(volume.path)])
        assert not watch.cover([str(volume.path)])
        (volume.path / "app").read_text()
        os.listdir(volume.path)  # noqa: PTH208  # the very call that volumes are read by
        assert not watch.drain().any
        volume.write({"app": "2"})
        assert ready.select(5)
        assert watch.drain().any
        assert not watch.drain().any


def test_what_the_kubelet_prepares_and_tidies_up_is_no_event(
    ready: selectors.BaseSelector, volume: KubeletVolume
) -> None:
    """It wakes us right before a swap, and while the new content is being read."""
    with Watch(ready) as watch:
        watch.cover([str(volume.path)])
        (volume.path / "..2026_11_23_1").mkdir()
        (volume.path / "..data_tmp").symlink_to("..2026_11_23_1")
        (volume.path / "..data_tmp").unlink()
        (volume.path / "..2026_11_23_1").rmdir()
        assert ready.select(5)
        assert Events(prepared=True) == watch.drain()
        (volume.path / "..data_tmp").symlink_to(volume.generation)
        (volume.path / "..data_tmp").rename(volume.data)
        assert watch.drain().any
        (volume.path / "..2026_11_23_1").mkdir()
        watch.drain()
        (volume.path / "..2026_11_23_1").rmdir()
        assert Events() == watch.drain()


def test_two_dots_that_are_no_kubelet_s_are_an_event(
    ready: selectors.BaseSelector, tmp_path: Path
) -> None:
    """Keys of a plain directory may be links through a link of its writer's own."""
    with Watch(ready) as watch:
        watch.cover([str(tmp_path)])
        (tmp_path / "..tmp").symlink_to("v2")
        (tmp_path / "..tmp").rename(tmp_path / "..current")
        assert watch.drain().any


class _BusyWatch(Watch):
    """A watch on a directory where somebody writes as fast as it is read.

    Another process would do so most of the time only; this one does without fail.
    """

    def __init__(self, ready: selectors.BaseSelector, directory: Path) -> None:
        super().__init__(ready)
        self._busy = directory
        self.readings = 0

    def _read(self) -> bytes:
        data = super()._read()
        self.readings += 1
        assert self.readings < 1000
        (self._busy / str(self.readings)).touch()
        return data


def test_a_writer_without_a_pause_does_not_hold_up_the_loop(
    ready: selectors.BaseSelector, tmp_path: Path
) -> None:
    """What was queued is taken, all of it; what came meanwhile ends the next wait."""
    with _BusyWatch(ready, tmp_path) as watch:
        watch.cover([str(tmp_path)])
        for number in range(1000):  # more than one reading takes
            (tmp_path / f"before {number}").touch()
        assert watch.drain().any
        taken = watch.readings
        assert ready.select(5)
        assert watch.drain().any
        again = watch.readings - taken

    assert taken > 1 == again


def test_a_directory_that_was_replaced_is_watched_anew(
    ready: selectors.BaseSelector, tmp_path: Path
) -> None:
    """A watch follows the inode; a rename of a parent directory makes no event."""
    inside = tmp_path / "parent/volume"
    inside.mkdir(parents=True)
    with Watch(ready) as watch:
        watch.cover([str(inside)])
        (tmp_path / "parent").rename(tmp_path / "old")
        inside.mkdir(parents=True)
        assert watch.cover([str(inside)])
        watch.drain()
        (inside / "app").write_text("1")
        assert watch.drain().any


def test_a_directory_that_is_gone_is_named(
    ready: selectors.BaseSelector, tmp_path: Path
) -> None:
    """And the others are watched all the same."""
    with Watch(ready) as watch:
        with pytest.raises(WatchError, match="nowhere") as caught:
            watch.cover([str(tmp_path / "nowhere"), str(tmp_path)])
        (tmp_path / "app").write_text("1")
        assert watch.drain().any

    assert "gone" == caught.value.reason


@pytest.fixture
def own_limits() -> tuple[str, ...]:
    """What starts a sidecar in a user namespace of its own, without instances."""
    if (
        not shutil.which("unshare")
        or subprocess.run(
            [*OWN_LIMITS, "true"], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("no user namespace can be made here (util-linux, and the right)")
    return (*OWN_LIMITS, "sh", "-c", f'echo 0 >{LIMIT}; exec "$@"', "sh")


def test_without_inotify_it_polls_and_recovers(
    volume: KubeletVolume, witness: Witness, own_limits: tuple[str, ...]
) -> None:
    """The limit is counted per uid over the whole node: peers crash on busy ones."""
    with run(volume.path, witness, *own_limits) as process:
        degraded = process.wait_for("watch_degraded")
        before = read_at_start(process, witness)
        assert "polling" == process.status()["watch_mode"]
        assert 1 == metric(process, 'config_reload_watch_mode{mode="polling"}')
        assert 200 == process.get("/readyz")[0]
        volume.write({"app": "2"})
        witness.wait_for(before + 1, within=5)

        enter = ["nsenter", "--target", str(process.pid), "--user"]
        more = [*enter, "--preserve-credentials", "sh", "-c", f"echo 9 >{LIMIT}"]
        subprocess.run(more, check=True)
        process.wait_for("watch_restored")
        assert "inotify" == process.status()["watch_mode"]
        volume.write({"app": "3"})
        readings = witness.wait_for(before + 2)

    assert 1 == len(process.events("watch_degraded"))  # asked again, it is no news
    assert "limit" == degraded.facts["reason"]
    assert "max_user_instances" in degraded.facts["detail"]
    assert [{"app": "2"}, {"app": "3"}] == readings[before:]


def test_an_overflow_of_the_queue_loses_no_change(tmp_path: Path) -> None:
    """IN_Q_OVERFLOW drops events: 16384 fit, and a storm has more."""
    (tmp_path / "app").write_text("1")
    noise = [tmp_path / "a.log", tmp_path / "b.log"]
    for file in noise:
        file.touch()
    with (
        Witness(tmp_path) as witness,
        run(tmp_path, witness, WATCH_EXCLUDE="*.log") as process,
    ):
        before = read_at_start(process, witness)
        os.kill(process.pid, signal.SIGSTOP)
        for number in range(20_000):
            os.utime(noise[number % 2], (number, number))
        (tmp_path / "app").write_text("2")
        os.kill(process.pid, signal.SIGCONT)
        readings = witness.wait_for(before + 1)
        lost = 'config_reload_watch_errors_total{reason="overflow"}'
        wait_until(lambda: metric(process, lost) >= 1, "the overflow is counted")

    assert ["2"] == [reading["app"] for reading in readings[before:]]


def test_an_optional_configmap_that_appears_later_is_told(tmp_path: Path) -> None:
    """Until then its volume names an empty generation."""
    volume = KubeletVolume(tmp_path / "volume")
    volume.write({})
    with Witness(volume.path) as witness, run(volume.path, witness) as process:
        before = read_at_start(process, witness)
        volume.write({"app": "1"})
        readings = witness.wait_for(before + 1)

    assert [{"app": "1"}] == readings[before:]


def test_a_safety_poll_finds_what_no_event_told(tmp_path: Path) -> None:
    """On some sandboxed runtimes events never arrive.

    The real thing can't be had here, so the volume is replaced by renaming its parent:
    that, too, makes no event in it.
    """
    parent = tmp_path / "parent"
    volume = KubeletVolume(parent / "volume")
    volume.write({"app": "1"})
    with (
        Witness(volume.path) as witness,
        run(volume.path, witness, POLL_INTERVAL="200ms") as process,
    ):
        before = read_at_start(process, witness)
        parent.rename(tmp_path / "old")
        KubeletVolume(volume.path).write({"app": "2"})
        readings = witness.wait_for(before + 1)

    assert [{"app": "2"}] == readings[before:]
