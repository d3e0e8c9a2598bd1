"""Who starts a rollout, and what holds one up. Decided from the workload as it is.

A pod whose own template annotation is the workload's current one belongs to the newest
rollout, so it may start the next. Any other pod is about to be replaced. That is all
the agreement that replicas need: the first one that sees new content patches, with the
resource version as precondition, and makes all others wait. Nobody compares content,
so nodes that see a change late, or see it taken back, change nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any  # what JSON holds

ANNOTATION = "config-reload-sidecar/config"

STUCK_AFTER = 600.0
"""No pod replaced for this long, in seconds, is a rollout that is stuck: the default of
a Deployment's progressDeadlineSeconds, which the other kinds don't have."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A Deployment, StatefulSet or DaemonSet, as far as it matters here."""

    title: str
    """`deployment/NAME`, as kubectl takes it."""

    uid: str
    resource_version: str
    config: str | None
    """The annotation of its pod template."""

    desired: int
    updated: int
    """How many pods it shall have, and how many of them have the current template."""

    settled: bool = False
    """Whether no pod of an older template is left."""

    paused: bool = False
    on_delete: bool = False
    partition: int = 0
    """Pods of a StatefulSet with smaller ordinals are not replaced."""

    past_deadline: bool = False
    """Whether a Deployment made no progress within progressDeadlineSeconds."""


@dataclass(frozen=True, slots=True)
class Start:
    """What to patch: the annotation's new value, if the workload is still the same."""

    config: str
    resource_version: str

    def patch(self) -> dict[str, object]:
        """Return the merge patch; the API server refuses it for a newer workload."""
        annotations = {ANNOTATION: self.config}
        return {
            "metadata": {"resourceVersion": self.resource_version},
            "spec": {"template": {"metadata": {"annotations": annotations}}},
        }


def parse(title: str, document: Mapping[str, Any]) -> Workload:
    """Read what the API server says of a workload of apps/v1.

    Raises:
        ValueError: this is no such object.
    """
    try:
        metadata, spec = document["metadata"], document["spec"]
        status = document.get("status") or {}
        template = spec["template"].get("metadata") or {}
        update = spec.get("updateStrategy") or {}
        # a status that is older than the template says nothing of it
        seen = status.get("observedGeneration", 0) >= metadata.get("generation", 0)
        counts = status if seen else {}
        desired = _count(status, "desiredNumberScheduled", spec.get("replicas", 1))
        updated = _count(
            counts, "updatedNumberScheduled", counts.get("updatedReplicas", 0)
        )
        existing = _count(
            counts, "currentNumberScheduled", counts.get("replicas", desired)
        )
        return Workload(
            title=title,
            uid=metadata["uid"],
            resource_version=metadata["resourceVersion"],
            config=_stripped((template.get("annotations") or {}).get(ANNOTATION)),
            desired=desired,
            updated=updated,
            settled=seen and updated == existing == desired,
            paused=bool(spec.get("paused")),
            on_delete=update.get("type") == "OnDelete",
            partition=int((update.get("rollingUpdate") or {}).get("partition") or 0),
            past_deadline=seen and any(map(_missed, status.get("conditions") or ())),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"this is no {title}") from error


def _count(status: Mapping[str, Any], name: str, other: Any) -> int:
    return int(status.get(name, other) or 0)


def _stripped(text: str | None) -> str | None:
    return (text or "").strip() or None


def _missed(condition: Mapping[str, Any]) -> bool:
    """Source: kubernetes pkg/controller/deployment/util, `TimedOutReason`."""
    return (condition.get("type"), condition.get("reason")) == (
        "Progressing",
        "ProgressDeadlineExceeded",
    )


def decide(own: str | None, workload: Workload, digest: str) -> Start | None:
    """Return what to patch; None: the rollout that replaces this pod has begun.

    `own` is the template's annotation as this pod was made from it.
    """
    if own != workload.config:
        return None
    match = re.search(r"\.([0-9]{1,18})$", own or "")
    number = int(match[1]) + 1 if match else 1
    return Start(f"{digest}.{number}", workload.resource_version)


def digest_of(
    volumes: Sequence[tuple[str, str | None]], uid: str, unrelated: str
) -> str:
    """Return one digest for all volumes, each with its digest and what may be shown.

    What is shown but not as it is gets keyed with the workload's UID too, so that equal
    secrets of two workloads don't show as equal. The UID alone hides nothing: it stands
    beside the annotation, and short secrets could be tried out. So where nothing may be
    shown it is `unrelated`, which nobody minds, since nobody compares content.
    """
    digests = [_annotated(bare, shown, uid) or unrelated for bare, shown in volumes]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _annotated(bare: str, shown: str | None, uid: str) -> str | None:
    if shown is None or shown == bare:
        return shown
    return hmac.new(uid.encode(), shown.encode(), hashlib.sha256).hexdigest()


def obstacle(workload: Workload, ordinal: int | None, still: float) -> str | None:
    """Say what keeps this pod from being replaced, and what to do about it.

    `ordinal` is the pod's, if it is a StatefulSet's; `still` is for how long, in
    seconds, no pod was replaced.
    """
    title, pod = workload.title, "this pod"
    if workload.paused:
        return f"{title} is paused: kubectl rollout resume {title}"
    if workload.on_delete:
        return (
            f"{title} has the update strategy OnDelete: delete {pod}, or choose"
            " RollingUpdate"
        )
    if workload.partition and (ordinal is None or ordinal < workload.partition):
        return (
            f"{title} replaces no pod below its partition {workload.partition}: lower"
            " spec.updateStrategy.rollingUpdate.partition"
        )
    if workload.settled:
        return (
            f"{title} has replaced all its pods, and {pod} is none of them: ROLLOUT"
            f" names another workload than the pod's, or POD_ROLLOUT is not the pod's"
            f" annotation {ANNOTATION}"
        )
    if workload.past_deadline or still >= STUCK_AFTER:
        return (
            f"the rollout of {title} is stuck at {workload.updated} of"
            f" {workload.desired} pods: look at its newest pod (kubectl describe pod),"
            " which may not become ready with this configuration"
        )
    return None


def progress(workload: Workload) -> str:
    """Say how far the rollout is."""
    return (
        f"{workload.title} is being rolled: {workload.updated} of {workload.desired}"
        " pods are new, and this one is stale until it is replaced"
    )
