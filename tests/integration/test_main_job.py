"""One change's whole way: a volume, the sidecar as a process, a program to reload."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.kubelet import KubeletVolume, Order
from tests.sidecar_process import SidecarProcess
from tests.waiting import wait_until
from tests.witness import Witness

FAST = {"VERIFY_ALIVE": "0", "RETRY_INITIAL": "50ms", "RETRY_MAX": "200ms"}


def sidecar(volume: Path, witness: Witness, **env: str) -> SidecarProcess:
    """Return a sidecar that keeps the witness up to date."""
    return SidecarProcess(
        {"WATCH_DIRS": str(volume), **FAST, **witness.selector(), **env}
    )


def settled_at_start(process: SidecarProcess, witness: Witness) -> int:
    """Wait until the witness holds the content; return how often it read so far."""
    wait_until(lambda: process.target("process")["state"] == "fresh", "fresh at start")
    told = len(process.events("signal_sent"))
    return len(witness.wait_for(1 + told))


@pytest.mark.parametrize("order", ["links-after", "links-before"])
def test_thirty_updates_are_thirty_reloads_and_none_is_early(
    tmp_path: Path, order: Order
) -> None:
    """A kubelet makes six events an update; only the last state of them counts.

    The links come 50 ms after the rename (or before it), so a reload between the two
    would read half of the update.
    """
    volume = KubeletVolume(tmp_path / "volume", order)
    volume.write({"number": "0", "key0": "0"})
    with (
        Witness(volume.path) as witness,
        sidecar(volume.path, witness, DEBOUNCE="20ms") as process,
    ):
        before = settled_at_start(process, witness)
        expected = []
        for number in range(1, 31):
            update = {"number": str(number), f"key{number}": str(number)}
            volume.write(update, between=lambda: time.sleep(0.05))
            expected.append(update)
            witness.wait_for(before + number)
            wait_until(
                lambda: process.target("process")["state"] == "fresh", "it is fresh"
            )

    assert expected == witness.readings[before:]
    assert 30 == len(process.events("change_detected"))


def test_without_a_debounce_nothing_is_early_either(tmp_path: Path) -> None:
    """Settled means that every key resolves, however long the kubelet takes."""
    volume = KubeletVolume(tmp_path / "volume")
    volume.write({"app": "0"})
    environment = {"DEBOUNCE": "0", "DEBOUNCE_MAX": "0"}
    with (
        Witness(volume.path) as witness,
        sidecar(volume.path, witness, **environment) as process,
    ):
        before = settled_at_start(process, witness)
        update = {"app": "1", "new": "1"}
        volume.write(update, between=lambda: time.sleep(0.5))
        readings = witness.wait_for(before + 1)

    assert [update] == readings[before:]


def test_one_update_of_five_hundred_keys_is_one_reload(
    volume: KubeletVolume, witness: Witness
) -> None:
    """80 changed files were 80 reloads elsewhere."""
    with sidecar(volume.path, witness) as process:
        before = settled_at_start(process, witness)
        volume.write({f"key{n:03}": str(n) * 2048 for n in range(500)})
        witness.wait_for(before + 1)
        wait_until(lambda: process.target("process")["state"] == "fresh", "fresh")
        volume.write({"app": "last"})
        readings = witness.wait_for(before + 2)

    assert [500, 1] == [len(reading) for reading in readings[before:]]


def test_three_volumes_that_change_together_are_one_reload(tmp_path: Path) -> None:
    """The kubelet swaps the volumes of a pod within milliseconds."""
    volumes = [KubeletVolume(tmp_path / "all" / name) for name in "abc"]
    for volume in volumes:
        volume.write({"app": "1"})
    directories = ",".join(str(volume.path) for volume in volumes)
    with (
        Witness(tmp_path / "all") as witness,
        sidecar(Path(directories), witness) as process,
    ):
        before = settled_at_start(process, witness)
        for volume in volumes:
            volume.write({"app": "2"})
        readings = witness.wait_for(before + 1)
        process.wait_for("change_detected", count=3)
        for volume in volumes:
            volume.write({"app": "3"})
        readings = witness.wait_for(before + 2)

    assert [{"2"}, {"3"}] == [set(reading.values()) for reading in readings[before:]]


def test_a_volume_that_is_being_prepared_is_waited_for(tmp_path: Path) -> None:
    """The kubelet writes the generation for a while, and then swaps: one sync."""
    first, second = (KubeletVolume(tmp_path / "all" / n, "links-before") for n in "ab")
    for volume in (first, second):
        volume.write({"app": "1"})
    directories = f"{first.path},{second.path}"
    with (
        Witness(tmp_path / "all") as witness,
        sidecar(Path(directories), witness, DEBOUNCE="1s") as process,
    ):
        before = settled_at_start(process, witness)
        first.write({"app": "2"})
        time.sleep(0.6)  # within the second that the first one is left to settle
        second.write({"app": "2"}, between=lambda: time.sleep(0.7))
        readings = witness.wait_for(before + 1)

    assert [{"2"}] == [set(reading.values()) for reading in readings[before:]]


def test_equal_content_is_no_change(volume: KubeletVolume, witness: Witness) -> None:
    """A new generation with the same content tells nobody anything."""
    with sidecar(volume.path, witness) as process:
        before = settled_at_start(process, witness)
        volume.write({"app": "1"})
        volume.write({"app": "1"})
        volume.write({"app": "2"})
        readings = witness.wait_for(before + 1)

    assert [{"app": "2"}] == readings[before:]


def test_a_plain_directory_works_in_place_and_by_rename(tmp_path: Path) -> None:
    """Git-sync and friends fill an emptyDir in their own ways."""
    (tmp_path / "plain").mkdir()
    app = tmp_path / "plain" / "app"
    app.write_text("1")
    with (
        Witness(app.parent) as witness,
        sidecar(app.parent, witness, DEBOUNCE="50ms") as process,
    ):
        before = settled_at_start(process, witness)
        app.write_text("2")
        witness.wait_for(before + 1)
        (tmp_path / "new").write_text("3")
        (tmp_path / "new").rename(app)
        witness.wait_for(before + 2)
        (app.parent / "a/b").mkdir(parents=True)
        (app.parent / "a/b/c").write_text("4")
        readings = witness.wait_for(before + 3)

    assert [
        {"app": "2"},
        {"app": "3"},
        {"app": "3", "a/b/c": "4"},
    ] == readings[before:]


def test_a_dangling_link_stops_nothing(tmp_path: Path) -> None:
    """An editor's lock file in a plain directory is one."""
    (tmp_path / "app").write_text("1")
    environment = {"DEBOUNCE": "50ms", "DEBOUNCE_MAX": "200ms"}
    with (
        Witness(tmp_path) as witness,
        sidecar(tmp_path, witness, **environment) as process,
    ):
        before = settled_at_start(process, witness)
        (tmp_path / "dangling").symlink_to("nowhere")
        (tmp_path / "app").write_text("2")
        readings = witness.wait_for(before + 1)

    assert {"app": "2", "dangling": "DANGLING"} == readings[before]


