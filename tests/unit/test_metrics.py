"""The metrics as a scraper sees them: the contract's names, labels and values."""

from __future__ import annotations

import io
import threading
from dataclasses import dataclass

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from sidecar.log import logger
from sidecar.metrics import Metrics
from sidecar.report import Report
from sidecar.settings import LogSettings
from sidecar.status import Result, State, TargetStatus, VolumeStatus

OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;q=0.3"

CONTRACT = {
    "config_reload_changes_total": {"volume"},
    "config_reload_reloads_total": {"target", "result"},
    "config_reload_attempts_total": {"target", "result"},
    "config_reload_reload_duration_seconds_bucket": {"target", "le"},
    "config_reload_reload_duration_seconds_count": {"target"},
    "config_reload_reload_duration_seconds_sum": {"target"},
    "config_reload_last_reload_successful": {"target"},
    "config_reload_last_success_timestamp_seconds": {"target"},
    "config_reload_stale_seconds": {"target"},
    "config_reload_config_info": {"volume", "digest"},
    "config_reload_published_timestamp_seconds": {"volume"},
    "config_reload_watch_mode": {"mode"},
    "config_reload_watch_errors_total": {"reason"},
    "config_reload_build_info": {"version", "python"},
}

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@dataclass
class Clock:
    """A clock that the test moves."""

    now: float

    def __call__(self) -> float:
        return self.now


@dataclass
class Scene:
    """A report with its metrics and its two clocks."""

    report: Report
    metrics: Metrics
    wall: Clock
    monotonic: Clock

    def value(self, name: str, **labels: str) -> float | None:
        text = self.metrics.render("")[0].decode()
        return samples(parse_text(text)).get((name, frozenset(labels.items())))


@pytest.fixture
def scene() -> Scene:
    """One target and two volumes, nothing told yet."""
    wall, monotonic = Clock(1_800_000_000.0), Clock(50.0)
    metrics = Metrics(monotonic)
    log = logger(LogSettings(), io.BytesIO())
    volumes = ("/etc/site", "/etc/tls")
    report = Report(log, metrics, ("process",), volumes, wall, monotonic)
    return Scene(report, metrics, wall, monotonic)


def samples(families: object) -> Samples:
    """Flatten what a parser made; the parsers have no types."""
    assert hasattr(families, "__iter__")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        if isinstance(family, Metric)
        for sample in family.samples
    }


def use_everything(report: Report) -> None:
    """Leave a sample in each of the metrics."""
    report.watching("inotify")
    report.volume(volume("aa"))
    report.reload_succeeded(target="process", attempts=1, started=0, seconds=0.1)


def volume(digest: str | None, published: float | None = 7.0) -> VolumeStatus:
    """Describe one of the volumes."""
    return VolumeStatus("/etc/site", "kubelet", "..1", published, digest, ("a",))


@pytest.mark.parametrize(
    ("accept", "parse"), [("text/plain", parse_text), (OPENMETRICS, parse_openmetrics)]
)
def test_the_names_and_labels_are_those_that_are_promised(
    scene: Scene, accept: str, parse: object
) -> None:
    """Both formats, read by prometheus_client's parsers; nothing more or less."""
    assert callable(parse)
    use_everything(scene.report)
    text = scene.metrics.render(accept)[0].decode()

    found: dict[str, set[str]] = {}
    for name, labels in samples(parse(text)):
        if not name.startswith("process_"):
            found.setdefault(name, set()).update(label for label, _ in labels)

    assert CONTRACT == found


def test_tells_of_its_own_process(scene: Scene) -> None:
    """Memory, descriptors and CPU, under the usual names."""
    text = scene.metrics.render("")[0].decode()
    names = {name for name, _ in samples(parse_text(text))}

    assert {
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_max_fds",
        "process_start_time_seconds",
        "process_virtual_memory_bytes",
    } == {name for name in names if name.startswith("process_")}


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        (OPENMETRICS, "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        (
            OPENMETRICS.title(),
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        (
            "application/openmetrics-text;version=9\r\n X-Bad: 1",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
    ],
)
def test_the_format_is_the_one_asked_for(scene: Scene, accept: str, kind: str) -> None:
    """And nothing of the client's own words comes back in a header."""
    assert kind == scene.metrics.render(accept)[1]


