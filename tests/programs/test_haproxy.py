"""HAProxy in master-worker mode reloads on SIGUSR2: the master executes itself anew."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubelet import KubeletVolume
from tests.loopback import free_port, get
from tests.programs.program import Program, reloading, require, wait_until_fresh
from tests.sidecar_process import SidecarProcess
from tests.waiting import wait_until


class HAProxy(Program):
    """A master with a worker, configured by the volume's haproxy.cfg."""

    def __init__(self, scratch: Path, volume: KubeletVolume) -> None:
        self.scratch = scratch
        self.port = free_port()
        self.volume = volume
        self.publish("one")
        haproxy = require("haproxy", "haproxy")
        configuration = volume.path / "haproxy.cfg"
        super().__init__([haproxy, "-W", "-db", "-f", configuration], scratch)

    def publish(self, text: str) -> None:
        configuration = f"""\
            global
                maxconn 64
            defaults
                mode http
                timeout connect 5s
                timeout client 5s
                timeout server 5s
            frontend page
                bind 127.0.0.1:{self.port}
                http-request return content-type text/plain string "{text}"
            """
        self.volume.write({"haproxy.cfg": textwrap.dedent(configuration)})

    def wait_until_it_serves(self, text: str) -> None:
        wait_until(lambda: get(self.port) == (200, text), f"HAProxy serves {text!r}")


@pytest.fixture
def haproxy(scratch: Path, volume: KubeletVolume) -> Iterator[HAProxy]:
    """A master with one worker that serves `one`."""
    with HAProxy(scratch, volume) as haproxy:
        haproxy.wait_until_it_serves("one")
        yield haproxy


@pytest.fixture
def sidecar(haproxy: HAProxy, volume: KubeletVolume) -> Iterator[SidecarProcess]:
    """Sends the signal that HAProxy understands as a reload."""
    with reloading(
        volume,
        PROCESS_NAME="haproxy",
        PROCESS_CMDLINE=re.escape(str(haproxy.scratch)),
        RELOAD_SIGNAL="SIGUSR2",
    ) as sidecar:
        yield sidecar


def test_haproxy_serves_an_update_from_a_new_worker(
    haproxy: HAProxy, sidecar: SidecarProcess
) -> None:
    """Only the master understands SIGUSR2; its worker has the same name."""
    before = haproxy.workers()
    told = len(sidecar.events("signal_sent"))

    haproxy.publish("two")

    haproxy.wait_until_it_serves("two")
    wait_until(lambda: not before & haproxy.workers(), "the old worker is gone")
    wait_until_fresh(sidecar)
    assert [haproxy.pid] == [
        event.facts["pid"] for event in sidecar.events("signal_sent")[told:]
    ]


def test_haproxy_keeps_serving_through_a_broken_update_and_takes_the_mended_one(
    haproxy: HAProxy, sidecar: SidecarProcess
) -> None:
    """A master that could not load keeps its old worker, and listens for the next."""
    haproxy.volume.write({"haproxy.cfg": "frontend page\n    bind nonsense\n"})
    wait_until(lambda: "Loading failure" in haproxy.log, "HAProxy refuses it")
    assert (200, "one") == get(haproxy.port)
    # for some 50 ms after it executed itself it catches the signal and forgets it
    wait_until_fresh(sidecar)

    haproxy.publish("three")

    haproxy.wait_until_it_serves("three")
    wait_until_fresh(sidecar)
    assert haproxy.alive
