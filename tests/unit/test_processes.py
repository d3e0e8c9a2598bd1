"""Matching over tables of processes, written by hand."""

from __future__ import annotations

import os
import re
from math import inf
from pathlib import Path

import pytest

from sidecar import processes
from sidecar.mounts import Container
from sidecar.proc import TICKS_PER_SECOND
from sidecar.processes import Found, Me, PidFile, Process, ProcessId, Table
from sidecar.settings import ProcessSettings

POD = Me(pid=50, ancestors=frozenset(), pod_uid="9f")
"""The sidecar in a pod with a shared process namespace."""


def process(pid: int, comm: str, *argv: str, ppid: int = 0, start: int = 0) -> Process:
    """Make a row; it starts `start` ticks after boot, or in the order of its PID."""
    return Process(ProcessId(pid, start or pid), ppid, comm, argv or (comm,))


def table(*rows: Process) -> Table:
    """Make a table, with the pause container's process in it."""
    return {row.id.pid: row for row in (process(1, "pause", "/pause"), *rows)}


def find(
    settings: ProcessSettings, rows: Table, me: Me = POD, seen: PidFile | None = None
) -> Found:
    """Find with every process in the pod's `web` container, run by uid 33."""
    return processes.find(
        settings,
        rows,
        me,
        container_of=lambda pid: Container("9f", "web" if pid < 20 else "other"),
        uid_of=lambda _pid: 33,
        pid_file_seen=seen,
    )


def pids(found: Found) -> list[int]:
    """Return whom it found."""
    return [match.process.id.pid for match in found.matches]


NGINX = table(
    process(7, "nginx", "nginx: master process nginx -g daemon off;"),
    process(8, "nginx", "nginx: worker process", ppid=7),
    process(6, "nginx", "nginx: worker process", ppid=7),
)


def test_the_topmost_match_is_the_master() -> None:
    """A worker with a lower PID, after PIDs have wrapped, is still a worker."""
    assert [7] == pids(find(ProcessSettings(names=("nginx",)), NGINX))


def test_all_matches_can_be_asked_for() -> None:
    """PROCESS_SELECT=all means the workers too."""
    settings = ProcessSettings(names=("nginx",), select="all")

    assert [6, 7, 8] == sorted(pids(find(settings, NGINX)))


def test_two_masters_are_two_roots() -> None:
    """Two containers of a pod may run the same program."""
    rows = table(process(7, "nginx"), process(27, "nginx"))

    assert [7, 27] == pids(find(ProcessSettings(names=("nginx",)), rows))


@pytest.mark.parametrize("name", ["prometheus-conf", "prometheus-config-reloader"])
def test_a_long_name_matches_cut_and_whole(name: str) -> None:
    """The kernel cuts `comm` at 15 characters; argv[0] has the rest."""
    rows = table(process(7, "prometheus-conf", "/bin/prometheus-config-reloader", "-x"))

    assert [7] == pids(find(ProcessSettings(names=(name,)), rows))


def test_every_selector_must_match() -> None:
    """Selectors narrow each other."""
    rows = table(process(7, "app", "app", "--a"), process(8, "app", "app", "--b"))
    settings = ProcessSettings(names=("app",), cmdline=re.compile("--b$"))

    assert [8] == pids(find(settings, rows))


def test_a_container_can_be_chosen() -> None:
    """The same program may run in two containers of a pod."""
    rows = table(process(7, "nginx"), process(27, "nginx"))
    settings = ProcessSettings(names=("nginx",), container="other")

    assert [27] == pids(find(settings, rows))


def test_a_process_of_another_pod_is_never_told() -> None:
    """With hostPID every process of the node is visible."""
    me = Me(pid=50, ancestors=frozenset(), pod_uid="another")

    assert [] == pids(find(ProcessSettings(names=("nginx",)), NGINX, me))


def test_a_shell_that_carries_the_program_is_not_the_program() -> None:
    """`sh -c 'app --serve'` has the program's command line and dies of SIGHUP."""
    rows = table(
        process(7, "sh", "/bin/sh", "-c", "app --serve"),
        process(8, "app", "app", "--serve", ppid=7),
    )

    assert [8] == pids(find(ProcessSettings(cmdline=re.compile("app --serve")), rows))


