"""What is true now, as `/status` says it: frozen values, replaced and never changed.

The loop makes new ones and the endpoints' threads read them, so nobody needs a lock.
Times are seconds since the epoch (CLOCK_REALTIME); in JSON they are ISO 8601, UTC.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Literal


class State(StrEnum):
    """Whether something is known to hold the newest content."""

    FRESH = "fresh"
    STALE = "stale"
    UNKNOWN = "unknown"


class Result(StrEnum):
    """How a reload ended: one change for one target."""

    SUCCEEDED = "succeeded"
    SUPERSEDED = "superseded"
    FAILED = "failed"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class VolumeStatus:
    """One entry of `WATCH_DIRS`, as it was when it last settled."""

    path: str
    kind: Literal["kubelet", "plain"]
    generation: str | None
    published: float | None
    digest: str | None
    """As it may be shown: bare, keyed, or None."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """One process that the selector matches."""

    pid: int
    uid: int
    state: State


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """One target; `selector`, `signal` and `processes`, `url`, or `workload`."""

    name: str
    state: State = State.UNKNOWN
    selector: str | None = None
    signal: str | None = None
    url: str | None = None
    """Without credentials and query."""

    workload: str | None = None
    """`deployment/NAME`."""

    processes: tuple[ProcessStatus, ...] = ()
    attempts: int = 0
    """Attempts for the content that is current now."""

    last_result: Result | None = None
    last_error: str | None = None
    hint: str | None = None
    stale_since: float | None = None


@dataclass(frozen=True, slots=True)
class ReloadStatus:
    """One reload that ended."""

    target: str
    started: float
    seconds: float
    result: Result
    attempts: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class Status:
    """The whole of `/status`."""

    version: str
    watch_mode: Literal["inotify", "polling"]
    started: float
    volumes: tuple[VolumeStatus, ...] = ()
    targets: tuple[TargetStatus, ...] = ()
    reloads: tuple[ReloadStatus, ...] = ()
    """The last 20, newest last."""

    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        """Return what `json.dumps` takes, in the shape that the contract fixes."""
        return {
            "version": self.version,
            "watch_mode": self.watch_mode,
            "started": timestamp(self.started),
            "volumes": [
                asdict(volume) | {"published": timestamp(volume.published)}
                for volume in self.volumes
            ],
            "targets": [_target(target) for target in self.targets],
            "reloads": [
                asdict(reload)
                | {
                    "started": timestamp(reload.started),
                    "seconds": round(reload.seconds, 3),
                }
                for reload in self.reloads
            ],
            "warnings": list(self.warnings),
        }


def timestamp(seconds: float | None) -> str | None:
    """Write a time as ISO 8601 in UTC with milliseconds; None stays None."""
    if seconds is None:
        return None
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _target(target: TargetStatus) -> dict[str, object]:
    fields = asdict(target) | {"stale_since": timestamp(target.stale_since)}
    own: tuple[str, ...] = ("selector", "signal", "processes")
    if target.url is not None:
        own = ("url",)
    elif target.workload is not None:
        own = ("workload",)
    absent = {"selector", "signal", "processes", "url", "workload"}.difference(own)
    return {name: value for name, value in fields.items() if name not in absent}
