"""The numbers that people alert on.

Series of the targets and volumes that are known exist from the start, at 0, because
the first increase of a series that was not there before is invisible to `rate()`.
What nothing is known of yet has no sample: a 0 would be read as a time or a failure.
"""

from __future__ import annotations

import resource
import sys
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Final, Literal, TypeVar

import psutil

from . import __version__, exposition
from .exposition import Family, Kind, Sample
from .status import Result

V = TypeVar("V")

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
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._changes: dict[str, int] = {}
        self._reloads: dict[tuple[str, str], int] = {}
        self._attempts: dict[tuple[str, str], int] = {}
        self._durations: dict[str, list[int]] = {}
        """How many reloads of a target took so long, by bucket, the last for more."""

        self._seconds: dict[str, float] = {}
        """How long all reloads of a target took together."""

        self._successful: dict[str, bool] = {}
        self._last_success: dict[str, float] = {}
        self._stale_since: dict[str, float | None] = {}
        """CLOCK_MONOTONIC, in seconds; None: it is fresh."""

        self._digests: dict[str, str] = {}
        self._published: dict[str, float] = {}
        self._modes = dict.fromkeys(WATCH_MODES, False)
        self._watch_errors = dict.fromkeys(WATCH_ERRORS, 0)

    def expect(self, targets: Sequence[str], volumes: Sequence[str]) -> None:
        """Make the series of what is known, at 0."""
        self._changes = dict.fromkeys(map(_label, volumes), 0)
        for target in targets:
            self._reloads |= dict.fromkeys([(target, str(end)) for end in Result], 0)
            self._attempts |= dict.fromkeys([(target, r) for r in ATTEMPT_RESULTS], 0)
            self._durations[target] = [0] * (len(_BUCKETS) + 1)
            self._seconds[target] = 0.0
            self._stale_since[target] = None

    def changed(self, volume: str) -> None:
        """Count new content of a volume."""
        with self._lock:
            self._changes[_label(volume)] += 1

    def holds(self, volume: str, digest: str | None, published: float | None) -> None:
        """Say what a volume holds. Of what is None, the series goes."""
        name = _label(volume)
        with self._lock:
            _put(self._digests, name, digest)
            _put(self._published, name, published)

    def attempted(self, target: str, result: str) -> None:
        """Count one attempt."""
        with self._lock:
            self._attempts[target, result] += 1

    def refused(self, target: str) -> None:
        """Note that the reload that is under way has not succeeded so far."""
        with self._lock:
            self._successful[target] = False

    def ended(self, target: str, result: Result) -> None:
        """Count one reload."""
        with self._lock:
            self._reloads[target, str(result)] += 1
        if result in (Result.FAILED, Result.REJECTED):
            self.refused(target)

    def confirmed(self, target: str, when: float, seconds: float) -> None:
        """Note that a target took the content, `seconds` after it settled."""
        with self._lock:
            self._durations[target][bisect_left(_BUCKETS, seconds)] += 1
            self._seconds[target] += seconds
            self._successful[target] = True
            self._last_success[target] = when

    def stale(self, target: str, since: float | None) -> None:
        """Say since when a target is stale, by the monotonic clock.

        The age is worked out at each scrape, because nothing happens here while a
        target goes on being stale.
        """
        with self._lock:
            self._stale_since[target] = since

    def watching(self, mode: Literal["inotify", "polling"]) -> None:
        """Say how the volumes are watched."""
        with self._lock:
            self._modes = {other: other == mode for other in WATCH_MODES}

    def watch_failed(self, reason: str) -> None:
        """Count a failure of the kernel's watch."""
        with self._lock:
            self._watch_errors[reason if reason in WATCH_ERRORS else "other"] += 1

    def render(self, accept: str) -> tuple[bytes, str]:
        """Write all metrics, and name the format: OpenMetrics when asked for.

        The version that a client asks for is not repeated to it.
        """
        with self._lock:
            families = self._families()
        families += _own_process()
        kinds = {
            choice.partition(";")[0].strip() for choice in accept.lower().split(",")
        }
        if "application/openmetrics-text" in kinds:
            return exposition.openmetrics(families).encode(), exposition.OPENMETRICS
        return exposition.text(families).encode(), exposition.TEXT

    def _families(self) -> list[Family]:
        now = self._monotonic()
        ages = {
            target: 0.0 if since is None else now - since
            for target, since in self._stale_since.items()
        }
        python = sys.version.partition(" ")[0]
        outcome = ("target", "result")
        return [
            _family(
                "changes",
                "counter",
                "Times that new content of a volume settled.",
                _by("volume", self._changes),
            ),
            _family(
                "reloads",
                "counter",
                "Reloads that ended.",
                _by_both(outcome, self._reloads),
            ),
            _family(
                "attempts",
                "counter",
                "Attempts to tell a target.",
                _by_both(outcome, self._attempts),
            ),
            _family(
                "reload_duration_seconds",
                "histogram",
                "From settled content to the target's confirmation.",
                [
                    sample
                    for target, counts in self._durations.items()
                    for sample in exposition.buckets(
                        _BUCKETS, counts, self._seconds[target], target=target
                    )
                ],
            ),
            _family(
                "last_reload_successful",
                "gauge",
                "Whether the last reload succeeded; 0 while its attempts fail.",
                _by("target", self._successful),
            ),
            _family(
                "last_success_timestamp_seconds",
                "gauge",
                "When a reload last succeeded.",
                _by("target", self._last_success),
            ),
            _family(
                "stale_seconds",
                "gauge",
                "How long the target has not held the newest content; 0 when fresh.",
                _by("target", ages),
            ),
            _family(
                "config",
                "info",
                "The content that is mounted, where its digest may be shown.",
                _by_both(("volume", "digest"), dict.fromkeys(self._digests.items(), 1)),
            ),
            _family(
                "published_timestamp_seconds",
                "gauge",
                "When the content of a volume was published.",
                _by("volume", self._published),
            ),
            _family(
                "watch_mode",
                "gauge",
                "1 for the mode in use.",
                _by("mode", self._modes),
            ),
            _family(
                "watch_errors",
                "counter",
                "Times that the kernel's watch failed.",
                _by("reason", self._watch_errors),
            ),
            _family(
                "build",
                "info",
                "What runs.",
                [Sample({"version": __version__, "python": python}, 1)],
            ),
        ]


