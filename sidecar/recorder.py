"""Events on the pod, for who looks with `kubectl describe pod`: told, never waited for.

An event that can't be recorded is lost and a warning says so, because the log has it
too. What comes too often is left out and counted, since every event is an object in the
cluster's database.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import floor

from .api_server import Call
from .errors import ReloadError
from .exchange import Exchange
from .settings import ClusterSettings, PodSettings
from .status import timestamp

BURST = 25
EVERY = 300.0
"""So many events at once, and then one in so many seconds: as client-go's default."""

_LONGEST = 1024
"""Characters of a message. Source: kubernetes pkg/apis/core/validation/events.go."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many events may still be recorded."""

    left: int = BURST
    since: float = 0.0
    """When this was true: CLOCK_MONOTONIC, in seconds."""

    def at(self, now: float) -> Allowance:
        """Return what it has grown to."""
        grown = floor((now - self.since) / EVERY)
        if self.left + grown >= BURST:
            return Allowance(BURST, now)
        return Allowance(self.left + grown, self.since + grown * EVERY)

    def spent(self) -> Allowance:
        """Return what one event leaves."""
        return replace(self, left=self.left - 1)


class Recorder:
    """Records what became of reloads. Called by the loop's thread only."""

    def __init__(
        self,
        pod: PodSettings,
        cluster: ClusterSettings,
        *,
        wake: Callable[[], None],
        problem: Callable[[str | None], None],
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`problem` is told why events can't be recorded; None: they can."""
        self._pod = pod
        self._problem = problem
        self._clock = clock
        self._monotonic = monotonic
        self._call = Call(
            cluster,
            "POST",
            f"/api/v1/namespaces/{pod.namespace}/events",
            wake=wake,
            forbidden="bind this pod's ServiceAccount to a Role with the verb create on"
            " events: see manifests/events/role.yaml",
            missing=f"there is no namespace {pod.namespace}: mend POD_NAMESPACE",
        )
        self._allowance = Allowance(since=monotonic())
        self._left_out = 0
        self._last: dict[str, str] = {}
        self._queue: deque[dict[str, object]] = deque()
        self._exchange: Exchange | None = None

    @property
    def busy(self) -> bool:
        """Whether something is still to be sent."""
        return self._exchange is not None or bool(self._queue)

    def close(self) -> None:
        """Give up what is not sent."""
        self._call.close()

    def reloaded(self, target: str, message: str) -> None:
        """Record that a target took a change."""
        self._last.pop(target, None)
        self._record("ConfigReloaded", "Normal", f"{target}: {message}")

    def failed(self, target: str, message: str) -> None:
        """Record why a target did not take it; the same again is no news."""
        if self._last.get(target) != message:
            self._last[target] = message
            self._record("ConfigReloadFailed", "Warning", f"{target}: {message}")

    def _record(self, reason: str, kind: str, message: str) -> None:
        self._allowance = self._allowance.at(self._monotonic())
        if not self._allowance.left or len(self._queue) >= BURST:
            self._left_out += 1
            return
        self._allowance = self._allowance.spent()
        if self._left_out:
            message = f"({self._left_out} events before this were left out) {message}"
            self._left_out = 0
        self._queue.append(self._event(reason, kind, message[:_LONGEST]))
        self.step()

    def _event(self, reason: str, kind: str, message: str) -> dict[str, object]:
        pod = self._pod
        now = (timestamp(self._clock()) or "").partition(".")[0] + "Z"
        component = "config-reload-sidecar"
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{pod.name}.", "namespace": pod.namespace},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": pod.name,
                "namespace": pod.namespace,
                "uid": pod.uid,
            },
            "reason": reason,
            "message": message,
            "type": kind,
            "source": {"component": component},
            "reportingComponent": component,
            "reportingInstance": pod.name,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }

    def step(self) -> None:
        """Take up what was answered, and send what is next."""
        if self._exchange is not None and not self._answered(self._exchange):
            return
        if self._queue:
            self._exchange = self._call.start(self._queue.popleft())

    def _answered(self, exchange: Exchange) -> bool:
        answer = exchange.result()
        if answer is None:
            if self._monotonic() < exchange.deadline:
                return False
            answer = exchange.timed_out()
            exchange.abandon()
        self._exchange = None
        judged = self._call.judged(answer)
        if isinstance(judged, ReloadError):
            self._problem(f"events can't be recorded: {judged.detail}; {judged.hint}")
        else:
            self._problem(None)
        return True
