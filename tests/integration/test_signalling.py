"""Signals to real processes: who may be told, who may not, and what is said then."""

from __future__ import annotations

import errno
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sidecar import proc, processes
from sidecar.errors import ReloadError
from sidecar.proc import Credentials
from sidecar.process_target import ProcessTarget
from sidecar.processes import Me, Process, ProcessId
from sidecar.schedule import REJECTIONS
from sidecar.settings import ProcessSettings
from sidecar.signalling import Handle, guard, permitted
from tests.descriptors import no_descriptors
from tests.kubelet import KubeletVolume
from tests.sidecar_process import SidecarProcess
from tests.waiting import wait_until
from tests.witness import Witness


@contextmanager
def sleeper(user: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program that handles no signal, as a uid of its own if we may."""
    program = subprocess.Popen(["sleep", "1000"], user=user, group=user)
    try:
        yield program
    finally:
        program.kill()
        program.wait()


def row(pid: int) -> Process:
    """Read a process that is there."""
    process = processes.read_process(pid)
    assert process
    return process


def test_a_signal_goes_through_a_pidfd() -> None:
    """And the end of the process is seen through it."""
    with sleeper() as program, Handle(row(program.pid)) as handle:
        assert handle.alive()
        handle.send(signal.SIGTERM, lambda: True)
        program.wait(10)

        assert not handle.alive()


def test_a_process_that_is_no_longer_the_one_meant_is_spared() -> None:
    """Its PID was given to another, or it became another program."""
    with sleeper() as program:
        with Handle(row(program.pid)) as handle, pytest.raises(ReloadError) as caught:
            handle.send(signal.SIGTERM, lambda: False)

        assert "gone" == caught.value.reason
        assert program.poll() is None


def test_a_process_that_ended_is_gone() -> None:
    """Between looking and sending anything may end."""
    with sleeper() as program:
        process = row(program.pid)
    with pytest.raises(ReloadError) as caught:
        Handle(process)

    assert "gone" == caught.value.reason


@contextmanager
def acting_as(uid: int) -> Iterator[None]:
    """Act with another effective uid, which takes root's capabilities away."""
    if os.geteuid() != 0:
        pytest.skip("only root can act as another uid")
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_refused_signal_names_both_uids_and_the_mend() -> None:
    """KILL for a container that is not root is what everybody tries first."""
    with acting_as(0), sleeper(user=12345) as program:
        process = row(program.pid)
        with (
            acting_as(23456),
            Handle(process) as handle,
            pytest.raises(ReloadError) as caught,
        ):
            handle.send(signal.SIGHUP, lambda: True)

    assert "permission" == caught.value.reason
    assert (
        f"SIGHUP to sleep (pid {process.id.pid}, uid 12345) was refused:"
        " this container runs as uid 23456"
    ) == caught.value.detail
    assert "runAsUser: 12345" in str(caught.value.hint)
    assert "KILL does nothing" in str(caught.value.hint)


def who(uid: int, capabilities: int = 0) -> Credentials:
    """Return a container's process that runs as a uid."""
    return Credentials(uid, uid, uid, capabilities, caught=0, ignored=0, blocked=0)


KILL = 1 << 5


@pytest.mark.parametrize(
    ("us", "them", "delivered"),
    [
        # Kubernetes gives a non-root container no effective capability: KILL is 0 then
        (who(65532), who(1000), False),
        (who(0), who(1000), False),
        (who(0, KILL), who(1000), True),
        (who(1000), who(1000), True),
        (who(65532), who(0), False),
        (who(0), who(0), True),
    ],
)
def test_the_rule_of_kill_is_known(
    us: Credentials, them: Credentials, *, delivered: bool
) -> None:
    """What was measured on a kubelet, so that `check` can say it beforehand."""
    assert delivered == permitted(us, them)


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (signal.SIGHUP, "unhandled"),
        (signal.SIGUSR1, "ignored"),
        (signal.SIGUSR2, None),
        (signal.SIGWINCH, None),
        (signal.SIGTERM, None),
        (signal.SIGKILL, None),
    ],
)
def test_the_guard_asks_the_kernel(number: signal.Signals, reason: str | None) -> None:
    """What a signal would do stands in SigCgt, SigIgn and SigBlk of the process."""
    me = row(os.getpid())
    old = [
        (signal.SIGHUP, signal.signal(signal.SIGHUP, signal.SIG_DFL)),
        (signal.SIGUSR1, signal.signal(signal.SIGUSR1, signal.SIG_IGN)),
        (signal.SIGUSR2, signal.signal(signal.SIGUSR2, lambda *_: None)),
    ]
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGWINCH])
    try:
        masks = proc.credentials("self")
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for each, action in old:
            signal.signal(each, action)
    assert masks

    said = None
    try:
        guard(me, number, masks)
    except ReloadError as error:
        said = error.reason
    assert reason == said


