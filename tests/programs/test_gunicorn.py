"""gunicorn reloads on SIGHUP: new workers import the application, old ones retire."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubelet import KubeletVolume
from tests.loopback import free_port, get
from tests.programs.program import Program, reloading, require, wait_until_fresh
from tests.sidecar_process import SidecarProcess
from tests.waiting import wait_until

# It reads its configuration when a worker imports it, as many do. What it can't read it
# reports: an exception here would end the master too ("Worker failed to boot").
APPLICATION = """\
    import json, pathlib

    try:
        text = json.loads(pathlib.Path({file!r}).read_text())["text"]
        status = "200 OK"
    except ValueError:
        text, status = "broken", "503 Service Unavailable"

    def application(environ, start_response):
        start_response(status, [("Content-Type", "text/plain")])
        return [text.encode()]
    """


class Gunicorn(Program):
    """A master with two workers; each reads the volume's app.json at its start."""

    def __init__(self, scratch: Path, volume: KubeletVolume) -> None:
        self.port = free_port()
        self.volume = volume
        self.pid_file = scratch / "gunicorn.pid"
        self.publish("one")
        source = APPLICATION.format(file=str(volume.path / "app.json"))
        (scratch / "greeter.py").write_text(textwrap.dedent(source))
        options = ["--bind", f"127.0.0.1:{self.port}", "--workers", "2"]
        options += ["--pid", str(self.pid_file), "--chdir", str(scratch)]
        super().__init__(
            [require("gunicorn", "gunicorn"), *options, "greeter"], scratch
        )

    def publish(self, text: str) -> None:
        self.volume.write({"app.json": json.dumps({"text": text})})

    def wait_until_it_answers(self, status: int, text: str) -> None:
        wait_until(
            lambda: get(self.port) == (status, text), f"gunicorn serves {text!r}"
        )


@pytest.fixture
def gunicorn(scratch: Path, volume: KubeletVolume) -> Iterator[Gunicorn]:
    """A master with two workers that serve `one`."""
    with Gunicorn(scratch, volume) as gunicorn:
        gunicorn.wait_until_it_answers(200, "one")
        wait_until(lambda: len(gunicorn.workers()) == 2, "both workers are there")
        yield gunicorn


@pytest.fixture
def sidecar(gunicorn: Gunicorn, volume: KubeletVolume) -> Iterator[SidecarProcess]:
    """Finds the master by the PID file that it writes."""
    with reloading(volume, PID_FILE=gunicorn.pid_file) as sidecar:
        yield sidecar


def test_gunicorn_serves_an_update_from_new_workers(
    gunicorn: Gunicorn, sidecar: SidecarProcess
) -> None:
    """A worker reads once, so only workers that started after the update know it."""
    before = gunicorn.workers()
    told = len(sidecar.events("signal_sent"))

    gunicorn.publish("two")

    wait_until(lambda: not before & gunicorn.workers(), "the old workers are gone")
    gunicorn.wait_until_it_answers(200, "two")
    wait_until_fresh(sidecar)
    assert 2 == len(gunicorn.workers())
    assert [gunicorn.pid] == [
        event.facts["pid"] for event in sidecar.events("signal_sent")[told:]
    ]


def test_gunicorn_takes_a_mended_update_after_a_broken_one(
    gunicorn: Gunicorn, sidecar: SidecarProcess
) -> None:
    """The application can't use the broken file; the mend must reach new workers."""
    gunicorn.volume.write({"app.json": "nonsense"})
    gunicorn.wait_until_it_answers(503, "broken")

    gunicorn.publish("three")

    gunicorn.wait_until_it_answers(200, "three")
    wait_until_fresh(sidecar)
    assert gunicorn.alive
