"""Ctrl-C, at any moment, and what is left behind when a command has ended."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.api_server import refusal
from tests.cli.shop import NEW, Shop, holding
from tests.hook import Answer

ROOT = Path(__file__).parent.parent.parent
AND_TELL_WHO_IS_LEFT = """
import sys, threading
from sidecar.__main__ import main
status = main()
print(*(thread.name for thread in threading.enumerate()), file=sys.stderr)
sys.exit(status)
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended on a terminal."""

    status: int
    shown: str
    said: str
    """On stderr: the threads that were left, if all went well."""

    settings: tuple[list[object], list[object]]
    """Of the terminal, before and after."""


class Terminal:
    """A command that writes to a terminal of its own."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self._process, self._master = process, master
        self._before = termios.tcgetattr(master)
        self._shown = bytearray()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        # when the last who may write has closed it, reading fails with EIO: pty(7)
        while chunk := _read_until_closed(self._master):
            self._shown += chunk

    def press_ctrl_c(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def wait(self) -> Ended:
        _, said = self._process.communicate(timeout=60)
        after = termios.tcgetattr(self._master)
        self._reader.join()
        shown = self._shown.decode()
        settings = (self._before, after)
        return Ended(self._process.returncode, shown, said.decode(), settings)


def _read_until_closed(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""


@contextmanager
def on_a_terminal(*arguments: str) -> Iterator[Terminal]:
    """Start a command with a terminal for its table."""
    master, slave = pty.openpty()
    # what a shell starts in the background ignores Ctrl-C, and hands that down
    heeding = ["env", "--default-signal=INT", "TERM=xterm"]
    program = [sys.executable, "-c", AND_TELL_WHO_IS_LEFT]
    process = subprocess.Popen(
        [*heeding, *program, *arguments],
        cwd=ROOT,
        stdin=slave,
        stdout=slave,
        stderr=subprocess.PIPE,
    )
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        process.kill()
        process.communicate()
        os.close(master)


class Moment:
    """The moment at which so many are waiting for an answer."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._news = threading.Condition()
        self.came = 0

    def now(self) -> None:
        with self._news:
            self.came += 1
            self._news.notify_all()

    def wait(self) -> None:
        with self._news:
            assert self._news.wait_for(lambda: self.came >= self._count, 30)


def hang(shop: Shop, moment: Moment, hold: threading.Event) -> None:
    """Let every sidecar keep whoever asks it waiting."""

    def asked() -> Answer:
        moment.now()
        hold.wait(60)
        return Answer()

    for name in shop.api.sidecars:
        shop.api.sidecars[name] = asked


def be_busy(shop: Shop, moment: Moment, method: str) -> None:
    """Let the API server put off every such request."""

    def busy(asked: str, path: str) -> Answer | None:
        if asked != method or "proxy" in path:
            return None
        moment.now()
        return refusal(429, "busy", Retry_After="30")

    shop.api.troubles = busy


def assert_nothing_is_left(ended: Ended) -> None:
    """Neither words, nor a thread, nor a terminal without its cursor."""
    before, after = ended.settings
    assert (130, "MainThread\n", before) == (ended.status, ended.said, after)
    hidden, shown = map(ended.shown.rfind, ("\x1b[?25l", "\x1b[?25h"))
    assert hidden <= shown


@pytest.mark.parametrize(
    "command", [("status",), ("push",)], ids=lambda words: " ".join(words)
)
def test_it_ends_while_sidecars_do_not_answer(
    shop: Shop, command: tuple[str, ...]
) -> None:
    """Those that are asked may take their five seconds; nobody else is asked."""
    shop.add(*(f"web-{number:02}" for number in range(20)))
    moment, hold = Moment(8), threading.Event()
    hang(shop, moment, hold)
    try:
        with on_a_terminal(*command, "configmap/site", "-o", "table") as terminal:
            moment.wait()
            terminal.press_ctrl_c()
            ended = terminal.wait()
    finally:
        hold.set()

    assert_nothing_is_left(ended)
    assert 8 == moment.came


@pytest.mark.parametrize("options", [(), ("--no-wait",)], ids=["wait", "no-wait"])
def test_it_ends_while_the_server_puts_it_off(
    shop: Shop, options: tuple[str, ...]
) -> None:
    """The server asked for half a minute of patience, and nobody waits for that."""
    shop.add(*(f"web-{number:02}" for number in range(20)))
    moment = Moment(8)
    be_busy(shop, moment, "PATCH")
    with on_a_terminal("push", "configmap/site", "-o", "table", *options) as terminal:
        moment.wait()
        terminal.press_ctrl_c()
        ended = terminal.wait()

    assert_nothing_is_left(ended)
    assert 8 == moment.came


def test_what_was_seen_stays_in_sight(shop: Shop) -> None:
    """It is all that the person gets to know."""
    shop.add("web-0")
    moment, hold = Moment(1), threading.Event()
    hang(shop, moment, hold)
    try:
        with on_a_terminal("push", "configmap/site", "-o", "table") as terminal:
            moment.wait()
            terminal.press_ctrl_c()
            hold.set()
            ended = terminal.wait()
    finally:
        hold.set()

    erased_line = "\x1b[2K"
    assert "web-0" in ended.shown.rpartition(erased_line)[2]


def test_it_ends_before_there_is_anything_to_show(shop: Shop) -> None:
    """The first request may be the one that hangs."""
    moment = Moment(1)
    be_busy(shop, moment, "GET")
    with on_a_terminal("status", "configmap/site", "-o", "table") as terminal:
        moment.wait()
        terminal.press_ctrl_c()
        ended = terminal.wait()

    assert_nothing_is_left(ended)


def forbid(shop: Shop) -> None:
    """Let nobody patch: the first worker that is refused ends the round."""
    shop.api.troubles = lambda method, _path: (
        refusal(403, "no") if method == "PATCH" else None
    )


@pytest.mark.parametrize(
    ("arguments", "prepare", "status"),
    [
        (("push", "configmap/site"), lambda _shop: None, 0),
        (("push", "configmap/site", "--batch", "3"), lambda _shop: None, 0),
        (("push", "configmap/site", "--no-wait"), lambda _shop: None, 0),
        (("status", "configmap/site"), lambda _shop: None, 1),
        (("push", "configmap/site"), forbid, 2),
        (("push", "configmap/site", "--no-wait"), forbid, 2),
    ],
)
def test_no_thread_is_left_when_it_has_ended(
    shop: Shop, arguments: tuple[str, ...], prepare: Callable[[Shop], None], status: int
) -> None:
    """One that waits for ever would keep the process from ending."""
    shop.add(*(f"web-{number:02}" for number in range(20)))
    shop.add("web-99", said=holding(NEW))
    prepare(shop)
    with on_a_terminal(*arguments) as terminal:
        ended = terminal.wait()

    assert (status, "MainThread") == (ended.status, ended.said.splitlines()[-1])
