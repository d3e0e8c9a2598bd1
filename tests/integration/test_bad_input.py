"""Wrong settings as the operator meets them: a status, and a sentence for each."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

FINE = {"WATCH_DIRS": "/", "PROCESS_NAME": "app", "HTTP_LISTEN": "off"}


def refused(env: dict[str, str]) -> list[str]:
    """Start the sidecar; return the problems that it names when it ends."""
    done = subprocess.run(
        [sys.executable, "-m", "sidecar"],
        env={"PATH": os.environ["PATH"], "LOG_FORMAT": "json", **env},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert 2 == done.returncode, done.stderr
    assert "" == done.stdout
    return [json.loads(line)["problem"] for line in done.stderr.splitlines()]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WATCH_DIRS", "/nowhere"),
        ("WATCH_DIRS", "/etc/hostname"),
        ("DEBOUNCE", "soon"),
        ("RELOAD_SIGNAL", "SIGNOTHING"),
        ("WEBHOOK_URL", "ftp://example.test"),
        ("WATCH_INCLUDE", "[a"),
        ("PROCESS_CMDLINE", "("),
        ("HTTP_LISTEN", "nowhere"),
        ("WEBHOOK_EXPECT_STATUS", "700"),
        ("PRESET", "ngnix"),
        ("ROLLOUT", "pod/web"),
    ],
)
def test_a_wrong_value_is_named(name: str, value: str) -> None:
    """The variable, the value, and what is accepted."""
    [problem] = refused(FINE | {name: value})

    assert problem.startswith(f"{name}=")
    assert value in problem


def test_everything_that_is_wrong_is_said_at_once() -> None:
    """An operator mends a manifest once, and not once per restart."""
    problems = refused({"WATCH_DIRS": "/nowhere", "DEBOUNCE": "soon"})

    assert 3 == len(problems)
    assert any("PROCESS_NAME" in problem for problem in problems)


def test_a_port_that_is_taken_is_a_wrong_setting() -> None:
    """Without endpoints nobody would know how the sidecar is."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        [problem] = refused(FINE | {"HTTP_LISTEN": address})

    assert "HTTP_LISTEN" in problem
    assert address in problem


def test_a_client_certificate_that_cannot_be_read_is_a_wrong_setting(
    tmp_path: Path,
) -> None:
    """It is not a thing that heals by waiting."""
    (tmp_path / "ca.pem").write_text("no certificate")
    webhook = {"WEBHOOK_URL": "https://127.0.0.1/"}
    [problem] = refused(FINE | webhook | {"WEBHOOK_CA_FILE": str(tmp_path / "ca.pem")})

    assert "WEBHOOK_CA_FILE" in problem


COMMANDS = (["check"], ["check", "--json"], ["--help"], ["check", "-h"], ["--version"])


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("stdout", [">/dev/full", ">&-", "| true"])
@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_what_nobody_can_read_is_no_success(
    arguments: list[str], stdout: str, unbuffered: str, tmp_path: Path
) -> None:
    """One line on stderr, and no traceback; a script that asks believes the status."""
    shell = f'"$@" {stdout}; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(
        ["bash", "-c", shell, "bash", sys.executable, "-m", "sidecar", *arguments],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONUNBUFFERED": unbuffered,
            **FINE,
            "WATCH_DIRS": str(tmp_path),
        },
        stderr=subprocess.PIPE,
        text=True,
        timeout=30,
        check=False,
    )

    assert 1 == done.returncode
    [line] = done.stderr.splitlines()
    assert line.startswith("stdout can't be written: ")


def once(tmp_path: Path, env: dict[str, str], shell: str = "") -> list[dict[str, str]]:
    """Run `once` in a shell that does something first; return its log."""
    (tmp_path / "volume").mkdir()
    command = f'{shell} exec "$@"'
    done = subprocess.run(
        ["sh", "-c", command, "sh", sys.executable, "-m", "sidecar", "once"],
        env={
            "PATH": os.environ["PATH"],
            "LOG_FORMAT": "json",
            "WATCH_DIRS": str(tmp_path / "volume"),
            **env,
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert 1 == done.returncode, done.stderr
    return [json.loads(line) for line in done.stderr.splitlines()]


def reason(log: list[dict[str, str]]) -> dict[str, str]:
    """Return the line that tells why the reload failed."""
    [line] = [line for line in log if line["event"] == "reload_failed"]
    return line


def test_a_pid_file_that_names_the_sidecar_says_so(tmp_path: Path) -> None:
    """A wrapper script wrote its own PID, and then became the sidecar."""
    file = tmp_path / "pid"
    failed = reason(once(tmp_path, {"PID_FILE": str(file)}, f"echo $$ >{file};"))

    assert "pid_file" == failed["reason"]
    assert failed["detail"].endswith(", the sidecar itself")


@pytest.mark.parametrize("content", ["9" * 4000, "99999999999", "0", "-1", "1e3"])
def test_a_pid_file_with_a_number_that_is_no_pid(tmp_path: Path, content: str) -> None:
    """What it holds instead is not repeated."""
    file = tmp_path / "pid"
    file.write_text(content)
    failed = reason(once(tmp_path, {"PID_FILE": str(file)}))

    assert f"PID_FILE {file} holds no PID" == failed["detail"]


@pytest.mark.parametrize("descriptors", [6, 7])
def test_too_few_descriptors_are_named(tmp_path: Path, descriptors: int) -> None:
    """However far it comes, it says what to raise."""
    log = once(tmp_path, {"PROCESS_NAME": "app"}, f"ulimit -n {descriptors};")

    assert any(
        "raise the limit of open files" in line.get(name, "")
        for line in log
        for name in ("problem", "message", "hint")
    )


def test_ctrl_c_while_it_loads_ends_it_quietly() -> None:
    """Loading takes a third of a second; who mistyped the command does not wait."""
    outcomes = set()
    for delay in range(0, 200, 10):
        process = subprocess.Popen(
            [sys.executable, "-m", "sidecar"],
            env={"PATH": os.environ["PATH"], **FINE},
            stderr=subprocess.PIPE,
        )
        with process:
            # Python's own start is not ours: it is over when the package is opened
            wait_until_ours(process.pid)
            time.sleep(delay / 1000)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)
        outcomes.add((process.returncode, b"Traceback" in errors))

    assert {(0, False)} == outcomes


def wait_until_ours(pid: int) -> None:
    """Wait until a process takes care of SIGHUP, which Python by itself does not."""
    within = time.monotonic() + 30
    while time.monotonic() < within:
        with suppress(OSError):
            status = Path(f"/proc/{pid}/status").read_text()
            ignored = int(status.split("SigIgn:")[1].split()[0], 16)
            if ignored & 1 << (signal.SIGHUP - 1):
                return
    raise TimeoutError
