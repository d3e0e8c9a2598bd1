"""SIGTERM ends it within SHUTDOWN_TIMEOUT and a second, whatever it is at."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.hook import Answer, Hook
from tests.kubelet import KubeletVolume
from tests.sidecar_process import CHECKOUT, SidecarProcess
from tests.waiting import wait_until

FOR_EVER = r"^(a+)+$"
"""A search for this takes twice as long with each `a` of what is almost a match."""

ALMOST = "a" * 60 + "!"

SEARCHES = 1.0
"""Seconds of computing after the start that are no loading any more."""

BUSY = 1.0
"""Seconds that a busy machine may take for what takes none."""


@contextmanager
def searching(
    volume: KubeletVolume, where: str, shutdown_timeout: str
) -> Iterator[SidecarProcess]:
    """Run a sidecar whose loop is in the middle of a search without an end."""
    env = {"WATCH_DIRS": str(volume.path), "SHUTDOWN_TIMEOUT": shutdown_timeout}
    command = [sys.executable, "-c", "input()", ALMOST]
    program = subprocess.Popen(command, stdin=subprocess.PIPE)
    with Hook(lambda _request, _n: Answer(body=ALMOST)) as hook, program:
        if where == "PROCESS_CMDLINE":
            env |= {where: rf"input\(\) {FOR_EVER[1:]}"}
        else:
            env |= {"WEBHOOK_URL": hook.url, "VERIFY_URL": hook.url, where: FOR_EVER}
        with SidecarProcess(env) as sidecar:
            loaded = computed(sidecar.pid)
            wait_until(
                lambda: computed(sidecar.pid) > loaded + SEARCHES, "it searches", 60
            )
            yield sidecar
        program.terminate()


def computed(pid: int) -> float:
    """Return how long a process's main thread has computed, in seconds."""
    stat = Path(f"/proc/{pid}/task/{pid}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[11]) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("where", ["PROCESS_CMDLINE", "VERIFY_BODY", "VERIFY_CHANGES"])
def test_a_search_without_an_end_does_not_hold_up_the_end(
    volume: KubeletVolume, where: str
) -> None:
    """A pod that is deleted must not wait for its sidecar's SIGKILL."""
    with searching(volume, where, "1s") as sidecar:
        began = time.monotonic()
        os.kill(sidecar.pid, signal.SIGTERM)
        assert 0 == sidecar.wait(within=10)
        took = time.monotonic() - began
        stopped = sidecar.wait_for("stopped")

    assert 1.0 < took < 1.0 + 1.0 + BUSY
    assert "VERIFY_BODY" in stopped.facts["hint"]


@pytest.mark.parametrize("where", ["PROCESS_CMDLINE", "VERIFY_BODY"])
def test_a_second_signal_ends_even_that_at_once(
    volume: KubeletVolume, where: str
) -> None:
    """Whoever presses Ctrl-C twice means it."""
    with searching(volume, where, "1h") as sidecar:
        began = time.monotonic()
        os.kill(sidecar.pid, signal.SIGINT)
        os.kill(sidecar.pid, signal.SIGTERM)
        assert 0 == sidecar.wait(within=10)

    assert 1.0 + BUSY > time.monotonic() - began


def waits_to_write(pid: int) -> bool:
    """Whether a process waits in the kernel for room in a pipe."""
    return "pipe_write" in Path(f"/proc/{pid}/wchan").read_text()


def test_a_log_that_nobody_reads_does_not_hold_up_the_end(
    volume: KubeletVolume,
) -> None:
    """The pipe is full, and a line blocks until somebody empties it."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while os.write(writer, b"x"):
            pass
    except BlockingIOError:
        os.set_blocking(writer, True)
    with subprocess.Popen(
        [sys.executable, "-m", "sidecar"],
        cwd=CHECKOUT,
        env=os.environ
        | {
            "WATCH_DIRS": str(volume.path),
            "PROCESS_NAME": "nobody-has-this-name",
            "HTTP_LISTEN": "off",
            "SHUTDOWN_TIMEOUT": "1s",
        },
        stderr=writer,
    ) as sidecar:
        os.close(writer)
        wait_until(lambda: waits_to_write(sidecar.pid), "it waits for the log")
        sidecar.terminate()
        assert 0 == sidecar.wait(10)
        os.close(reader)
