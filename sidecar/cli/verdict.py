"""What a sidecar's `/status` says of one use. Pure: values in, a verdict out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

import msgspec

from sidecar.status import Result, State

from .mounting import Place, Use
from .objects import Source
from .stage import Stage, Verdict

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
"""A time that can be compared with any other."""

_SURE_AFTER = 3
"""After so many syncs a kubelet has looked at what the API has now."""

_WHOLE_SECOND = 1.0

_UNCHANGED = (
    "its kubelet was told again and again and wrote nothing: what the pod mounts of it"
    " is what it was"
)


@dataclass(frozen=True, slots=True)
class Volume:
    """One volume, as `/status` shows it."""

    path: str
    generation: str | None
    published: Moment | None
    digest: str | None
    keys: frozenset[str]


@dataclass(frozen=True, slots=True)
class Target:
    """One target, as `/status` shows it."""

    name: str
    state: State
    attempts: int
    last_result: Result | None
    last_error: str | None
    hint: str | None


@dataclass(frozen=True, slots=True)
class Reload:
    """One reload that ended, as `/status` shows it."""

    target: str
    started: Moment
    result: Result


@dataclass(frozen=True, slots=True)
class Answer:
    """As much of `/status` as is needed here."""

    version: str
    volumes: tuple[Volume, ...]
    targets: tuple[Target, ...]
    reloads: tuple[Reload, ...] = ()

    def volume(self, path: str) -> Volume | None:
        """Return a volume by its path."""
        return next((v for v in self.volumes if v.path == path), None)


@dataclass(frozen=True, slots=True)
class Before:
    """What was there before the kubelet was told anything."""

    generations: Mapping[str, str | None] = field(default_factory=dict)
    """By path; empty if nobody answered."""

    syncs: int = 0
    """How often the kubelet was told to sync since."""

    rests: bool = False
    """Whether it has had the time to, the last time as well."""

    ready: bool = True
    """Whether the pod was; where a kubelet is silent it does not stay so."""


def read(body: bytes) -> Answer | None:
    """Read a `/status`; None if it is something else."""
    try:
        # not msgspec's decoder: names of files need not be text
        return msgspec.convert(json.loads(body), Answer)
    except (msgspec.ValidationError, ValueError, RecursionError):
        return None


def verdict(use: Use, answer: Answer, before: Before) -> Verdict:
    """Say how far a use has come that its sidecar can tell of."""
    found = [(place, answer.volume(place.path)) for place in use.places]
    arrived = [_arrived(place, volume, use.source, before) for place, volume in found]
    for (place, volume), has_come in zip(found, arrived, strict=True):
        if not has_come and not _rests(place, volume, before):
            stage = Stage.IMMUTABLE if use.source.immutable else Stage.WAITING
            return _of(place, volume, stage, _why_waiting(use, volume, before))
    place, volume = found[0]
    stage, detail = _of_targets(answer, volume.published if volume else None)
    if stage is Stage.FRESH and not all(arrived):
        stage, detail = Stage.UNCHANGED, _UNCHANGED
    return _of(place, volume, stage, detail)


def _of_targets(answer: Answer, published: datetime | None) -> tuple[Stage, str]:
    """Say how far those are who are told of what is there."""
    for target in answer.targets:
        if _rejected(target, answer.reloads, published):
            return Stage.REJECTED, _said(target)
    for target in answer.targets:
        if target.state is not State.FRESH:
            return Stage.STALE, _said(target)
    if not answer.targets:
        return Stage.STALE, "its sidecar knows nobody to tell yet"
    return Stage.FRESH, ""


def _of(place: Place, volume: Volume | None, stage: Stage, detail: str) -> Verdict:
    if volume is None:
        return Verdict(stage, detail, place.path)
    return Verdict(stage, detail, place.path, volume.generation, volume.digest)


def _why_waiting(use: Use, volume: Volume | None, before: Before) -> str:
    if use.source.immutable:
        return "it never changes: mount a new object, or start the pod again"
    if volume is None:
        return "its sidecar has not read the volume yet"
    if before.rests:
        return (
            "its kubelet was told again and again and wrote nothing new: look at the"
            " pod's events, and whether its node is ready"
        )
    return ""


def _arrived(
    place: Place, volume: Volume | None, source: Source, before: Before
) -> bool:
    """Whether the kubelet has brought the content that the API has.

    Where the digest can't be known, a swap since we came means that it has; so does one
    that is younger than the change. The change's time is cut to its second: a swap in
    that very second may be older, unless the kubelet looked again and changed nothing.
    """
    if volume is None:
        return False
    if place.digest is not None and volume.digest is not None:
        return place.digest == volume.digest
    if volume.generation is None or not _has_its_keys(place, volume):
        return False
    if volume.generation != before.generations.get(place.path, volume.generation):
        return True
    published = volume.published.timestamp() if volume.published else 0.0
    sure = source.aged or before.syncs >= _SURE_AFTER
    return published >= source.changed + (0.0 if sure else _WHOLE_SECOND)


def _has_its_keys(place: Place, volume: Volume) -> bool:
    """Whether the names agree; the server notes no time when a key is only removed."""
    if place.keys is None:
        return True
    if place.is_shared:
        return place.keys <= volume.keys
    return place.keys == volume.keys


def _rests(place: Place, volume: Volume | None, before: Before) -> bool:
    """Whether the kubelet looked at what the API has now, and found nothing to bring.

    It makes no swap where the mounted content is the same: who wrote the object may
    have changed other keys, or written what was there.
    """
    if volume is None or volume.generation is None:
        return False
    if not before.rests or not before.ready:
        return False
    known = place.digest is not None and volume.digest is not None
    return not known and _has_its_keys(place, volume)


def _rejected(
    target: Target, reloads: Iterable[Reload], published: datetime | None
) -> bool:
    """Whether a target rejected this content, and not only the one before.

    `last_result` stays until the first attempt for new content has ended.
    """
    if target.state is not State.STALE or target.last_result is not Result.REJECTED:
        return False
    return target.attempts > 1 or any(
        reload.target == target.name
        and reload.result is Result.REJECTED
        and published is not None
        and reload.started >= published
        for reload in reloads
    )


def _said(target: Target) -> str:
    """Say what a target lacks, in the sidecar's words."""
    if not target.attempts or not target.last_error:
        return f"{target.name} is {target.state}"
    return f"{target.name}: {target.last_error}" + (
        f" ({target.hint})" if target.hint else ""
    )
