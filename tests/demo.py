"""Three updates of a mounted configuration reach a running program, to watch.

`python -m tests.demo` uses the small program at the end of this file, `... nginx` a
real nginx. The volume is written as the kubelet writes it and the sidecar is the real
one; what is printed was measured or comes from the sidecar's own log. Exit status 0
only if every update arrived, by one signal each. Standard library only.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Protocol

from tests.kubelet import KubeletVolume
from tests.loopback import free_port, get
from tests.sidecar_process import CHECKOUT, Event, SidecarProcess
from tests.waiting import wait_until

Content = Mapping[str, str]
"""What a ConfigMap holds: names of keys, and their values."""

BOUND = 20.0
"""Seconds after which an update counts as lost."""


@dataclass(frozen=True, slots=True)
class Update:
    """One edit of the ConfigMap."""

    what: str
    content: Content


FIRST: Content = {"greeting": "hello"}
UPDATES = (
    Update("greeting becomes 'good day'", {"greeting": "good day"}),
    Update("colour is added", {"greeting": "good day", "colour": "green"}),
    Update("greeting is removed", {"colour": "green"}),
)
KEYS = ("colour", "greeting")


class Program(Protocol):
    """A program that reads a volume when it starts and again when it is told."""

    name: str
    selector: Mapping[str, str]
    """The sidecar's variables that find it."""

    def files(self, content: Content) -> Content:
        """Return the content as files that the program understands."""

    def start(self) -> subprocess.Popen[bytes]:
        """Start it in a session of its own, away from the terminal's Ctrl-C."""

    def served(self) -> Content | None:
        """Return the content that it serves now; None if it does not answer."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What became of one update. Times are CLOCK_MONOTONIC, in seconds."""

    update: Update
    renamed: float
    served: float
    change: Event
    signals: tuple[Event, ...]

    @property
    def seconds(self) -> float:
        return self.served - self.renamed


def main(arguments: list[str]) -> int:
    """Run the demo or, as `app DIRECTORY PORT`, the program that it reloads."""
    match arguments:
        case ["app", directory, port]:
            return serve(Path(directory), int(port))
        case []:
            return demonstrate(SmallProgram)
        case ["nginx"] if find_nginx():
            return demonstrate(Nginx)
        case ["nginx"]:
            complain("nginx is not installed (Debian, Ubuntu: apt install nginx-light)")
        case _:
            complain(f"APP={' '.join(arguments)} is not known: use APP=nginx, or none")
    return 2


def demonstrate(make: Callable[[Path, Path], Program]) -> int:
    """Play in a scratch directory, which is gone afterwards; return the exit status."""
    # as an exception, SIGTERM passes the blocks that end the children, like Ctrl-C
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with tempfile.TemporaryDirectory(prefix="reload-demo-") as scratch:
            volume = KubeletVolume(Path(scratch, "volume"))
            return play(make(Path(scratch), volume.path), volume)
    except KeyboardInterrupt:
        complain("\ninterrupted: everything is stopped and removed")
        return 130


def play(program: Program, volume: KubeletVolume) -> int:
    """Start everything, publish the updates, print, and end everything again."""
    volume.write(program.files(FIRST))
    sidecar = SidecarProcess({"WATCH_DIRS": volume.path, **program.selector})
    with ExitStack() as running:
        process = program.start()
        running.callback(end, process)
        try:
            wait_until(lambda: program.served() == FIRST, "the program is up", BOUND)
            running.enter_context(sidecar)
            introduce(program, process.pid, sidecar, volume)
            arrivals = [publish(update, program, sidecar, volume) for update in UPDATES]
        except (TimeoutError, ChildProcessError) as error:
            return failed(str(error).splitlines()[0], sidecar)
        return conclude(arrivals, process.poll(), sidecar)


def introduce(
    program: Program, pid: int, sidecar: SidecarProcess, volume: KubeletVolume
) -> None:
    """Say who is there, once the sidecar knows that the program is up to date."""
    wait_until(
        lambda: sidecar.target("process").get("state") == "fresh",
        "the sidecar finds the program up to date",
        BOUND,
    )
    say(f"{program.name}, pid {pid}, serves the configuration that it read from")
    say(f"  {volume.path}/, laid out as the kubelet mounts a ConfigMap")
    say(f"config-reload-sidecar, pid {sidecar.pid}, was started with")
    say(f"  WATCH_DIRS={volume.path}")
    say("".join(f"  {name}={value}\n" for name, value in program.selector.items()))
    say(f"{'update':<28}{'served after':>13}   the sidecar's log")


def publish(
    update: Update, program: Program, sidecar: SidecarProcess, volume: KubeletVolume
) -> Arrival:
    """Write one update, wait until the program serves it, and print its lines."""
    changes = len(sidecar.events("change_detected"))
    signals = len(sidecar.events("signal_sent"))
    reloads = len(sidecar.events("reload_succeeded"))
    renamed = volume.write(program.files(update.content))
    wait_until(lambda: program.served() == update.content, update.what, BOUND)
    served = time.monotonic()
    change = sidecar.wait_for("change_detected", BOUND, changes + 1)
    sidecar.wait_for("reload_succeeded", BOUND, reloads + 1)
    sent = tuple(sidecar.events("signal_sent")[signals:])
    arrival = Arrival(update, renamed, served, change, sent)
    show(arrival)
    return arrival