def test_a_signal_that_ends_the_program_is_sent_once(volume: KubeletVolume) -> None:
    """In-place restart: the kubelet starts the container again, and that is all."""
    settings = {
        "WATCH_DIRS": str(volume.path),
        "RELOAD_SIGNAL": "SIGTERM",
        "VERIFY_TIMEOUT": "10s",
        "CATCH_UP": "never",
    }
    with (
        Witness(volume.path) as witness,
        SidecarProcess(settings | witness.selector()) as process,
    ):
        process.wait_for("already_fresh")
        volume.write({"app": "2"})
        wait_until(lambda: not witness.alive, "it was ended")
        with Witness(volume.path) as restarted:
            process.wait_for("reload_succeeded")
            wait_until(lambda: process.target("process")["state"] == "fresh", "fresh")
            assert 1 == len(process.events("signal_sent"))
            assert [{"app": "2"}] == restarted.readings


FORKING = """
import os, signal, sys
worker = os.fork()
if worker == 0:
    sys.stdin.read()
    os._exit(0)
print(worker, flush=True)
signal.pause()
"""
"""A master that ends at once, and a worker that goes on while there is input."""


@contextmanager
def forking(volume: KubeletVolume) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run a master; yield it and its worker's PID. The worker ends with its input."""
    with subprocess.Popen(
        [sys.executable, "-c", FORKING, str(volume.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as master:
        assert master.stdout
        try:
            yield master, int(master.stdout.readline())
        finally:
            master.kill()


def restarting(volume: KubeletVolume, verify_timeout: str) -> SidecarProcess:
    """Return a sidecar that ends the masters."""
    return SidecarProcess(
        {
            "WATCH_DIRS": str(volume.path),
            "PROCESS_CMDLINE": f"(?s)signal.pause.*{volume.path}$",
            "RELOAD_SIGNAL": "SIGTERM",
            "VERIFY_TIMEOUT": verify_timeout,
            "RETRY_INITIAL": "10ms",
            "CATCH_UP": "never",
        }
    )


def test_workers_of_a_master_that_was_ended_are_left_to_finish(
    volume: KubeletVolume,
) -> None:
    """They are at somebody's request, and the master was there for them no longer."""
    with (
        forking(volume) as (master, _),
        restarting(volume, "20s") as process,
    ):
        process.wait_for("already_fresh")
        volume.write({"app": "2"})
        assert -signal.SIGTERM == master.wait(15)
        with forking(volume):
            began = time.monotonic()
            wait_until(lambda: time.monotonic() > began + 1.2, "it looked twice")
            assert master.stdin
            master.stdin.close()
            succeeded = process.wait_for("reload_succeeded")
            wait_until(lambda: process.target("process")["state"] == "fresh", "fresh")
            sent = process.events("signal_sent")

    assert [master.pid] == [event.facts["pid"] for event in sent]
    assert 1 == succeeded.facts["attempts"]


def test_workers_that_never_finish_are_told_in_the_end(volume: KubeletVolume) -> None:
    """They serve the old content, and VERIFY_TIMEOUT is how long that may take."""
    with (
        forking(volume) as (master, worker),
        restarting(volume, "1s") as process,
    ):
        process.wait_for("already_fresh")
        volume.write({"app": "2"})
        assert -signal.SIGTERM == master.wait(15)
        with forking(volume):
            process.wait_for("reload_succeeded")
            wait_until(lambda: process.target("process")["state"] == "fresh", "fresh")
            first, second = process.events("signal_sent")

    assert [master.pid, worker] == [first.facts["pid"], second.facts["pid"]]
    assert 0.9 < second.read_at - first.read_at


def test_workers_do_not_take_the_place_of_their_master(volume: KubeletVolume) -> None:
    """They are younger than it, and hold what it had read."""
    with (
        forking(volume) as (master, _),
        restarting(volume, "500ms") as process,
    ):
        process.wait_for("already_fresh")
        volume.write({"app": "2"})
        rejected = process.wait_for("reload_rejected")

    assert f"(pid {master.pid}) ended, but nothing" in rejected.facts["detail"]


def test_a_program_that_does_not_come_back_is_rejected(volume: KubeletVolume) -> None:
    """`restartPolicy: Never`, or a configuration that it can't start with."""
    settings = {
        "WATCH_DIRS": str(volume.path),
        "RELOAD_SIGNAL": "SIGKILL",
        "VERIFY_TIMEOUT": "300ms",
        "CATCH_UP": "always",
    }
    with (
        Witness(volume.path) as witness,
        SidecarProcess(settings | witness.selector()) as process,
    ):
        rejected = process.wait_for("reload_rejected")
        assert 1 == len(process.events("signal_sent"))

    assert ("not_restarted", None) == (
        rejected.facts["reason"],
        rejected.facts["retry_in"],
    )
    assert "nothing took its place" in rejected.facts["detail"]


def test_a_rejection_stays_the_last_word_when_who_could_not_be_told_is_gone(
    volume: KubeletVolume,
) -> None:
    """The failures that came after it held the reload up, and did not end it."""
    settings = {
        "WATCH_DIRS": str(volume.path),
        "PROCESS_SELECT": "all",
        "PROCESS_CMDLINE": f"witness.py {volume.path} ",
        "VERIFY_ALIVE": "0",
        "VERIFY_URL": "http://127.0.0.1:1/",
        "VERIFY_TIMEOUT": "100ms",
        "RETRY_INITIAL": "20ms",
        "RETRY_MAX": "100ms",
        "CATCH_UP": "always",
    }
    with (
        Witness(volume.path),
        Witness(volume.path, mode="default") as refused,
        SidecarProcess(settings) as process,
    ):
        process.wait_for("reload_rejected", count=REJECTIONS)
        process.wait_for("reload_failed", attempt=REJECTIONS + 1)
        refused.signal(signal.SIGKILL)
        rejected = process.wait_for("reload_rejected", count=REJECTIONS + 1)
        wait_until(lambda: process.status()["reloads"], "it ended")
        target, [reload] = process.target("process"), process.status()["reloads"]
        reasons = {one.facts["reason"] for one in process.events("reload_rejected")}

    assert "died" not in reasons
    assert {reload["reason"]} == reasons
    assert None is rejected.facts["retry_in"]
    assert ("rejected", rejected.facts["detail"]) == (
        target["last_result"],
        target["last_error"],
    )


def refusing(error: int) -> list[str]:
    """Return what starts a sidecar whose pidfd_send_signal(2) ends with an error."""
    return [sys.executable, "-m", "tests.seccomp", str(error)]


def test_a_profile_that_knows_only_half_of_pidfds_is_no_hindrance(
    volume: KubeletVolume,
) -> None:
    """Whoever may open one but knows nothing of sending through it has kill(2)."""
    with Witness(volume.path) as witness:
        settings = {"WATCH_DIRS": str(volume.path), **witness.selector()}
        with SidecarProcess(settings, prefix=refusing(errno.ENOSYS)) as process:
            wait_until(lambda: process.target("process")["state"] == "fresh", "fresh")
            volume.write({"app": "2"})
            wait_until(lambda: witness.readings[-1] == {"app": "2"}, "it read that")


def test_a_signal_that_cannot_be_sent_is_not_blamed_on_descriptors(
    volume: KubeletVolume,
) -> None:
    """The hint to raise the limit of open files led nowhere."""
    with Witness(volume.path) as witness:
        settings = {
            "WATCH_DIRS": str(volume.path),
            "CATCH_UP": "always",
            **witness.selector(),
        }
        with SidecarProcess(settings, prefix=refusing(errno.EIO)) as process:
            failed = process.wait_for("reload_failed")

    assert "permission" == failed.facts["reason"]
    assert "could not be sent: Input/output error" in failed.facts["detail"]
    assert "seccomp" in failed.facts["hint"]


def test_who_came_since_the_last_look_is_told_in_the_same_attempt(
    volume: KubeletVolume,
) -> None:
    """Who is known is told first, without a look at every process of the machine."""
    environment = {"WATCH_DIRS": str(volume.path), "VERIFY_ALIVE": "0"}
    with (
        Witness(volume.path) as known,
        SidecarProcess({**environment, **known.selector()}) as process,
    ):
        wait_until(
            lambda: process.target("process")["state"] == "fresh", "fresh at start"
        )
        before = len(process.events("signal_sent"))
        with Witness(volume.path) as late:
            volume.write({"app": "changed"})
            succeeded = process.wait_for("reload_succeeded", count=before + 1)
            told = process.events("signal_sent")[before:]

            assert [known.pid, late.pid] == [event.facts["pid"] for event in told]
            assert 1 == succeeded.facts["attempts"]


MASTER = """
import os, sys
if os.fork():
    input()
    os.execvp(sys.executable, ["app-that-execs", "-c", "import time; time.sleep(1000)"])
os.execvp(sys.executable, ["app-that-execs", "-c", "import time; time.sleep(1000)"])
"""


class _Edge:
    """What a target that only looks around needs of the loop."""

    def add(self, descriptor: int) -> None: ...

    def remove(self, descriptor: int) -> None: ...

    def signal_sent(
        self, *, target: str, pid: int, uid: int, signal: str, comm: str
    ) -> None: ...


def found(target: ProcessTarget) -> list[int]:
    """Look who is to be told."""
    target.plan(quiet=True)
    return [each.pid for each in target.status().processes]


def test_who_was_found_is_not_told_once_somebody_above_him_is_meant() -> None:
    """An entry point starts a helper by the program's name, and then becomes it."""
    settings = ProcessSettings(names=("app-that-execs",), guard=False)
    target = ProcessTarget(
        settings,
        pod_uid=None,
        alive=0.0,
        restart_timeout=1.0,
        verification=None,
        wakes=(edge := _Edge()),
        notes=edge,
    )
    target.settled(math.inf)
    command = [sys.executable, "-c", MASTER]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as above:
        try:
            wait_until(lambda: bool(found(target)), "the helper runs")
            [helper] = found(target)
            assert above.stdin
            above.stdin.write(b"\n")
            above.stdin.flush()
            wait_until(
                lambda: "app-that-execs" in row(above.pid).names,
                "it became the program",
            )
            assert [above.pid] == found(target)
        finally:
            os.kill(helper, signal.SIGKILL)
            above.kill()


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["cat", "-", "two words"], ("cat", "-", "two words")),
        (["cat", "-", "x" * 9000], ("cat", "-", "x" * 9000)),
        (["cat", "-", ""], ("cat", "-", "")),
        (["app: master process"], ("app:", "master", "process")),
        (["app"], ("app",)),
    ],
)
def test_arguments_are_told_apart_also_in_a_title(
    argv: list[str], expected: tuple[str, ...]
) -> None:
    """A program that writes a title over its arguments puts spaces between words."""
    with subprocess.Popen([*argv], executable="tail", stdin=subprocess.PIPE) as program:
        try:  # while it is being executed there are none, or not all
            wait_until(
                lambda: expected == proc.arguments(program.pid),
                f"it has the arguments {expected}",
            )
        finally:
            program.kill()


def test_nothing_is_read_of_a_process_that_is_gone_or_a_zombie() -> None:
    """One that ended waits for its parent, with a name and no more."""
    with subprocess.Popen(["true"]) as program:
        os.waitid(os.P_PID, program.pid, os.WEXITED | os.WNOWAIT)
        assert processes.read_process(program.pid) is None
    assert proc.stat(program.pid) is None
    assert proc.arguments(program.pid) is None
    assert proc.credentials(program.pid) is None
    assert "" == proc.mountinfo(program.pid)


def test_a_process_whose_container_cannot_be_read_now_is_not_taken_for_ours() -> None:
    """A mount table that says nothing means "unknown", and unknown ones are told."""
    settings = ProcessSettings(names=("nginx",))
    nginx = Process(ProcessId(os.getpid(), 1), 0, "nginx", ("nginx",))
    me = Me(pid=4242, ancestors=frozenset(), pod_uid="ours")
    with no_descriptors(), pytest.raises(OSError, match="Too many open files"):
        processes.find(
            settings, {nginx.id.pid: nginx}, me, uid_of=lambda _pid: os.getuid()
        )


def _executes(pid: int, name: str) -> bool:
    process = processes.read_process(pid)
    return process is not None and process.comm == name