def test_a_volume_that_does_not_become_whole_is_named(
    volume: KubeletVolume, witness: Witness
) -> None:
    """It is waited for, for two minutes, and silence would look like being stuck."""
    environment = {"DEBOUNCE": "20ms", "DEBOUNCE_MAX": "200ms"}
    with sidecar(volume.path, witness, **environment) as process:
        before = settled_at_start(process, witness)

        def stall() -> None:
            noted = process.wait_for("warning", within=5)
            assert (
                f"{volume.path}: the links of app, new dangle"
                in (noted.facts["message"])
            )
            assert [noted.facts["message"]] == process.status()["warnings"]
            assert before == len(witness.readings)

        (volume.path / "app").unlink()
        volume.write({"app": "2", "new": "1"}, between=stall)
        witness.wait_for(before + 1)
        wait_until(lambda: [] == process.status()["warnings"], "the warning goes")


def test_a_large_file_stops_nothing_and_fills_no_memory(tmp_path: Path) -> None:
    """Content is hashed in pieces: 200 MiB pass through, none of them stay."""
    (tmp_path / "app").write_text("1")
    with Witness(tmp_path) as witness, sidecar(tmp_path, witness) as process:
        before = settled_at_start(process, witness)
        resident = _peak_mib(process.pid)
        with (tmp_path / "large").open("wb") as file:
            file.truncate(200 * 1024 * 1024)
        witness.wait_for(before + 1)

        assert 20 > _peak_mib(process.pid) - resident


def _peak_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def test_a_program_that_comes_later_is_told_nothing(volume: KubeletVolume) -> None:
    """It is looked for until it is there, and it read the new content by itself."""
    later = Witness(volume.path)
    with sidecar(volume.path, later) as process:
        failed = process.wait_for("reload_failed")
        assert "not_found" == failed.facts["reason"]
        assert "unknown" == process.target("process")["state"]
        with later:
            process.wait_for("already_fresh")
            assert "fresh" == process.target("process")["state"]

    assert [{"app": "1"}] == later.readings


