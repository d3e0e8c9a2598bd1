"""PostgreSQL reads its configuration again on SIGHUP to its postmaster."""

from __future__ import annotations

import os
import pwd
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubelet import KubeletVolume
from tests.programs.program import Program, reloading, require, wait_until_fresh
from tests.sidecar_process import SidecarProcess
from tests.waiting import wait_until


class PostgreSQL(Program):
    """A database whose settings include every .conf of the volume."""

    def __init__(self, scratch: Path, volume: KubeletVolume) -> None:
        self.scratch = scratch
        self.volume = volume
        self.publish("2MB")
        # Debian keeps them apart, one directory for each major version
        directories = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
        initdb = require("initdb", "postgresql", directories)
        postgres = require("postgres", "postgresql", directories)
        self._psql = require("psql", "postgresql-client", directories)
        data = make_database(initdb, scratch, volume.path)
        options = ["-D", str(data), "-k", str(scratch), "-c", "listen_addresses="]
        # SIGINT is its fast shutdown; SIGTERM would wait for clients
        super().__init__(
            [postgres, *options], scratch, user=owner(), end_with=signal.SIGINT
        )

    def publish(self, work_mem: str) -> None:
        self.volume.write({"memory.conf": f"work_mem = '{work_mem}'\n"})

    def wait_until_it_shows(self, work_mem: str) -> None:
        wait_until(
            lambda: self.show("work_mem") == work_mem, f"PostgreSQL shows {work_mem}"
        )

    def show(self, setting: str) -> str:
        """Return a setting as a new session sees it; nothing while it is not up."""
        socket = str(self.scratch)
        command = [self._psql, "-X", "-h", socket, "-U", "postgres", "-At"]
        result = subprocess.run(
            [*command, "-c", f"show {setting}"],
            capture_output=True,
            text=True,
            check=False,
        )
        return result.stdout.strip()


def owner() -> str | None:
    """Return whom the server runs as: it refuses root. None is whoever we are."""
    return "nobody" if os.geteuid() == 0 else None


def make_database(initdb: str, scratch: Path, included: Path) -> Path:
    """Make an empty database cluster that includes a directory; return where."""
    data = scratch / "data"
    data.mkdir(mode=0o700)
    user = owner()
    if user:
        os.chown(data, pwd.getpwnam(user).pw_uid, -1)
        os.chown(scratch, pwd.getpwnam(user).pw_uid, -1)
    options = ["-U", "postgres", "-A", "trust", "--no-sync", "--locale=C", "-E", "UTF8"]
    subprocess.run(
        [initdb, "-D", str(data), *options],
        check=True,
        capture_output=True,
        cwd=scratch,
        user=user,
    )
    with (data / "postgresql.conf").open("a") as settings:
        settings.write(f"fsync = off\ninclude_dir = '{included}'\n")
    return data


@pytest.fixture
def postgresql(scratch: Path, volume: KubeletVolume) -> Iterator[PostgreSQL]:
    """A server that shows 2 MB of work_mem."""
    with PostgreSQL(scratch, volume) as postgresql:
        postgresql.wait_until_it_shows("2MB")
        yield postgresql


@pytest.fixture
def sidecar(postgresql: PostgreSQL, volume: KubeletVolume) -> Iterator[SidecarProcess]:
    """Finds this postmaster by name, and by its files among others."""
    with reloading(
        volume,
        PROCESS_NAME="postgres",
        PROCESS_CMDLINE=re.escape(str(postgresql.scratch)),
    ) as sidecar:
        yield sidecar


def test_postgresql_shows_an_update_to_new_sessions(
    postgresql: PostgreSQL, sidecar: SidecarProcess
) -> None:
    """The postmaster passes the signal on; its children have the same name."""
    told = len(sidecar.events("signal_sent"))

    postgresql.publish("3MB")

    postgresql.wait_until_it_shows("3MB")
    wait_until_fresh(sidecar)
    assert [postgresql.pid] == [
        event.facts["pid"] for event in sidecar.events("signal_sent")[told:]
    ]


def test_postgresql_keeps_its_settings_through_a_broken_update_and_takes_the_mended_one(
    postgresql: PostgreSQL, sidecar: SidecarProcess
) -> None:
    """It refuses what it cannot read and says so in its log only."""
    postgresql.publish("plenty")
    wait_until(lambda: "contains errors" in postgresql.log, "PostgreSQL refuses it")
    assert "2MB" == postgresql.show("work_mem")

    postgresql.publish("5MB")

    postgresql.wait_until_it_shows("5MB")
    wait_until_fresh(sidecar)
    assert postgresql.alive
