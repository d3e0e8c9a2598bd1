"""Health that is true, and an environment that stays our own."""

from __future__ import annotations

import ctypes
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kubelet import KubeletVolume
from tests.sidecar_process import SidecarProcess
from tests.waiting import wait_until
from tests.witness import Witness

BOUND = 10.0
"""Seconds without progress after which `/healthz` says so, as README states it."""

WITHOUT_CAPABILITIES = (
    "setpriv",
    "--securebits=+noroot",
    "--bounding-set=-all",
    "--inh-caps=-all",
    "--ambient-caps=-all",
)
"""Makes of root an ordinary uid in all but its number (setpriv(1))."""

PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207


def asleep(thread: int) -> bool:
    """Whether a thread waits in the kernel for descriptors, and for nothing else."""
    return "poll" in Path(f"/proc/{thread}/wchan").read_text()


@contextmanager
def stopped_thread(thread: int) -> Iterator[None]:
    """Stop one thread of a process as a debugger does; the others run on."""
    libc = ctypes.CDLL(None, use_errno=True)
    # pointers are 8 bytes; ctypes would pass ints of 4
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p]
    libc.ptrace.argtypes += [ctypes.c_void_p]

    def ptrace(request: int) -> None:
        if libc.ptrace(request, thread, None, None) == -1:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    try:
        ptrace(PTRACE_SEIZE)
    except PermissionError:
        pytest.skip("this machine does not let us stop a thread (CAP_SYS_PTRACE)")
    ptrace(PTRACE_INTERRUPT)
    os.waitpid(thread, 0x40000000)  # __WALL: it is no child of ours
    try:
        yield
    finally:
        ptrace(PTRACE_DETACH)


def test_a_loop_that_is_stuck_is_unhealthy_within_its_bound(
    volume: KubeletVolume, witness: Witness
) -> None:
    """A health endpoint that feeds itself never fails."""
    settings = {"WATCH_DIRS": str(volume.path), **witness.selector()}
    with SidecarProcess(settings) as process:
        assert 200 == process.get("/healthz")[0]
        # stopped with the interpreter's lock it would stop the endpoints, too
        wait_until(lambda: asleep(process.pid), "the loop waits for the next event")
        with stopped_thread(process.pid):
            began = time.monotonic()
            wait_until(lambda: process.get("/healthz")[0] == 503, "503", BOUND + 3)
            took = time.monotonic() - began
            _, reason = process.get("/healthz")
        wait_until(lambda: process.get("/healthz")[0] == 200, "it goes on")

    assert BOUND <= took
    assert "no progress" in reason


def test_readiness_can_wait_for_the_first_fresh_target(volume: KubeletVolume) -> None:
    """`first-fresh` holds a new pod back; the reason says for whom."""
    later = Witness(volume.path)
    settings = {"WATCH_DIRS": str(volume.path), "READY_WHEN": "first-fresh"}
    retry = {"RETRY_INITIAL": "50ms", "RETRY_MAX": "100ms"}
    with SidecarProcess(settings | retry | later.selector()) as process:
        process.wait_for("reload_failed")
        assert (503, "not fresh yet: process\n") == process.get("/readyz")
        with later:
            wait_until(lambda: process.get("/readyz")[0] == 200, "it is ready")


def test_readiness_by_default_is_watching(volume: KubeletVolume) -> None:
    """A program that does not reload still serves; its pod stays in the Service."""
    settings = {"WATCH_DIRS": str(volume.path), "PROCESS_NAME": "not-there-at-all"}
    with SidecarProcess(settings) as process:
        wait_until(lambda: process.get("/readyz")[0] == 200, "it is ready")
        assert "unknown" == process.target("process")["state"]


def test_a_process_of_the_same_uid_cannot_read_our_environment(
    volume: KubeletVolume, witness: Witness
) -> None:
    """With a shared process namespace the program could, credentials and all."""
    prefix = WITHOUT_CAPABILITIES if os.geteuid() == 0 else ()
    settings = {"WATCH_DIRS": str(volume.path), **witness.selector()}

    def read_environment(pid: int) -> subprocess.CompletedProcess[bytes]:
        command = [*prefix, "cat", f"/proc/{pid}/environ"]
        return subprocess.run(command, capture_output=True, check=False)

    with SidecarProcess(settings, prefix=prefix) as process:
        ours = read_environment(process.pid)
    other = subprocess.Popen([*prefix, "sleep", "1000"], env={**os.environ, "A": "b"})
    try:
        wait_until(lambda: read_environment(other.pid).stdout, "another can be read")
    finally:
        other.kill()
        other.wait()

    assert (b"", True) == (ours.stdout, b"Permission denied" in ours.stderr)