def test_a_program_that_restarted_by_itself_is_left_alone(
    volume: KubeletVolume, witness: Witness
) -> None:
    """Its container restarted and read the new content at its start."""
    with sidecar(volume.path, witness, DEBOUNCE="1s") as process:
        settled_at_start(process, witness)
        written = volume.write({"app": "2"})
        witness.__exit__(None, None, None)
        wait_until(lambda: time.monotonic() > written + 0.2, "later than the swap")
        with Witness(volume.path) as restarted:
            process.wait_for("change_detected")
            process.wait_for("already_fresh")
            assert [{"app": "2"}] == restarted.readings


def test_a_program_that_does_not_handle_the_signal_is_not_killed(
    volume: KubeletVolume,
) -> None:
    """The default action of SIGHUP is to end a process."""
    with (
        Witness(volume.path, mode="default") as witness,
        sidecar(volume.path, witness) as process,
    ):
        failed = process.wait_for("reload_failed", count=3)
        assert witness.alive
        assert [] == process.events("signal_sent")
        target = process.target("process")

    assert "unhandled" == failed.facts["reason"]
    assert "SIGNAL_GUARD=false" in failed.facts["hint"]
    assert ("stale", "failed") == (target["state"], target["last_result"])


def test_a_signal_that_is_ignored_is_not_called_a_success(
    volume: KubeletVolume,
) -> None:
    """Sending it would do nothing, and then everybody would believe it did."""
    with (
        Witness(volume.path, mode="ignore") as witness,
        sidecar(volume.path, witness) as process,
    ):
        assert "ignored" == process.wait_for("reload_failed").facts["reason"]


def test_a_program_that_dies_of_the_signal_is_a_rejected_reload(
    volume: KubeletVolume,
) -> None:
    """Without the guard the user takes the risk; the outcome is still told."""
    with (
        Witness(volume.path, mode="default") as witness,
        sidecar(
            volume.path, witness, SIGNAL_GUARD="false", VERIFY_ALIVE="10s"
        ) as process,
    ):
        rejected = process.wait_for("reload_rejected")

    assert ("died", None) == (rejected.facts["reason"], rejected.facts["retry_in"])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "can't be read"),
        ("", "holds no PID"),
        ("nginx\n", "holds no PID"),
        ("4194304", "does not exist"),
    ],
)
def test_a_pid_file_heals_by_itself(
    volume: KubeletVolume, witness: Witness, tmp_path: Path, content: str, says: str
) -> None:
    """A PID file is written when the program is up, which may be after us."""
    pid_file = tmp_path / "app.pid"
    if content is not None:
        pid_file.write_text(content)
    environment = {"PID_FILE": str(pid_file)}
    with sidecar(volume.path, witness, **environment) as process:
        failed = process.wait_for("reload_failed")
        assert "pid_file" == failed.facts["reason"]
        assert says in failed.facts["detail"]
        pid_file.write_text(f"{witness.pid}\nmore lines\n")
        wait_until(lambda: process.target("process")["state"] == "fresh", "fresh")
        volume.write({"app": "2"})
        wait_until(lambda: witness.readings[-1] == {"app": "2"}, "it read the update")


def test_a_fifo_for_a_pid_file_holds_up_nothing(
    volume: KubeletVolume, witness: Witness, tmp_path: Path
) -> None:
    """To open one would wait for somebody to write."""
    os.mkfifo(tmp_path / "pid")
    with sidecar(volume.path, witness, PID_FILE=str(tmp_path / "pid")) as process:
        failed = process.wait_for("reload_failed", count=2)
        assert 200 == process.get("/healthz")[0]

    assert "not a regular file" in failed.facts["detail"]


def test_content_that_went_and_came_back_is_told_to_who_was_being_told(
    volume: KubeletVolume, witness: Witness
) -> None:
    """Told of A while B was there, it read B; and A is what it must hold."""
    with sidecar(volume.path, witness, VERIFY_ALIVE="2s", DEBOUNCE="500ms") as process:
        process.wait_for("reload_succeeded")
        before = len(witness.readings)
        volume.write({"app": "2"})
        witness.wait_for(before + 1)
        volume.write({"app": "3"})
        witness.signal(signal.SIGHUP)  # it reads what it was told of only now
        witness.wait_for(before + 2)
        volume.write({"app": "2"})
        readings = witness.wait_for(before + 3)
        process.wait_for("reload_succeeded", count=2)

    assert ["2", "3", "2"] == [reading["app"] for reading in readings[before:]]


