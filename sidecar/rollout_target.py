"""A workload as a target: it is rolled, and this pod is stale until it is replaced."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Generator, Mapping
from typing import Any, Protocol  # Any: what JSON holds

from .api_server import Call
from .attempt import Beginning, Outcome, Plan, Steps, Wait, answered
from .change import Change
from .errors import ReloadError
from .exchange import Exchange
from .rollout import Start, Workload, decide, digest_of, obstacle, parse, progress
from .settings import ClusterSettings, RolloutSettings
from .status import State, TargetStatus

_LOOK_EVERY = 10.0
"""How long after a look at the workload a safety poll looks again, in seconds."""

_TRIES = 3
"""How often an attempt looks and patches: a workload's status changes its version too,
and it does so all the time while a rollout goes on."""


class Notes(Protocol):
    """Where it is noted what keeps a rollout from its end."""

    def problem(self, subject: str, message: str | None) -> None:
        """Tell of something that may mend itself; None: it did, or never was."""
        ...


class RolloutTarget:
    """The workload of `ROLLOUT`, whose pods read their configuration at their start."""

    name = "rollout"

    def __init__(
        self,
        settings: RolloutSettings,
        cluster: ClusterSettings,
        *,
        volumes: tuple[str, ...],
        pod_uid: str | None,
        wake: Callable[[], None],
        notes: Notes,
    ) -> None:
        """`volumes` are the paths in whose order a `Change` has its content."""
        self._settings = settings
        self._pod_uid = pod_uid
        self._volumes = volumes
        self._notes = notes
        self._get = _call(settings, cluster, "GET", wake)
        self._patch = _call(settings, cluster, "PATCH", wake)
        self._holds = False
        self._waiting: Workload | None = None
        """The workload as it was last seen, once the rollout has begun."""

        self._looking: Exchange | None = None
        self._look_at = 0.0
        self._moved_at = 0.0
        """CLOCK_MONOTONIC when the last pod was seen to be replaced, in seconds."""

    def close(self) -> None:
        """Abandon what is asked of the API server."""
        self._get.close()
        self._patch.close()

    def settled(self, fresh_from: float) -> None:  # noqa: ARG002  # no process is known
        """Take note of new content, which the program of this pod has not read."""
        self._holds = False
        self._waiting = None

    def swapped(self, fresh_from: float, since: float) -> None:
        """Nothing: the program read the same content at its start."""

    def voided(self, now: float) -> None:  # noqa: ARG002  # no process is known
        """Take it that the pod has to be replaced."""
        self._holds = False
        self._waiting = None

    def assumed(self) -> None:
        """Take it that the program holds the content."""
        self._holds = True

    def doubted(self, now: float) -> None:  # noqa: ARG002  # no process is known
        """Trust times no more; what the pod has read is remembered by its content."""
        if not self._pod_uid:
            self._holds = False

    def began(self, beginning: Beginning) -> None:
        """Take it that the pod holds what it is remembered to hold, and nothing else.

        Without a memory of this very pod: that the program read what was mounted before
        the pod's sandbox. A swap since then may have been a change that nobody saw,
        and one rollout too many is less than a change that is lost. Everything else
        that is doubtful counts as read: what a plain directory holds is often written
        anew in every pod, and each would start the next rollout, for ever.
        """
        if beginning.held is not None and self._pod_uid:
            self._holds = self._pod_uid in beginning.held
        else:
            started = beginning.sandbox_started
            self._holds = started is None or beginning.swapped_by_kubelet < started

    def held(self, before: float) -> tuple[str, ...]:  # noqa: ARG002
        """Return the pod, if it holds the content: since its start, if at all."""
        return (self._pod_uid,) if self._pod_uid and self._holds else ()

    def plan(self, *, quiet: bool) -> Plan:  # noqa: ARG002  # no process is known
        """Begin unless a rollout has begun; then look how far it is."""
        if self._holds:
            return Plan()
        if self._waiting:
            self._look_again(time.monotonic())
        return Plan(begin=None if self._waiting else self._attempt, stale=True)

    def status(self) -> TargetStatus:
        """Describe the rollout as it was last seen."""
        hint = None
        if self._waiting:
            hint = self._obstacle(self._waiting) or progress(self._waiting)
        state = State.FRESH if self._holds else State.STALE
        return TargetStatus(self.name, state, workload=self._settings.title, hint=hint)

    def _attempt(self, change: Change, number: int) -> Steps:  # noqa: ARG002
        conflict: ReloadError | None = None
        for _ in range(_TRIES):
            workload = yield from self._asked(self._get, self._get.start())
            if isinstance(workload, ReloadError):
                return Outcome(failure=workload)
            start = decide(
                self._settings.own, workload, self._digest(change, workload.uid)
            )
            if start is None:
                self._wait_for(workload)
                return Outcome(detail=f"{workload.title} is at {workload.config}")
            patched = yield from self._asked(self._patch, self._start(start))
            if isinstance(patched, Workload):
                self._wait_for(patched)
                return Outcome(detail=f"{patched.title} was set to {patched.config}")
            if patched.reason != "conflict":
                return Outcome(failure=patched)
            conflict = patched
        return Outcome(failure=conflict)

    def _start(self, start: Start) -> Exchange:
        return self._patch.start(start.patch(), "application/merge-patch+json")

    def _asked(
        self, call: Call, exchange: Exchange
    ) -> Generator[Wait, None, Workload | ReloadError]:
        try:
            answer = yield from answered(exchange)
        finally:
            exchange.abandon()
        return _read(self._settings, call.judged(answer))

    def _digest(self, change: Change, uid: str) -> str:
        shown = {volume.path: volume.digest for volume in change.volumes}
        return digest_of(
            [
                (bare or "", shown.get(path))
                for path, bare in zip(self._volumes, change.content, strict=True)
            ],
            uid,
            unrelated=os.urandom(32).hex(),
        )

    def _wait_for(self, workload: Workload) -> None:
        """Take up how far the rollout is that replaces this pod."""
        now, before = time.monotonic(), self._waiting
        if before is None or before.updated != workload.updated:
            self._moved_at = now
        self._waiting = workload
        self._looking = None  # it would tell of the time before
        self._look_at = now + _LOOK_EVERY
        self._notes.problem(self.name, self._obstacle(workload))

    def _obstacle(self, workload: Workload) -> str | None:
        still = time.monotonic() - self._moved_at
        return obstacle(workload, self._settings.ordinal, still)

    def _look_again(self, now: float) -> None:
        """Take up what the last look found, and begin the next one when it is time.

        The look answers between two safety polls; nobody has to wait for it.
        """
        answer = self._looking.result() if self._looking else None
        if answer is not None:
            self._looking = None
            workload = _read(self._settings, self._get.judged(answer))
            if isinstance(workload, ReloadError):
                pass  # the next look may be answered, and nothing depends on it
            elif workload.config == self._settings.own:
                self._waiting = None  # somebody took the rollout back
            else:
                self._wait_for(workload)
        if self._waiting and now >= self._look_at:
            self._look_at = now + _LOOK_EVERY
            self._looking = self._get.start()


def ask(settings: RolloutSettings, cluster: ClusterSettings) -> Workload | ReloadError:
    """Get the workload once, and wait for it: for who explains, and has no loop."""
    answered = threading.Event()
    call = _call(settings, cluster, "GET", answered.set)
    try:
        exchange = call.start()
        answered.wait(max(0.0, exchange.deadline - time.monotonic()))
        answer = exchange.result() or exchange.timed_out()
        return _read(settings, call.judged(answer))
    finally:
        call.close()


def _call(
    settings: RolloutSettings,
    cluster: ClusterSettings,
    method: str,
    wake: Callable[[], None],
) -> Call:
    kinds, name, namespace = f"{settings.kind}s", settings.name, settings.namespace
    return Call(
        cluster,
        method,
        f"/apis/apps/v1/namespaces/{namespace}/{kinds}/{name}",
        wake=wake,
        forbidden="bind this pod's ServiceAccount to a Role with the verbs get and"
        f" patch on {kinds} of apps, resourceNames [{name}]: see"
        " manifests/examples/rollout",
        missing=f"there is no {settings.title} in {namespace}: mend ROLLOUT",
    )


def _read(
    settings: RolloutSettings, document: Mapping[str, Any] | ReloadError
) -> Workload | ReloadError:
    if isinstance(document, ReloadError):
        return document
    try:
        return parse(settings.title, document)
    except ValueError as error:
        return ReloadError(
            "protocol", str(error), "see that ROLLOUT names a workload of apps/v1"
        )