def test_counters_of_what_is_known_exist_from_the_start(scene: Scene) -> None:
    """`rate()` does not see the first increase of a series that is new."""
    value = scene.value

    assert 0 == value("config_reload_changes_total", volume="/etc/tls")
    for result in ("succeeded", "superseded", "failed", "rejected"):
        labels = {"target": "process", "result": result}
        assert 0 == value("config_reload_reloads_total", **labels)
    for result in ("succeeded", "rejected", "failed", "abandoned"):
        labels = {"target": "process", "result": result}
        assert 0 == value("config_reload_attempts_total", **labels)
    for reason in ("overflow", "limit", "gone", "other"):
        assert 0 == value("config_reload_watch_errors_total", reason=reason)


@pytest.mark.parametrize(
    "name", ["last_reload_successful", "last_success_timestamp_seconds"]
)
def test_says_nothing_of_reloads_before_there_was_one(scene: Scene, name: str) -> None:
    """A 0 would read as a failure, or as a success in 1970."""
    assert None is scene.value(f"config_reload_{name}", target="process")


def test_only_one_digest_of_a_volume_is_shown(scene: Scene) -> None:
    """Pods with different digests are compared by this series."""
    scene.report.volume(volume("aa"))
    scene.report.volume(volume("bb"))
    info = "config_reload_config_info"

    assert None is scene.value(info, volume="/etc/site", digest="aa")
    assert 1 == scene.value(info, volume="/etc/site", digest="bb")


def test_a_digest_that_may_not_be_shown_has_no_series(scene: Scene) -> None:
    """A Secret's, without a key to hide it by."""
    scene.report.volume(volume("aa"))
    scene.report.volume(volume(None, published=None))
    text = scene.metrics.render("")[0].decode()

    assert "config_reload_config_info{" not in text
    assert "config_reload_published_timestamp_seconds{" not in text


def test_staleness_grows_between_two_scrapes(scene: Scene) -> None:
    """Nothing happens while a target goes on being stale, and yet it must be seen."""
    stale = TargetStatus("process", State.STALE, stale_since=scene.wall.now - 10)
    scene.report.target(stale)
    assert 10 == scene.value("config_reload_stale_seconds", target="process")

    scene.monotonic.now += 5
    assert 15 == scene.value("config_reload_stale_seconds", target="process")

    scene.report.target(TargetStatus("process", State.FRESH))
    assert 0 == scene.value("config_reload_stale_seconds", target="process")


def test_a_step_of_the_wall_clock_makes_nobody_stale_for_longer(scene: Scene) -> None:
    """NTP may move it by hours after the start."""
    stale = TargetStatus("process", State.STALE, stale_since=scene.wall.now)
    scene.report.target(stale)
    scene.wall.now += 7200
    scene.report.target(stale)

    assert 0 == scene.value("config_reload_stale_seconds", target="process")


def test_a_success_is_counted_timed_and_dated(scene: Scene) -> None:
    """The metrics of one reload that went well."""
    scene.report.reload_succeeded(
        target="process", attempts=2, started=scene.wall.now - 3, seconds=0.04
    )
    value = scene.value

    assert 1 == value(
        "config_reload_reloads_total", target="process", result="succeeded"
    )
    assert 1 == value("config_reload_last_reload_successful", target="process")
    assert scene.wall.now == value(
        "config_reload_last_success_timestamp_seconds", target="process"
    )
    assert [0, 1] == [
        value("config_reload_reload_duration_seconds_bucket", target="process", le=le)
        for le in ("0.025", "0.05")
    ]


