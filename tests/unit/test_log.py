"""One line an event, whatever is in it and whatever becomes of stderr."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytest

from sidecar.log import EVENTS, logger
from sidecar.metrics import Metrics
from sidecar.report import Report
from sidecar.settings import LogSettings
from sidecar.status import Result

HOSTILE = "a\nb\r\x1b[31m\u2028\u202e\x85 \udc80 \"'="


def lines(
    *warnings: object, shape: Literal["auto", "json", "console"] = "json"
) -> list[str]:
    """Log each value as a warning; return the lines that come out."""
    stream = io.BytesIO()
    log = logger(LogSettings(format=shape), stream)
    for value in warnings:
        log.warning("warning", message=value)
    return stream.getvalue().decode().removesuffix("\n").split("\n")


def test_a_line_of_json_has_its_keys_in_a_fixed_order() -> None:
    """Collectors parse them; people read the beginning of the line."""
    (line,) = lines("one")
    facts = json.loads(line)

    assert ["timestamp", "level", "event", "message"] == list(facts)
    assert ["warning", "warning", "one"] == [*facts.values()][1:]
    assert facts["timestamp"].endswith("Z")
    assert len("2026-11-22T11:53:56.123Z") == len(facts["timestamp"])


@pytest.mark.parametrize("shape", ["json", "console"])
def test_a_value_cannot_break_a_line(shape: Literal["json", "console"]) -> None:
    """A key's name may hold line ends, terminal sequences and bytes of no encoding."""
    written = lines(HOSTILE, *HOSTILE, shape=shape)

    assert 1 + len(HOSTILE) == len(written)
    assert [] == [line for line in written if not line.isprintable()]


def test_json_gives_back_what_was_logged() -> None:
    """Escaping loses nothing."""
    (line,) = lines(HOSTILE)

    assert HOSTILE == json.loads(line)["message"]


def test_the_console_quotes_only_what_could_be_misread() -> None:
    """People read it, so a plain value stays plain."""
    stream = io.BytesIO()
    log = logger(LogSettings(format="console"), stream)
    log.info("change_detected", added=("a.conf", "b c"), removed=(), more=None)

    head, _, rest = stream.getvalue().decode().partition(" info ")
    assert head.endswith("Z")
    assert "change_detected added=a.conf,'b c' removed=- more=-\n" == rest.lstrip()


def test_auto_is_json_where_stderr_is_no_terminal() -> None:
    """In a pod a collector reads it."""
    (line,) = lines("one", shape="auto")

    assert "one" == json.loads(line)["message"]


def test_auto_is_for_people_on_a_terminal() -> None:
    """A real terminal, because that is what is asked."""
    ours, theirs = os.openpty()
    try:
        with io.FileIO(theirs, "w", closefd=False) as terminal:
            logger(LogSettings(), terminal).warning("warning", message="one")
        line = os.read(ours, 1000).decode()
    finally:
        os.close(ours)
        os.close(theirs)

    assert line.endswith("warning warning message=one\r\n")


def test_levels_below_the_chosen_one_are_silent() -> None:
    """`LOG_LEVEL=error` leaves errors alone."""
    stream = io.BytesIO()
    log = logger(LogSettings(level="error", format="json"), stream)
    log.warning("warning")
    log.error("reload_rejected")

    assert 1 == stream.getvalue().count(b"\n")
    assert "reload_rejected" == json.loads(stream.getvalue())["event"]


def test_a_full_disk_costs_the_line_only() -> None:
    """ENOSPC: `/dev/full` fails every write, and the loop goes on."""
    with io.FileIO("/dev/full", "w") as full:
        logger(LogSettings(format="json"), full).warning("warning")


