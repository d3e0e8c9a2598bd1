"""The sidecar as a user runs it: a process, its environment, its log, its endpoints.

Standard library only: the demo uses it too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

CHECKOUT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the sidecar's log."""

    name: str
    facts: Mapping[str, Any]  # what JSON can hold
    read_at: float
    """CLOCK_MONOTONIC when the line was read, in seconds."""

    def holds(self, facts: Mapping[str, object]) -> bool:
        return facts.items() <= self.facts.items()


class SidecarProcess:
    """`python -m sidecar` with nothing but `env` in its environment that is ours.

    It is started on entering the block, which waits for its `started` event, and
    ended on leaving it. A port is picked and the log is JSON unless `env` says else.
    `prefix` is a command that becomes the sidecar, as `env` or `unshare` do.
    """

    def __init__(
        self,
        env: Mapping[str, str | Path],
        args: Iterable[str] = (),
        prefix: Iterable[str] = (),
    ) -> None:
        defaults = {"HTTP_LISTEN": "127.0.0.1:0", "LOG_FORMAT": "json"}
        chosen = defaults | {name: str(value) for name, value in env.items()}
        self._environment = _inherited() | chosen
        self._command = [*prefix, sys.executable, "-m", "sidecar", *args]
        self._process: subprocess.Popen[str] | None = None
        self._lines: list[str] = []
        self._events: list[Event] = []
        self._ended = False
        self._news = threading.Condition()

    def __enter__(self) -> Self:
        self.start()
        try:
            self.wait_for("started")
        except BaseException:  # the block is not entered, so nobody else ends it
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        # a session of its own: Ctrl-C in the terminal goes to the test or the demo,
        # which then ends the sidecar in its own order
        self._process = subprocess.Popen(
            self._command,
            cwd=CHECKOUT,
            env=self._environment,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._read, args=[self._process], daemon=True).start()

    @property
    def pid(self) -> int:
        return self._running().pid

    @property
    def log(self) -> str:
        """Everything it wrote so far."""
        with self._news:
            return "".join(self._lines)

    def events(self, name: str, **facts: object) -> list[Event]:
        with self._news:
            return self._matching(name, facts)

    def wait_for(
        self, name: str, within: float = 15.0, count: int = 1, **facts: object
    ) -> Event:
        """Return the `count`th event of that name with those facts, once it is there.

        `within` is in seconds. Raises TimeoutError, and ChildProcessError if the
        sidecar ended without it; both carry its log.
        """
        with self._news:
            self._news.wait_for(
                lambda: self._ended or len(self._matching(name, facts)) >= count,
                timeout=within,
            )
            found = self._matching(name, facts)
            if len(found) >= count:
                return found[count - 1]
            wanted = f"{name} {facts} ({len(found)} of {count})"
            log = "".join(self._lines)
        if self._ended:
            raise ChildProcessError(f"the sidecar ended without {wanted}:\n{log}")
        raise TimeoutError(f"not within {within:g} s: {wanted}; its log:\n{log}")

    def wait(self, within: float = 15.0) -> int:
        """Return its exit status once it ended by itself; `within` is in seconds."""
        return self._running().wait(within)

    def stop(self, within: float = 15.0) -> int:
        """Send SIGTERM if it still runs; return its exit status."""
        process = self._running()
        process.terminate()
        try:
            return process.wait(within)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    @property
    def port(self) -> int:
        """Where its endpoints listen, as its log says."""
        port: int = self.wait_for("started").facts["port"]
        return port

    def get(self, path: str) -> tuple[int, str]:
        """Return the status and the body of one of its endpoints."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def status(self) -> dict[str, Any]:  # any JSON, as the contract shapes it
        document: dict[str, Any] = json.loads(self.get("/status")[1])
        return document

    def target(self, name: str) -> dict[str, Any]:
        """Return one target of `/status`; an empty one if it is not there yet."""
        targets = self.status()["targets"]
        return next((target for target in targets if target["name"] == name), {})

    def _running(self) -> subprocess.Popen[str]:
        assert self._process, "it was not started"
        return self._process

    def _matching(self, name: str, facts: Mapping[str, object]) -> list[Event]:
        named = (event for event in self._events if event.name == name)
        return [event for event in named if event.holds(facts)]

    def _read(self, process: subprocess.Popen[str]) -> None:
        """Note every line; runs on a thread of its own until the sidecar ends."""
        assert process.stderr
        with process.stderr:
            for line in process.stderr:
                self._note(line)
        with self._news:
            self._ended = True
            self._news.notify_all()

    def _note(self, line: str) -> None:
        event = _parse(line)
        with self._news:
            self._lines.append(line)
            if event:
                self._events.append(event)
            self._news.notify_all()


def _parse(line: str) -> Event | None:
    """Return the line's event; None for a line that is none, such as a traceback's."""
    try:
        facts = json.loads(line)
    except ValueError:
        return None
    if not isinstance(facts, dict) or "event" not in facts:
        return None
    return Event(str(facts.pop("event")), facts, time.monotonic())


def _inherited() -> dict[str, str]:
    """Return what a process needs of our environment and the sidecar does not read."""
    names = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONDONTWRITEBYTECODE")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    return kept | {"PYTHONPATH": str(CHECKOUT)}
