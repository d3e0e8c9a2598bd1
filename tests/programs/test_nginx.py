"""nginx reloads on SIGHUP: its master starts new workers and retires the old ones."""

from __future__ import annotations

import os
import re
import signal
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubelet import KubeletVolume
from tests.loopback import free_port, get
from tests.programs.program import Program, reloading, require, wait_until_fresh
from tests.sidecar_process import SidecarProcess
from tests.waiting import wait_until


class Nginx(Program):
    """nginx whose whole configuration is the volume's nginx.conf."""

    def __init__(self, scratch: Path, volume: KubeletVolume) -> None:
        self.scratch = scratch
        self.port = free_port()
        self.volume = volume
        self.publish("one")
        nginx = require("nginx", "nginx-light")
        conf = volume.path / "nginx.conf"
        log = scratch / "error.log"
        options: list[str | Path] = [
            "-p",
            scratch,
            "-e",
            log,
            "-c",
            conf,
            "-g",
            "daemon off;",
        ]
        super().__init__([nginx, *options], scratch)

    def publish(self, text: str) -> None:
        self.volume.write({"nginx.conf": self.configuration(text)})

    def configuration(self, text: str) -> str:
        return textwrap.dedent(f"""\
            worker_processes 2;
            pid {self.scratch}/nginx.pid;
            error_log {self.scratch}/error.log;
            events {{}}
            http {{
                access_log off;
                client_body_temp_path {self.scratch}/body;
                proxy_temp_path {self.scratch}/proxy;
                fastcgi_temp_path {self.scratch}/fastcgi;
                uwsgi_temp_path {self.scratch}/uwsgi;
                scgi_temp_path {self.scratch}/scgi;
                server {{
                    listen 127.0.0.1:{self.port};
                    return 200 "{text}";
                }}
            }}
            """)

    def wait_until_it_serves(self, text: str) -> None:
        wait_until(lambda: get(self.port) == (200, text), f"nginx serves {text!r}")

    @property
    def errors(self) -> str:
        return (self.scratch / "error.log").read_text()


@pytest.fixture
def nginx(scratch: Path, volume: KubeletVolume) -> Iterator[Nginx]:
    """A master with two workers that serves `one`."""
    with Nginx(scratch, volume) as nginx:
        nginx.wait_until_it_serves("one")
        yield nginx


@pytest.fixture
def sidecar(nginx: Nginx, volume: KubeletVolume) -> Iterator[SidecarProcess]:
    """Finds this nginx by name, and by its command line among others."""
    with reloading(
        volume, PROCESS_NAME="nginx", PROCESS_CMDLINE=re.escape(str(nginx.scratch))
    ) as sidecar:
        yield sidecar


def test_nginx_serves_an_update_from_new_workers(
    nginx: Nginx, sidecar: SidecarProcess
) -> None:
    """The signal must reach the master: a worker with the same name would die of it."""
    before = nginx.workers()
    told = len(sidecar.events("signal_sent"))

    nginx.publish("two")

    nginx.wait_until_it_serves("two")
    wait_until(lambda: not before & nginx.workers(), "the old workers are gone")
    wait_until_fresh(sidecar)
    assert 2 == len(nginx.workers())
    assert [nginx.pid] == [
        event.facts["pid"] for event in sidecar.events("signal_sent")[told:]
    ]


def test_nginx_keeps_serving_through_a_broken_update_and_takes_the_mended_one(
    nginx: Nginx, sidecar: SidecarProcess
) -> None:
    """It refuses what it cannot read; the mend must reach it like any update."""
    nginx.volume.write({"nginx.conf": "http { nonsense"})
    wait_until(lambda: "[emerg]" in nginx.errors, "nginx refuses the configuration")
    assert (200, "one") == get(nginx.port)

    nginx.publish("three")

    nginx.wait_until_it_serves("three")
    wait_until_fresh(sidecar)
    assert nginx.alive


def test_nginx_proves_by_what_it_serves_that_it_took_the_content(
    nginx: Nginx,
) -> None:
    """It says nothing about a reload itself: a page that shows a version does."""
    nginx.publish("version 1")
    variables = {
        "PROCESS_NAME": "nginx",
        "PROCESS_CMDLINE": re.escape(str(nginx.scratch)),
        "VERIFY_URL": f"http://127.0.0.1:{nginx.port}/",
        "VERIFY_CHANGES": r"version (\S+)",
        "VERIFY_TIMEOUT": "1s",
        "CATCH_UP": "never",
    }
    os.kill(nginx.pid, signal.SIGHUP)
    nginx.wait_until_it_serves("version 1")
    with reloading(nginx.volume, **variables) as sidecar:
        nginx.publish("version 2")
        sidecar.wait_for("reload_succeeded")
        assert (200, "version 2") == get(nginx.port)

        nginx.volume.write({"nginx.conf": "http { nonsense"})
        sidecar.wait_for("reload_rejected", reason="not_verified", retry_in=None)
        assert (200, "version 2") == get(nginx.port)

        nginx.publish("version 3")
        sidecar.wait_for("reload_succeeded", count=2)
        assert (200, "version 3") == get(nginx.port)
