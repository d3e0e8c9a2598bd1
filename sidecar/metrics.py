"""The numbers that people alert on, in a registry of their own.

Series of the targets and volumes that are known exist from the start, at 0, because
the first increase of a series that was not there before is invisible to `rate()`.
What nothing is known of yet has no sample: a 0 would be read as a time or a failure.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from typing import Final, Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
    exposition,
)
from prometheus_client.openmetrics import exposition as openmetrics

from . import __version__
from .status import Result

ATTEMPT_RESULTS: Final = ("succeeded", "rejected", "failed", "abandoned")
WATCH_ERRORS: Final = ("overflow", "limit", "gone", "other")
WATCH_MODES: Final = ("inotify", "polling")

# from a webhook on the same node to a program that restarts
_BUCKETS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0),
)


class Metrics:
    """Every metric, under the names that the contract fixes.

    One thread sets them; any thread may `render`.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        # The library has one switch for all registries. Only with it off are the
        # series those that are promised, and half as many.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # theirs
        self._monotonic = monotonic
        self._registry = registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"config_reload_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"config_reload_{name}", text, labels, registry=registry)

        self._changes = counter(
            "changes_total", "Times that new content of a volume settled.", "volume"
        )
        self._reloads = counter(
            "reloads_total", "Reloads that ended.", "target", "result"
        )
        self._attempts = counter(
            "attempts_total", "Attempts to tell a target.", "target", "result"
        )
        self._duration = Histogram(
            "config_reload_reload_duration_seconds",
            "From settled content to the target's confirmation.",
            ["target"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self._successful = gauge(
            "last_reload_successful",
            "Whether the last reload succeeded; 0 while its attempts fail.",
            "target",
        )
        self._last_success = gauge(
            "last_success_timestamp_seconds", "When a reload last succeeded.", "target"
        )
        self._stale = gauge(
            "stale_seconds",
            "How long the target has not held the newest content; 0 when fresh.",
            "target",
        )
        self._config = Info(
            "config_reload_config",
            "The content that is mounted, where its digest may be shown.",
            ["volume"],
            registry=registry,
        )
        self._published = gauge(
            "published_timestamp_seconds",
            "When the content of a volume was published.",
            "volume",
        )
        self._mode = gauge("watch_mode", "1 for the mode in use.", "mode")
        self._watch_errors = counter(
            "watch_errors_total", "Times that the kernel's watch failed.", "reason"
        )
        Info("config_reload_build", "What runs.", registry=registry).info(
            {"version": __version__, "python": platform.python_version()}
        )
        ProcessCollector(registry=registry)
        for reason in WATCH_ERRORS:
            self._watch_errors.labels(reason)
        for mode in WATCH_MODES:
            self._mode.labels(mode)

    def expect(self, targets: Sequence[str], volumes: Sequence[str]) -> None:
        """Make the series of what is known, at 0."""
        for volume in volumes:
            self._changes.labels(_label(volume))
        for target in targets:
            for result in Result:
                self._reloads.labels(target, result)
            for attempt in ATTEMPT_RESULTS:
                self._attempts.labels(target, attempt)
            self._duration.labels(target)
            self.stale(target, since=None)

    def changed(self, volume: str) -> None:
        """Count new content of a volume."""
        self._changes.labels(_label(volume)).inc()

    def holds(self, volume: str, digest: str | None, published: float | None) -> None:
        """Say what a volume holds. Of what is None, the series goes."""
        name = _label(volume)
        if digest is None:
            self._config.remove(name)
        else:
            self._config.labels(name).info({"digest": digest})
        if published is None:
            self._published.remove(name)
        else:
            self._published.labels(name).set(published)

    def attempted(self, target: str, result: str) -> None:
        """Count one attempt."""
        self._attempts.labels(target, result).inc()

    def refused(self, target: str) -> None:
        """Note that the reload that is under way has not succeeded so far."""
        self._successful.labels(target).set(0)

    def ended(self, target: str, result: Result) -> None:
        """Count one reload."""
        self._reloads.labels(target, result).inc()
        if result in (Result.FAILED, Result.REJECTED):
            self.refused(target)

    def confirmed(self, target: str, when: float, seconds: float) -> None:
        """Note that a target took the content, `seconds` after it settled."""
        self._duration.labels(target).observe(seconds)
        self._successful.labels(target).set(1)
        self._last_success.labels(target).set(when)

    def stale(self, target: str, since: float | None) -> None:
        """Say since when a target is stale, by the monotonic clock.

        The age is worked out at each scrape, because nothing happens here while a
        target goes on being stale.
        """
        age = self._stale.labels(target)
        if since is None:
            age.set_function(lambda: 0.0)
        else:
            age.set_function(lambda: self._monotonic() - since)

    def watching(self, mode: Literal["inotify", "polling"]) -> None:
        """Say how the volumes are watched."""
        for other in WATCH_MODES:
            self._mode.labels(other).set(other == mode)

    def watch_failed(self, reason: str) -> None:
        """Count a failure of the kernel's watch."""
        self._watch_errors.labels(reason if reason in WATCH_ERRORS else "other").inc()

    def render(self, accept: str) -> tuple[bytes, str]:
        """Write all metrics, and name the format: OpenMetrics when asked for.

        The version that a client asks for is not repeated to it, as the library's own
        choice of a format would do.
        """
        kinds = {choice.partition(";")[0].strip() for choice in accept.split(",")}
        if "application/openmetrics-text" in kinds:
            text: bytes = openmetrics.generate_latest(self._registry)  # type: ignore[no-untyped-call]  # theirs
            return text, openmetrics.CONTENT_TYPE_LATEST
        text = exposition.generate_latest(self._registry)
        return text, exposition.CONTENT_TYPE_PLAIN_0_0_4


def _label(path: str) -> str:
    """Make a path UTF-8; the library fails every scrape on one that is not."""
    return path.encode("utf-8", "backslashreplace").decode()
