"""What the sidecar knows after it was killed: with `STATE_DIR`, and by facts alone."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from tests.kubelet import KubeletVolume
from tests.sidecar_process import SidecarProcess
from tests.waiting import wait_until
from tests.witness import Witness

FAST = {"VERIFY_ALIVE": "0", "RETRY_INITIAL": "50ms", "RETRY_MAX": "200ms"}


def sidecar(
    volume: KubeletVolume, witness: Witness, state: Path | None = None, **env: str
) -> SidecarProcess:
    """Return a sidecar for the witness that remembers in `state`."""
    remembers = {"STATE_DIR": str(state)} if state else {}
    return SidecarProcess(
        {"WATCH_DIRS": str(volume.path), **FAST, **witness.selector()} | remembers | env
    )


def is_fresh(process: SidecarProcess) -> bool:
    """Whether every process holds the newest content, as `/status` says."""
    return bool(process.target("process").get("state") == "fresh")


def told_and_killed(
    volume: KubeletVolume, witness: Witness, state: Path | None, content: str
) -> None:
    """Publish while a sidecar runs, see the witness take it, and kill the sidecar."""
    with sidecar(volume, witness, state) as process:
        wait_until(lambda: is_fresh(process), "fresh at the start")
        volume.write({"app": content})
        process.wait_for("change_detected")
        wait_until(lambda: is_fresh(process), "fresh after the update")
        process.get("/healthz")  # a turn of the loop later it is remembered, too
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    wait_until(lambda: witness.readings[-1] == {"app": content}, "it read the update")


def test_who_holds_the_content_is_not_told_again(
    volume: KubeletVolume, witness: Witness, tmp_path: Path
) -> None:
    """The kubelet restarts a sidecar that was killed; the program must not notice."""
    told_and_killed(volume, witness, tmp_path, "2")
    before = len(witness.readings)
    with sidecar(volume, witness, tmp_path) as process:
        process.wait_for("already_fresh")

    assert before == len(witness.readings)


def test_without_a_memory_everybody_older_than_the_swap_is_told_once(
    volume: KubeletVolume, witness: Witness
) -> None:
    """Nobody knows whether the sidecar that is gone had told it."""
    told_and_killed(volume, witness, None, "2")
    before = len(witness.readings)
    with sidecar(volume, witness) as process:
        process.wait_for("signal_sent")
        wait_until(lambda: is_fresh(process), "fresh again")
        assert 1 == len(process.events("signal_sent"))
        witness.wait_for(before + 1)


def test_an_update_while_it_was_away_is_told(
    volume: KubeletVolume, witness: Witness, tmp_path: Path
) -> None:
    """What is remembered is who held which content, not that somebody was told."""
    told_and_killed(volume, witness, tmp_path, "2")
    before = len(witness.readings)
    volume.write({"app": "3"})
    with sidecar(volume, witness, tmp_path):
        readings = witness.wait_for(before + 1)

    assert {"app": "3"} == readings[-1]


def test_the_old_content_in_a_new_generation_tells_nobody(
    volume: KubeletVolume, witness: Witness, tmp_path: Path
) -> None:
    """A swap that leaves the content as it was makes nobody stale who held it."""
    told_and_killed(volume, witness, tmp_path, "2")
    before = len(witness.readings)
    volume.write({"app": "3"})
    volume.write({"app": "2"})
    with sidecar(volume, witness, tmp_path) as process:
        process.wait_for("already_fresh")

    assert before == len(witness.readings)


def test_a_program_that_started_between_two_swaps_while_it_was_away_is_told(
    volume: KubeletVolume, witness: Witness, tmp_path: Path
) -> None:
    """It may have read what stood there in between."""
    told_and_killed(volume, witness, tmp_path, "2")
    volume.write({"app": "3"})
    with Witness(volume.path) as between:
        written = volume.write({"app": "2"})
        wait_until(lambda: time.monotonic() > written + 0.2, "later than the swap")
        select_all = {"PROCESS_SELECT": "all"}
        with sidecar(volume, witness, tmp_path, **select_all) as process:
            readings = between.wait_for(2)
            wait_until(lambda: is_fresh(process), "everybody is fresh")
            told = [event.facts["pid"] for event in process.events("signal_sent")]

        assert [{"app": "3"}, {"app": "2"}] == readings
        assert [between.pid] == told


def test_a_damaged_memory_is_reported_and_ignored(
    volume: KubeletVolume, witness: Witness, tmp_path: Path
) -> None:
    """It only costs one reload too many."""
    told_and_killed(volume, witness, tmp_path, "2")
    before = len(witness.readings)
    (tmp_path / "state.json").write_text("{")
    with sidecar(volume, witness, tmp_path) as process:
        warning = process.wait_for("warning", directory=str(tmp_path))
        witness.wait_for(before + 1)

    assert "damaged" in warning.facts["message"]


def test_a_memory_that_cannot_be_written_stops_nothing(
    volume: KubeletVolume, witness: Witness, tmp_path: Path
) -> None:
    """A full disk is a warning, and updates arrive as ever."""
    (tmp_path / "state.json.tmp").mkdir()
    with sidecar(volume, witness, tmp_path) as process:
        warning = process.wait_for("warning", directory=str(tmp_path))
        wait_until(lambda: is_fresh(process), "fresh at the start")
        volume.write({"app": "2"})
        wait_until(lambda: witness.readings[-1] == {"app": "2"}, "it read the update")

    assert "STATE_DIR can't be written" in warning.facts["message"]