def test_a_reload_that_goes_on_failing_shows_at_once(scene: Scene) -> None:
    """A webhook that is down is retried for hours, and its reload does not end."""
    scene.report.reload_succeeded(target="process", attempts=1, started=0, seconds=1)
    scene.report.reload_failed(
        target="process",
        attempt=1,
        retry_in=1.0,
        reason="no_process",
        detail="d",
        hint=None,
    )

    assert 0 == scene.value("config_reload_last_reload_successful", target="process")


def test_superseded_is_neither_success_nor_failure(scene: Scene) -> None:
    """The reload of the newer content will say."""
    scene.report.reload_succeeded(target="process", attempts=1, started=0, seconds=1)
    scene.report.reload_superseded(target="process", attempts=1, started=0, seconds=1)

    assert 1 == scene.value("config_reload_last_reload_successful", target="process")
    assert [Result.SUCCEEDED, Result.SUPERSEDED] == [
        reload.result for reload in scene.report.status().reloads
    ]


def test_the_watch_mode_is_one_of_two(scene: Scene) -> None:
    """1 for the mode in use, 0 for the other."""
    scene.report.watching("inotify")
    scene.report.watch_degraded(reason="limit", detail="d", hint=None)
    name = "config_reload_watch_mode"

    assert [0, 1] == [scene.value(name, mode=mode) for mode in ("inotify", "polling")]
    assert 1 == scene.value("config_reload_watch_errors_total", reason="limit")


def test_a_reason_out_of_the_set_is_counted_as_other(scene: Scene) -> None:
    """Labels come from closed sets."""
    scene.report.watch_error("E2BIG")

    assert 1 == scene.value("config_reload_watch_errors_total", reason="other")


@pytest.mark.parametrize(
    ("accept", "parse"), [("text/plain", parse_text), (OPENMETRICS, parse_openmetrics)]
)
def test_a_path_may_hold_whatever_a_label_must_escape(
    accept: str, parse: object
) -> None:
    """Or one odd directory would make every metric unreadable."""
    assert callable(parse)
    odd = '/etc/a"b\\c\nd{e="f"} 7'
    metrics = Metrics()
    metrics.expect((), (odd,))
    found = samples(parse(metrics.render(accept)[0].decode()))

    assert 0 == found["config_reload_changes_total", frozenset({("volume", odd)})]


def test_a_reload_above_every_bound_is_counted(scene: Scene) -> None:
    """In +Inf only; and one on a bound, in that bucket."""
    for seconds in (120.0, 5000.0):
        scene.metrics.confirmed("process", 7.0, seconds)
    name = "config_reload_reload_duration_seconds"

    assert [0, 1, 2] == [
        scene.value(f"{name}_bucket", target="process", le=le)
        for le in ("60.0", "120.0", "+Inf")
    ]
    assert 2 == scene.value(f"{name}_count", target="process")
    assert 5120 == scene.value(f"{name}_sum", target="process")


def test_a_path_that_is_no_utf_8_does_not_break_the_scrape() -> None:
    """The formats are UTF-8, and one label that is not would cost them all."""
    metrics = Metrics()
    metrics.expect((), ("/etc/\udc80",))
    text = metrics.render("")[0].decode()

    labels = frozenset({("volume", "/etc/\\udc80")})
    assert 0 == samples(parse_text(text))["config_reload_changes_total", labels]


def test_any_thread_may_scrape_while_the_loop_reports(scene: Scene) -> None:
    """The endpoints' threads render what the loop's thread changes."""
    done = threading.Event()
    failures: list[Exception] = []

    def scrape() -> None:
        while not done.is_set():
            try:
                scene.metrics.render("")
                scene.report.status().as_json()
            except RuntimeError as error:
                failures.append(error)

    threads = [threading.Thread(target=scrape) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(300):
        scene.report.volume(volume(f"{number}" if number % 3 else None))
        scene.report.warning(f"{number}")
        scene.report.target(TargetStatus("process", attempts=number))
    done.set()
    for thread in threads:
        thread.join(timeout=30)

    assert [] == failures
