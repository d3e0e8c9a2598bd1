"""Wrong settings as the operator meets them: a status, and a sentence for each."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
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
        ("ROLLOUT", "deployment/web"),
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