def test_a_program_that_started_between_two_swaps_is_told_at_once(
    volume: KubeletVolume, witness: Witness
) -> None:
    """The content is what it was, but not what the program read; no poll may be due."""
    settings = {"PROCESS_SELECT": "all", "POLL_INTERVAL": "0", "DEBOUNCE": "1s"}
    with sidecar(volume.path, witness, **settings) as process:
        before = settled_at_start(process, witness)
        volume.write({"app": "2"})
        with Witness(volume.path) as between:
            volume.write({"app": "1"})
            readings = between.wait_for(2)

    assert [{"app": "2"}, {"app": "1"}] == readings
    assert before == len(witness.readings)


def test_a_volume_that_became_empty_holds_up_no_other(
    volume: KubeletVolume, witness: Witness, tmp_path: Path
) -> None:
    """An optional object was deleted, perhaps to be made again: that takes minutes."""
    optional = KubeletVolume(tmp_path / "optional")
    optional.write({"extra": "1"})
    both = Path(f"{volume.path},{optional.path}")
    with sidecar(both, witness) as process:
        before = settled_at_start(process, witness)
        optional.write({})
        volume.write({"app": "2"})
        witness.wait_for(before + 1)
        process.wait_for("signal_sent", count=before)
        assert 1 == len(process.events("change_detected"))


def test_a_program_that_its_supervisor_restarts_is_ended_once(
    volume: KubeletVolume, tmp_path: Path
) -> None:
    """Its parent is old, but it is new: to end it again would never end."""
    sleep = f"sleep 1000.{os.getpid()}"  # like no other on this machine
    script = f"while :; do {sleep}; echo again >> {tmp_path}/restarts; done"
    supervisor = subprocess.Popen(["sh", "-c", script], start_new_session=True)
    settings = {
        "WATCH_DIRS": str(volume.path),
        "PROCESS_CMDLINE": f"^{sleep}$",
        "RELOAD_SIGNAL": "SIGTERM",
        "CATCH_UP": "never",
        "POLL_INTERVAL": "200ms",
    }
    try:
        with SidecarProcess(settings | FAST) as process:
            process.wait_for("already_fresh")
            polls = turns(process)
            volume.write({"app": "2"})
            process.wait_for("reload_succeeded")
            wait_until(lambda: turns(process) > polls + 5, "several polls came round")
            assert 1 == len(process.events("signal_sent"))
    finally:
        os.killpg(supervisor.pid, signal.SIGKILL)
        supervisor.wait()

    assert "again\n" == (tmp_path / "restarts").read_text()


def turns(process: SidecarProcess) -> int:
    """Return how often the loop went to sleep: polls, and what we asked."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0])


def test_a_process_without_descriptors_goes_on(
    volume: KubeletVolume, witness: Witness
) -> None:
    """Too few of them made a peer blind and silent; here it is a failed attempt."""
    with sidecar(volume.path, witness) as process:
        before = settled_at_start(process, witness)
        soft, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        # stdin, stdout and stderr have the first three, and what is open stays open
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (3, hard))
        volume.write({"app": "2"})
        process.wait_for("warning")
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (soft, hard))
        readings = witness.wait_for(before + 1)

    assert [{"app": "2"}] == readings[before:]


def test_a_pid_file_older_than_its_process_means_another(
    volume: KubeletVolume, witness: Witness, tmp_path: Path
) -> None:
    """After a restart the PID may be given to somebody else."""
    pid_file = tmp_path / "app.pid"
    pid_file.write_text(str(witness.pid))
    os.utime(pid_file, (time.time() - 60, time.time() - 60))
    with sidecar(volume.path, witness, PID_FILE=str(pid_file)) as process:
        failed = process.wait_for("reload_failed")

    assert "is older than process" in failed.facts["detail"]
    assert 1 == len(witness.readings)


def test_a_hangup_to_the_sidecar_tells_everybody(
    volume: KubeletVolume, witness: Witness
) -> None:
    """The operator's way to say: tell all targets now."""
    with sidecar(volume.path, witness) as process:
        before = settled_at_start(process, witness)
        os.kill(process.pid, signal.SIGHUP)
        witness.wait_for(before + 1)