def show(arrival: Arrival) -> None:
    """Print one update: what was measured, and the log's events that explain it."""
    facts = arrival.change.facts
    kinds = [kind for kind in ("added", "changed", "removed") if facts.get(kind)]
    changed = "change_detected " + " ".join(
        f"{kind}={','.join(facts[kind])}" for kind in kinds
    )
    say(f"{arrival.update.what:<28}{milliseconds(arrival.seconds):>13}   {changed}")
    for sent in arrival.signals:
        after = milliseconds(sent.read_at - arrival.renamed)
        whom = f"{sent.facts.get('signal')} pid={sent.facts.get('pid')}"
        say(f"{'':<41}   signal_sent {whom} after {after}")


def conclude(
    arrivals: list[Arrival], ended: int | None, sidecar: SidecarProcess
) -> int:
    """Print the verdict; return the exit status."""
    signals = [len(arrival.signals) for arrival in arrivals]
    status = sidecar.stop()
    if ended is not None:
        return failed(f"the program ended with status {ended}", sidecar)
    if status:
        return failed(f"the sidecar ended with status {status}", sidecar)
    if set(signals) != {1}:
        return failed(f"{signals} signals were sent instead of one each", sidecar)
    slowest = milliseconds(max(arrival.seconds for arrival in arrivals))
    say(f"\nOK: {len(arrivals)} of {len(UPDATES)} updates arrived, by one signal each;")
    say(f"the slowest took {slowest}, of which 200 ms is DEBOUNCE, the wait for quiet.")
    return 0


def failed(reason: str, sidecar: SidecarProcess) -> int:
    """Say why, with all that the sidecar said; return the exit status."""
    complain(f"\nFAILED: {reason}\n\nThe sidecar's log:\n{sidecar.log}")
    return 1


def milliseconds(seconds: float) -> str:
    """Write a duration for people."""
    return f"{seconds * 1000:.0f} ms"


def say(text: str) -> None:
    """Print a line, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """Print a line to stderr."""
    sys.stderr.write(f"{text}\n")


def end(process: subprocess.Popen[bytes]) -> None:
    """End a child that we started, politely at first."""
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def find_nginx() -> str | None:
    """Return its path; Debian keeps it where an ordinary user's PATH does not look."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin"
    return shutil.which("nginx", path=path)


class Nginx:
    """A real nginx, everything it writes in `scratch`; each key makes one location."""

    name = "nginx"

    def __init__(self, scratch: Path, volume: Path) -> None:
        self._scratch = scratch
        self._volume = volume
        self._port = free_port()
        # the command line too: another nginx on this machine is not our business
        cmdline = re.escape(str(scratch))
        self.selector: Mapping[str, str] = {
            "PROCESS_NAME": "nginx",
            "PROCESS_CMDLINE": cmdline,
        }

    def files(self, content: Content) -> Content:
        body = 'location = /{} {{ default_type text/plain; return 200 "{}"; }}\n'
        return {key: body.format(key, value) for key, value in content.items()}

    def start(self) -> subprocess.Popen[bytes]:
        scratch = self._scratch
        configuration = f"""\
            pid {scratch}/nginx.pid;
            events {{}}
            http {{
                access_log off;
                client_body_temp_path {scratch}/body;
                proxy_temp_path {scratch}/proxy;
                fastcgi_temp_path {scratch}/fastcgi;
                uwsgi_temp_path {scratch}/uwsgi;
                scgi_temp_path {scratch}/scgi;
                server {{
                    listen 127.0.0.1:{self._port};
                    include {self._volume}/*;
                }}
            }}
            """
        main = scratch / "nginx.conf"
        main.write_text(textwrap.dedent(configuration))
        log = scratch / "error.log"
        return subprocess.Popen(
            [
                find_nginx() or "nginx",
                "-p",
                scratch,
                "-e",
                log,
                "-c",
                main,
                "-g",
                "daemon off;",
            ],
            start_new_session=True,
        )

    def served(self) -> Content | None:
        answers = {key: get(self._port, f"/{key}") for key in KEYS}
        if None in answers.values():
            return None
        found = {key: answer for key, answer in answers.items() if answer}
        return {key: body for key, (status, body) in found.items() if status == 200}


class SmallProgram:
    """`serve`, below, as a process of its own."""

    name = "A small program"

    def __init__(self, scratch: Path, volume: Path) -> None:
        self._volume = volume
        self._port = free_port()
        cmdline = re.escape(f"tests.demo app {scratch}")
        self.selector: Mapping[str, str] = {"PROCESS_CMDLINE": cmdline}

    def files(self, content: Content) -> Content:
        return content

    def start(self) -> subprocess.Popen[bytes]:
        arguments = ["app", str(self._volume), str(self._port)]
        return subprocess.Popen(
            [sys.executable, "-m", "tests.demo", *arguments],
            cwd=CHECKOUT,
            start_new_session=True,
        )

    def served(self) -> Content | None:
        answer = get(self._port, "/")
        if answer is None:
            return None
        content: Content = json.loads(answer[1])
        return content


def serve(directory: Path, port: int) -> int:
    """Serve `directory` as JSON on 127.0.0.1, and read it again on SIGHUP."""
    # the interpreter writes a byte for each signal, whatever it is doing: none is lost
    hangups, noted = os.pipe()
    os.set_blocking(noted, False)
    signal.set_wakeup_fd(noted)
    signal.signal(signal.SIGHUP, lambda *_: None)
    current = read(directory)

    class Handler(BaseHTTPRequestHandler):
        """Answers every GET with the configuration that was read last."""

        def do_GET(self) -> None:
            body = json.dumps(current).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
            """Keep the terminal for the demo."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    while os.read(hangups, 1):
        current = read(directory)
    return 0


def read(directory: Path) -> Content:
    """Return what a program sees of a volume: every visible file."""
    visible = (path for path in directory.iterdir() if not path.name.startswith("."))
    return {path.name: path.read_text() for path in visible}


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