def _family(name: str, kind: Kind, text: str, samples: Sequence[Sample]) -> Family:
    return Family(f"config_reload_{name}", kind, text, samples)


def _by(label: str, values: Mapping[str, float]) -> list[Sample]:
    return [Sample({label: name}, value) for name, value in values.items()]


def _by_both(
    labels: tuple[str, str], values: Mapping[tuple[str, str], float]
) -> list[Sample]:
    return [
        Sample(dict(zip(labels, names, strict=True)), value)
        for names, value in values.items()
    ]


def _own_process() -> list[Family]:
    """Describe ourselves under the usual names; nothing where no file can be opened."""
    try:
        us = psutil.Process()
        with us.oneshot():
            processor, memory = us.cpu_times(), us.memory_info()
            descriptors, started = us.num_fds(), us.create_time()
    except (OSError, psutil.Error):
        return []
    most: float
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        most = inf
    seconds = processor.user + processor.system
    rows: list[tuple[str, Kind, str, float]] = [
        ("cpu_seconds", "counter", "User and system CPU time, in seconds.", seconds),
        ("virtual_memory_bytes", "gauge", "Virtual memory, in bytes.", memory.vms),
        ("resident_memory_bytes", "gauge", "Resident memory, in bytes.", memory.rss),
        ("start_time_seconds", "gauge", "When it started, since the epoch.", started),
        ("open_fds", "gauge", "Open file descriptors.", descriptors),
        ("max_fds", "gauge", "How many it may open.", most),
    ]
    return [
        Family(f"process_{name}", kind, text, [Sample({}, value)])
        for name, kind, text, value in rows
    ]


def _put(values: dict[str, V], name: str, value: V | None) -> None:
    if value is None:
        values.pop(name, None)
    else:
        values[name] = value


def _label(path: str) -> str:
    """Make a path UTF-8: the formats know nothing else."""
    return path.encode("utf-8", "backslashreplace").decode()
