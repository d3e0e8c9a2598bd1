"""How far a pod has come with an object, in a word and a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Stage(StrEnum):
    """How far one pod has come with one object."""

    WAITING = "waiting"
    """The kubelet has not brought the content yet."""

    STALE = "stale"
    """The content is there, and the program does not hold it yet."""

    SILENT = "silent"
    """The sidecar does not answer."""

    FRESH = "fresh"
    """The program holds the content."""

    UNCHANGED = "unchanged"
    """The kubelet found nothing to bring, and the program holds what is there."""

    REJECTED = "rejected"
    """The program was told and did not take it."""

    PENDING = "pending"
    """No kubelet has the pod yet: it will read the content when it starts."""

    GONE = "gone"
    """The pod was deleted meanwhile."""

    ALONE = "not followed"
    """The files are updated, but nobody can tell who holds them."""

    RESTART = "needs restart"
    IMMUTABLE = "immutable"
    MIRROR = "mirror pod"
    REFUSED = "refused"
    """The kubelet or the API server does not do it."""

    ANNOTATED = "annotated"
    """Its kubelet was told to sync, and nobody waited."""

    SKIPPED = "not pushed"
    """It was to come after a batch that did not go well."""

    @property
    def open(self) -> bool:
        """Whether it may still change by itself."""
        return self in (Stage.WAITING, Stage.STALE, Stage.SILENT)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of one use."""

    stage: Stage
    detail: str = ""
    path: str = ""
    """Of the volume that the rest is about."""

    generation: str | None = None
    digest: str | None = None
