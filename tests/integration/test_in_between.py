"""Content that was there for a while only: who may have read it is told what is there.

Each time the same content comes back, so nothing but the facts tells of it.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from functools import partial
from pathlib import Path

from tests.hook import Answer, Hook
from tests.kubelet import KubeletVolume
from tests.sidecar_process import SidecarProcess
from tests.waiting import wait_until
from tests.witness import Witness

from .test_main_job import FAST, settled_at_start, sidecar, turns


def test_who_started_while_a_directory_was_away_is_told(tmp_path: Path) -> None:
    """It found nothing to read."""
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "app").write_text("1")
    with Witness(tmp_path) as first, sidecar(plain, first, DEBOUNCE="20ms") as process:
        settled_at_start(process, first)
        shutil.rmtree(plain)
        process.wait_for("watch_degraded", reason="gone")
        with Witness(tmp_path) as second:
            polls = turns(process)
            wait_until(lambda: turns(process) > polls + 1, "it was looked for again")
            plain.mkdir()
            (plain / "app").write_text("1")
            readings = second.wait_for(2)

    assert [{}, {"plain/app": "1"}] == readings


def test_nobody_is_told_while_a_directory_is_away(tmp_path: Path) -> None:
    """It would give up what it has, and read nothing."""
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "app").write_text("1")
    with Witness(tmp_path) as witness, sidecar(plain, witness) as process:
        before = settled_at_start(process, witness)
        shutil.rmtree(plain)
        process.wait_for("watch_degraded", reason="gone")
        os.kill(process.pid, signal.SIGHUP)
        wait_until(
            lambda: process.target("process")["state"] == "stale", "it is to be told"
        )
        plain.mkdir()
        (plain / "app").write_text("1")
        readings = witness.wait_for(before + 1)

    assert [{"plain/app": "1"}] * (before + 1) == readings


def test_who_started_while_the_sidecar_was_stopped_is_told(
    volume: KubeletVolume, witness: Witness
) -> None:
    """A throttled container does not see events when they happen."""
    with sidecar(volume.path, witness) as process:
        settled_at_start(process, witness)
        os.kill(process.pid, signal.SIGSTOP)
        volume.write({"app": "2"})
        with Witness(volume.path) as late:
            time.sleep(0.1)  # longer than a start may count as one before the swap
            volume.write({"app": "1"})
            os.kill(process.pid, signal.SIGCONT)
            readings = late.wait_for(2)

    assert [{"app": "2"}, {"app": "1"}] == readings


def test_who_started_while_a_link_led_elsewhere_is_told(tmp_path: Path) -> None:
    """No file was written: a link was moved away, and back before that settled."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "app").write_text(name)
    plain = tmp_path / "plain"
    plain.mkdir()
    current = plain / "current"
    current.symlink_to(tmp_path / "a")
    with Witness(plain) as first, sidecar(plain, first, DEBOUNCE="1s") as process:
        settled_at_start(process, first)
        _lead(current, tmp_path / "b")
        with Witness(plain) as second:
            _lead(current, tmp_path / "a")
            readings = second.wait_for(2)

    assert [{"current/app": "b"}, {"current/app": "a"}] == readings


def _lead(link: Path, target: Path) -> None:
    new = link.parent.parent / "new"
    new.symlink_to(target)
    new.replace(link)


def test_a_write_while_many_keys_are_read_is_never_overlooked(tmp_path: Path) -> None:
    """It comes around the time when the volume is read although it is not still."""
    app = tmp_path / "app"
    app.write_text("1")
    keys = [tmp_path / f"key{number}" for number in range(300)]
    for key in keys:
        key.write_bytes(bytes(3_000))
    longest = 0.2
    settings = dict.fromkeys(("DEBOUNCE", "DEBOUNCE_MAX"), f"{longest}s")
    settings["POLL_INTERVAL"] = "0"
    with (
        Witness(tmp_path) as witness,
        sidecar(tmp_path, witness, **settings) as process,
    ):
        settled_at_start(process, witness)
        for number in range(25):
            began = time.monotonic()
            for key in keys:  # so that all are read again
                key.touch()
            left = began + longest - 0.004 + number * 0.0008 - time.monotonic()
            time.sleep(max(0.0, left))
            app.write_text(f"2.{number}")
            wait_until(partial(_read_last, witness, f"2.{number}"), "it is read")


def _read_last(witness: Witness, expected: str) -> bool:
    return expected == witness.readings[-1]["app"]


def test_what_changed_before_the_second_telling_does_not_verify_it(
    volume: KubeletVolume, witness: Witness
) -> None:
    """The first one was taken while other content was there; the second was not."""
    value = ["1"]
    with Hook(lambda _request, _n: Answer(body=f"loaded {value[0]}")) as hook:
        settings = {
            "WATCH_DIRS": str(volume.path),
            **FAST,
            **witness.selector(),
            "CATCH_UP": "never",
            "DEBOUNCE": "50ms",
            "VERIFY_ALIVE": "2s",
            "VERIFY_URL": hook.url,
            "VERIFY_CHANGES": r"loaded (\d+)",
            "VERIFY_TIMEOUT": "500ms",
        }
        with SidecarProcess(settings) as process:
            before = settled_at_start(process, witness)
            volume.write({"app": "2"})
            witness.wait_for(before + 1)
            value[0] = "2"
            volume.write({"app": "3"})
            volume.write({"app": "2"})
            witness.wait_for(before + 2)
            process.wait_for("reload_rejected", reason="not_verified")