def test_a_shell_matches_by_its_own_name() -> None:
    """Who says `sh` means it."""
    rows = table(process(7, "sh", "/bin/sh", "-c", "app"))

    assert [7] == pids(find(ProcessSettings(names=("sh",)), rows))


def test_neither_the_pause_container_nor_the_sidecar_is_ever_meant() -> None:
    """Signalling PID 1 of a shared pod ends the pod."""
    rows = table(process(50, "python3", "python3", "-m", "sidecar"))

    assert [] == pids(find(ProcessSettings(cmdline=re.compile("")), rows))


def test_every_name_must_be_found() -> None:
    """Half of what was asked for is not success."""
    found = find(ProcessSettings(names=("nginx", "php-fpm")), NGINX)

    assert [7] == pids(found)
    assert found.problem is not None
    assert "not_found" == found.problem.reason
    assert "no process named php-fpm among the 4 visible" == found.problem.detail


def test_a_namespace_that_is_not_shared_is_told() -> None:
    """Alone in the process namespace, the pod spec is what to change."""
    alone = {1: process(1, "python3")}
    found = find(ProcessSettings(names=("app",)), alone, Me(1, frozenset()))

    assert found.problem is not None
    assert "shareProcessNamespace: true" in (found.problem.hint or "")


def started(pid: int, rows: Table, me: Me = POD) -> float:
    """Return when a process counts as started, in ticks."""
    return processes.chain_start(rows[pid], rows, me) * TICKS_PER_SECOND


def test_a_worker_is_as_old_as_its_master() -> None:
    """It inherited what the master read."""
    rows = table(process(7, "app", start=100), process(9, "app", ppid=7, start=900))

    assert 100 == started(9, rows)


def test_the_chain_ends_at_an_ancestor_of_the_sidecar() -> None:
    """What started us both says nothing of the program."""
    rows = table(process(3, "make", start=5), process(7, "app", ppid=3, start=100))

    assert 100 == started(7, rows, Me(50, frozenset({3, 2})))


def test_an_orphan_of_a_shared_namespace_is_older_than_any_swap() -> None:
    """Its parent is gone, and with it what it inherited from."""
    assert -inf == started(7, table(process(7, "app", ppid=1, start=900)))


def test_a_daemon_under_the_init_of_the_sidecar_is_as_old_as_itself() -> None:
    """Outside a pod PID 1 is above everybody."""
    rows = table(process(7, "app", ppid=1, start=900))

    assert 900 == started(7, rows, Me(50, frozenset({1})))


def test_a_circle_of_parents_makes_nobody_fresh() -> None:
    """A table is not read in one instant, and PIDs are used again."""
    rows = table(process(7, "app", ppid=8), process(8, "sh", ppid=7))

    assert -inf == started(7, rows)


def test_an_invisible_parent_makes_nobody_fresh() -> None:
    """What can't be known is not known."""
    assert -inf == started(7, table(process(7, "app", ppid=4, start=900)))


class _Clock:
    """The wall clock, as far as it is ahead of the time since boot; it can be set."""

    def __init__(self, offset: float) -> None:
        self.offset = offset

    def __call__(self) -> float:
        return self.offset


@pytest.mark.parametrize("step", [3600.0, -3600.0])
def test_a_pid_file_means_the_same_process_whatever_the_clock_is_set_to(
    tmp_path: Path, step: float
) -> None:
    """Set forward, the program seemed younger than its file, and was never told.

    Set back, whoever is given its PID later seemed to be meant.
    """
    file = tmp_path / "pid"
    settings = ProcessSettings(pid_file=file)
    clock = _Clock(1_000_000.0)
    seen = PidFile(clock)

    def found(start: float) -> list[int]:
        program = process(7, "app", start=int(start * TICKS_PER_SECOND))
        return pids(find(settings, table(program), seen=seen))

    file.write_text("7")
    os.utime(file, (clock.offset + 100, clock.offset + 100))
    assert [7] == found(start=99)
    clock.offset += step
    assert [7] == found(start=99)
    assert [] == found(start=200)
    os.utime(file, (clock.offset + 201, clock.offset + 201))
    assert [7] == found(start=200)
