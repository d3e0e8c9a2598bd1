"""`check` on a real machine: what it finds, and the status that it ends with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.hook import Hook
from tests.kubelet import KubeletVolume
from tests.sidecar_process import SidecarProcess
from tests.witness import Witness

Findings = dict[str, list[dict[str, str]]]


def check(*prefix: str, **env: str) -> tuple[int, Findings]:
    """Run `check --json`; return its status and what it found, by code."""
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "sidecar", "check", "--json"],
        env={"PATH": os.environ["PATH"], "HTTP_LISTEN": "127.0.0.1:0"} | env,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "" == done.stderr
    document = json.loads(done.stdout)
    assert done.returncode == document["status"]
    found: Findings = {}
    for finding in document["findings"]:
        found.setdefault(finding["code"], []).append(finding)
    return done.returncode, found


def test_nothing_wrong_is_status_0(
    volume: KubeletVolume, witness: Witness, tmp_path: Path
) -> None:
    """And nothing is a warning: this is no pod, and who is meant is there."""
    with Hook() as hook:
        status, found = check(
            WATCH_DIRS=str(volume.path),
            WEBHOOK_URL=hook.url,
            STATE_DIR=str(tmp_path),
            **witness.selector(),
        )
        assert [] == hook.requests  # a connection and no request

    assert 0 == status
    assert {
        *("settings", "volume", "process"),
        *("webhook", "inotify", "state", "port"),
    } == set(found)
    assert volume.generation in found["volume"][0]["text"]
    assert f"pid {witness.pid}" in found["process"][0]["subject"]


def test_every_problem_has_a_mend_and_makes_status_1(volume: KubeletVolume) -> None:
    """Whoever reads it wants to know what to change."""
    with Witness(volume.path, mode="default") as witness:
        status, found = check(
            WATCH_DIRS=str(volume.path),
            WEBHOOK_URL="http://127.0.0.1:1/?token=hunter2",
            **witness.selector(),
        )
    problems = [
        finding
        for same in found.values()
        for finding in same
        if finding["severity"] == "problem"
    ]

    assert 1 == status
    assert {"signal-unhandled", "webhook-unreachable"} == {
        problem["code"] for problem in problems
    }
    assert all(problem["mend"] for problem in problems)
    assert "hunter2" not in json.dumps(problems)


def test_nobody_to_signal_is_a_problem(volume: KubeletVolume) -> None:
    """Outside of a pod nobody can tell more than that."""
    status, found = check(
        WATCH_DIRS=str(volume.path), PROCESS_NAME="nobody-has-this-name"
    )

    assert 1 == status
    assert "mend PROCESS_NAME" in found["process-absent"][0]["mend"]
    assert "namespace-own" not in found


def test_a_pod_that_shares_no_processes_is_named(volume: KubeletVolume) -> None:
    """The commonest mistake: shareProcessNamespace is not set."""
    status, found = check(
        WATCH_DIRS=str(volume.path),
        PROCESS_NAME="nobody-has-this-name",
        POD_UID="0b3f7d26-3c5e-4f43-9d0b-5d4a9b1a1c11",
    )

    assert 1 == status
    [absent], [own] = found["process-absent"], found["namespace-own"]
    for finding in (absent, own):
        assert "set shareProcessNamespace: true" in finding["mend"]


def test_a_container_that_runs_its_program_itself_needs_no_shared_namespace(
    volume: KubeletVolume, witness: Witness
) -> None:
    """Whoever is visible can be signalled."""
    _, found = check(
        WATCH_DIRS=str(volume.path), POD_UID="0b3f7d26", **witness.selector()
    )

    assert "process" in found
    assert "namespace-own" not in found


def test_wrong_settings_are_status_2() -> None:
    """All of them, as the daemon says them."""
    status, found = check(WATCH_DIRS="/nowhere", DEBOUNCE="soon")

    assert 2 == status
    assert 3 == len(found["settings-wrong"])


def test_a_key_mounted_by_sub_path_is_found_here_and_in_the_program(
    volume: KubeletVolume, tmp_path: Path, own_mounts: list[str]
) -> None:
    """It will not change until its container restarts, whatever anybody sends."""
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    key = mounted / "app"
    key.touch()
    source = volume.path / volume.generation / "app"
    script = f'mount --bind {source} {key} && exec "$@"'
    there = subprocess.Popen([*own_mounts, script, "sh", "sleep", "1000"])
    try:
        status, found = check(
            *[*own_mounts, script, "sh"],
            WATCH_DIRS=str(mounted),
            PID_FILE=str(_pid_file(tmp_path, there.pid)),
            SIGNAL_GUARD="false",
        )
    finally:
        there.kill()
        there.wait()

    assert 1 == status
    here, program = found["sub-path"]
    assert f"{key} of this container" in here["text"]
    assert "of its container" in program["text"]
    assert "sleep" in program["subject"]


def _pid_file(directory: Path, pid: int) -> Path:
    file = directory / "pid"
    file.write_text(str(pid))
    return file


def test_the_running_sidecar_warns_of_what_stays_wrong(
    volume: KubeletVolume,
) -> None:
    """Who never runs `check` reads the log."""
    settings = {
        "WATCH_DIRS": str(volume.path),
        "PROCESS_NAME": "nobody-has-this-name",
        "POD_UID": "0b3f7d26",
        "DEBOUNCE_MS": "20",
    }
    with SidecarProcess(settings) as process:
        process.wait_for("warning", code="namespace-own")
        misspelt = process.wait_for("warning", code="settings-odd")
        warnings = process.status()["warnings"]

    assert "DEBOUNCE_MS" in misspelt.facts["message"]
    assert 2 == len(warnings)