def test_a_storm_of_hangups_is_at_most_one_more_reload(
    volume: KubeletVolume, witness: Witness
) -> None:
    """A script in a loop must not make the program reload in a loop."""
    with sidecar(volume.path, witness, VERIFY_ALIVE="1s") as process:
        before = settled_at_start(process, witness)
        done = len(process.events("reload_succeeded"))
        for _ in range(500):
            os.kill(process.pid, signal.SIGHUP)
            time.sleep(0.001)
        process.wait_for("reload_succeeded", count=done + 2)
        # each of these is a turn of the loop, in which it would begin another
        assert [200] * 3 == [process.get("/healthz")[0] for _ in range(3)]
        assert "fresh" == process.target("process")["state"]
        os.kill(process.pid, signal.SIGHUP)
        process.wait_for("reload_succeeded", count=done + 3)

        assert before + 3 == len(witness.wait_for(before + 3))
        assert [] == process.events("reload_superseded")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_well(
    volume: KubeletVolume, witness: Witness, number: signal.Signals
) -> None:
    """A pod that is deleted must not wait for its sidecar."""
    with sidecar(volume.path, witness) as process:
        settled_at_start(process, witness)
        os.kill(process.pid, number)
        assert 0 == process.wait(within=5)
        process.wait_for("stopped", status=0)


def test_catching_up_can_be_switched_off(
    volume: KubeletVolume, witness: Witness
) -> None:
    """CATCH_UP=never waits for the next change."""
    with sidecar(volume.path, witness, CATCH_UP="never") as process:
        process.wait_for("already_fresh")
        volume.write({"app": "2"})
        witness.wait_for(2)

    assert [{"app": "1"}, {"app": "2"}] == witness.readings


def test_everybody_can_be_told_at_start(volume: KubeletVolume) -> None:
    """CATCH_UP=always tells the fresh ones too."""
    with Witness(volume.path) as witness:
        wait_until(lambda: time.time() > os.lstat(volume.data).st_ctime + 0.2, "later")
        with Witness(volume.path) as fresh:
            assert fresh.alive
            environment = {"CATCH_UP": "always", "PROCESS_SELECT": "all"}
            with sidecar(volume.path, witness, **environment):
                witness.wait_for(2)
                fresh.wait_for(2)


def run_once(volume: Path, witness: Witness, **env: str) -> tuple[int, list[str]]:
    """Run `once`; return its status and the names of its log events."""
    environment = {**os.environ, "WATCH_DIRS": str(volume), "LOG_FORMAT": "json"}
    done = subprocess.run(
        [sys.executable, "-m", "sidecar", "once"],
        env={**environment, **witness.selector(), **env},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, [
        json.loads(line)["event"] for line in done.stderr.splitlines()
    ]


def test_once_tells_who_is_stale_and_ends(volume: KubeletVolume) -> None:
    """For a job or a pipeline: one attempt, and the status says whether it helped."""
    with Witness(volume.path) as witness:
        volume.write({"app": "2"})
        status, events = run_once(volume.path, witness)
        witness.wait_for(2)

    assert 0 == status
    assert "reload_succeeded" in events


def test_once_fails_if_somebody_is_left_stale(volume: KubeletVolume) -> None:
    """One attempt, no retries."""
    with Witness(volume.path, mode="default") as witness:
        volume.write({"app": "2"})
        status, events = run_once(volume.path, witness)

    assert 1 == status
    assert 1 == events.count("reload_failed")


def test_an_update_while_the_volume_is_away_is_found(
    volume: KubeletVolume, witness: Witness, tmp_path: Path
) -> None:
    """A directory that is removed and made again left every peer blind."""
    with sidecar(volume.path, witness) as process:
        before = settled_at_start(process, witness)
        volume.path.rename(tmp_path / "away")
        process.wait_for("watch_degraded", reason="gone")
        assert "polling" == process.status()["watch_mode"]
        shutil.copytree(tmp_path / "away", volume.path, symlinks=True)
        volume.write({"app": "2"})
        process.wait_for("watch_restored")
        witness.wait_for(before + 1)
        volume.write({"app": "3"})
        readings = witness.wait_for(before + 2)

    assert [{"app": "2"}, {"app": "3"}] == readings[before:]


def test_the_log_names_keys_and_never_content(
    volume: KubeletVolume, witness: Witness
) -> None:
    """Logs go where secrets may not."""
    with sidecar(volume.path, witness) as process:
        before = settled_at_start(process, witness)
        volume.write({"app": "hunter2", "new": "hunter3"})
        witness.wait_for(before + 1)
        change = process.wait_for("change_detected").facts
        _, metrics = process.get("/metrics")
        seen = process.log + metrics + json.dumps(process.status())

    assert (["new"], ["app"], []) == (
        change["added"],
        change["changed"],
        change["removed"],
    )
    assert not re.search("hunter[23]", seen)