def test_a_collector_that_went_away_changes_no_exit_status() -> None:
    """EPIPE: what a buffer kept would fail again at the end, with status 120."""
    program = (
        "from sidecar.log import logger\n"
        "from sidecar.settings import LogSettings\n"
        "input()\n"
        "logger(LogSettings()).warning('warning')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.stderr
        assert process.stdin
        process.stderr.close()
        process.stdin.write(b"\n")
        process.stdin.close()

        assert 0 == process.wait(timeout=30)


def test_a_traceback_is_one_line_too() -> None:
    """A bug is logged with its traceback, as one event."""
    stream = io.BytesIO()
    log = logger(LogSettings(format="json"), stream)
    try:
        int(HOSTILE)
    except ValueError:
        log.exception("stopped")

    assert 1 == stream.getvalue().count(b"\n")
    assert "Traceback" in json.loads(stream.getvalue())["exception"]


def tell_everything(report: Report) -> None:
    """Call whatever logs."""
    report.started()
    report.change_detected(
        volume="/v", generation=None, added=(), changed=("k",), removed=()
    )
    report.reload_started(target="process", attempt=1)
    report.signal_sent(target="process", pid=7, uid=0, signal="SIGHUP", comm="nginx")
    report.webhook_called(target="webhook:1", url="http://a/", status=200, seconds=0.1)
    report.reload_succeeded(target="process", attempts=1, started=0, seconds=0.1)
    report.reload_superseded(target="process", attempts=1, started=0, seconds=0.1)
    for tell in (report.reload_failed, report.reload_rejected):
        tell(
            target="process",
            attempt=1,
            retry_in=0.51234,
            reason="no_process",
            detail="d",
            hint="h",
        )
    report.already_fresh("process")
    report.watch_degraded(reason="limit", detail="d", hint="h")
    report.watch_restored()
    report.warning("odd", key="k")
    report.stopped()


def told(stream: io.BytesIO) -> list[dict[str, object]]:
    """Read the lines back."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.fixture
def stream() -> io.BytesIO:
    """Where the report's lines are."""
    return io.BytesIO()


@pytest.fixture
def report(stream: io.BytesIO) -> Report:
    """A report of one target and one volume that writes to the stream."""
    log = logger(LogSettings(format="json"), stream)
    return Report(log, Metrics(), ("process",), ("/v",))


def test_lines_that_are_held_keep_their_order_and_time(
    report: Report, stream: io.BytesIO
) -> None:
    """The program is told before its lines are written, and they tell when."""
    with report.held():
        report.reload_started(target="process", attempt=1)
        said = datetime.now(UTC)
        time.sleep(0.05)  # a moment that can be seen in milliseconds
        report.already_fresh("process")
        assert not stream.getvalue()
    first, second = told(stream)

    assert ["reload_started", "already_fresh"] == [first["event"], second["event"]]
    assert datetime.fromisoformat(str(first["timestamp"])) <= said
    assert datetime.fromisoformat(str(second["timestamp"])) > said


class _Overdue(io.BytesIO):
    """A log that takes so long that the end is forced while it takes the first line."""

    def __init__(self) -> None:
        super().__init__()
        self.force: Callable[[], None] = lambda: None

    def write(self, line: Any) -> int:  # any buffer, as the standard library has it
        force, self.force = self.force, lambda: None
        force()
        return super().write(line)


def test_an_end_that_is_forced_during_a_line_loses_none() -> None:
    """Its handler runs in the middle of whatever holds everything up."""
    stream = _Overdue()
    log = logger(LogSettings(format="json"), stream)
    report = Report(log, Metrics(), ("process",), ("/v",))
    stream.force = lambda: report.stopped(status=1)
    with report.held():
        for target in ("one", "two"):
            report.already_fresh(target)
    written = [line.get("target", "stopped") for line in told(stream)]

    assert ["two", "stopped", "one"] == written


def test_what_is_held_is_written_however_it_ends(
    report: Report, stream: io.BytesIO
) -> None:
    """By a bug, or by an end that had to be forced: these are its last words."""
    with suppress(ZeroDivisionError), report.held():
        report.already_fresh("process")
        raise ZeroDivisionError
    with report.held():
        report.already_fresh("process")
        report.stopped(status=1)
        before = [line["event"] for line in told(stream)]

    assert ["already_fresh", "already_fresh", "stopped"] == before


def test_every_event_is_in_the_list_and_none_is_missing(
    report: Report, stream: io.BytesIO
) -> None:
    """The list is what people alert on."""
    tell_everything(report)

    assert sorted(EVENTS) == sorted(str(line["event"]) for line in told(stream))


def test_a_failed_attempt_says_why_and_what_to_do(
    report: Report, stream: io.BytesIO
) -> None:
    """Someone is woken by this line."""
    tell_everything(report)
    failed = {str(line["event"]): line for line in told(stream)}["reload_failed"]

    assert {
        "level": "warning",
        "event": "reload_failed",
        "target": "process",
        "attempt": 1,
        "retry_in": 0.512,
        "reason": "no_process",
        "detail": "d",
        "hint": "h",
    } == {name: fact for name, fact in failed.items() if name != "timestamp"}


def test_a_change_of_many_keys_is_a_short_line(
    report: Report, stream: io.BytesIO
) -> None:
    """A volume may have thousands, with names of any length."""
    names = tuple(f"{number}-{'x' * 4000}" for number in range(5000))
    report.change_detected(
        volume="/v", generation="..1", added=names, changed=names[:3], removed=()
    )
    (line,) = told(stream)

    assert [20, 3] == [len(str(line[kind]).split(",")) for kind in ("added", "changed")]
    assert 4980 == line["more"]
    assert len(stream.getvalue()) < 10_000


def test_a_warning_is_told_once(report: Report, stream: io.BytesIO) -> None:
    """The same key is unreadable at every look."""
    for _ in range(3):
        report.warning("odd")

    assert 1 == len(told(stream))
    assert ("odd",) == report.status().warnings


def test_warnings_are_bounded(report: Report) -> None:
    """The newest are kept."""
    for number in range(1000):
        report.warning(f"{number}")

    assert tuple(f"{number}" for number in range(950, 1000)) == report.status().warnings


def test_the_last_twenty_reloads_are_remembered(report: Report) -> None:
    """Newest last, as `/status` shows them."""
    for number in range(30):
        report.reload_ended(
            target="process",
            result=Result.FAILED,
            attempts=number,
            started=0,
            seconds=1,
            reason="no_process",
        )

    assert [*range(10, 30)] == [reload.attempts for reload in report.status().reloads]
