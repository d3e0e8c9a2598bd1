"""SIGTERM ends it within SHUTDOWN_TIMEOUT and a second, whatever it is at.

Who was to find something out, and did not come to it, does not end as if all were well.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
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
    volume: KubeletVolume, where: str, shutdown_timeout: str, args: Iterable[str] = ()
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
        with SidecarProcess(env, args) as sidecar:
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


def fill(writer: int) -> None:
    """Leave no room in a pipe, for whoever writes there too."""
    # an opening of its own: theirs must go on to block
    own = os.open(f"/proc/self/fd/{writer}", os.O_WRONLY | os.O_NONBLOCK)
    with suppress(BlockingIOError):
        while os.write(own, b"x"):
            pass
    os.close(own)


def test_a_log_that_nobody_reads_does_not_hold_up_the_end(
    volume: KubeletVolume,
) -> None:
    """The pipe is full, and a line blocks until somebody empties it."""
    reader, writer = os.pipe()
    fill(writer)
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


def test_a_turn_that_takes_long_does_not_make_the_end_late(
    volume: KubeletVolume,
) -> None:
    """The time to finish counts from the signal, so nobody has to force the end."""
    reader, writer = os.pipe()
    reading, go_on = os.fdopen(reader), threading.Event()
    with (
        Hook(lambda _request, _n: Answer(hold=go_on)) as hook,
        subprocess.Popen(
            [sys.executable, "-m", "sidecar"],
            cwd=CHECKOUT,
            env=os.environ
            | {
                "WATCH_DIRS": str(volume.path),
                "WEBHOOK_URL": hook.url,
                "HTTP_LISTEN": "off",
                "CATCH_UP": "always",
                "SHUTDOWN_TIMEOUT": "2s",
            },
            stderr=writer,
        ) as sidecar,
        reading,
    ):
        hook.wait_for(1)
        fill(writer)
        volume.write({"app": "2"})
        wait_until(lambda: waits_to_write(sidecar.pid), "it waits for the log")
        began = time.monotonic()
        sidecar.terminate()
        wait_until(lambda: time.monotonic() > began + 1.5, "the turn took that long")
        os.close(writer)
        log = reading.read()
        assert 0 == sidecar.wait(10)
        go_on.set()

    stopped = log.splitlines()[-1]
    assert '"stopped"' in stopped
    assert "reason" not in stopped


def test_a_forced_end_of_once_is_no_success(volume: KubeletVolume) -> None:
    """A job that is told that all are fresh goes on with the next step."""
    with searching(volume, "PROCESS_CMDLINE", "0", ["once"]) as sidecar:
        os.kill(sidecar.pid, signal.SIGTERM)
        assert 1 == sidecar.wait(within=10)
        assert 1 == sidecar.wait_for("stopped").facts["status"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_check_that_is_cut_short_found_nothing_to_be_right(
    volume: KubeletVolume, number: signal.Signals
) -> None:
    """A server that takes the connection and says nothing holds it up for seconds."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        env = {
            "WATCH_DIRS": str(volume.path),
            "WEBHOOK_URL": f"https://127.0.0.1:{port}/",
            "HTTP_LISTEN": "off",
        }
        with subprocess.Popen(
            [sys.executable, "-m", "sidecar", "check"],
            cwd=CHECKOUT,
            env=os.environ | env,
            stdout=subprocess.PIPE,
        ) as check:
            silent.settimeout(15)
            with silent.accept()[0]:
                check.send_signal(number)
                assert 1 == check.wait(10)


@pytest.mark.parametrize(("args", "status"), [([], 0), (["once"], 1)])
def test_only_the_daemon_may_be_stopped_before_it_began(
    volume: KubeletVolume, args: list[str], status: int
) -> None:
    """A pod that is deleted while it starts is no failure; a job that is, is one."""
    with subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "sidecar", *args],
        cwd=CHECKOUT,
        env=os.environ | {"WATCH_DIRS": str(volume.path), "PROCESS_NAME": "nobody"},
        stderr=subprocess.PIPE,
        text=True,
    ) as early:
        assert early.stderr
        next(line for line in early.stderr if "ctypes" in line)  # after the handlers
        early.terminate()
        assert status == early.wait(10)
