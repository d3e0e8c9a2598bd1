"""Which pods have an object, in which ways, and who of them can take a change of it.

Pure: pods come as the API describes them. A pod that can't get a change, whatever is
pushed, is told apart here, with what to change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lightkube.models.core_v1 import Container, Pod, PodSpec, Volume

from sidecar.selection import Selection

from .container import Sidecar, directory, running, sidecars
from .objects import Kind, Reference, Source
from .stage import Stage, Verdict
from .volumes import absent_key, expected, expected_keys, held, holds, is_shared

_MIRROR = "kubernetes.io/config.mirror"
_WHOLE = "whole"
_RESTART = "the pod reads it {how}, so it changes only when the container restarts"
_IN_PART = "{which}, too: that part changes only when the container restarts"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sidecar sees the object."""

    path: str
    digest: str | None = None
    """What its content comes to; None if that can't be known from outside."""

    keys: frozenset[str] | None = None
    """The names of its files there; None if they can't be known either."""

    is_shared: bool = False
    """Whether others' files lie beside them."""


@dataclass(frozen=True, slots=True)
class Use:
    """How one pod uses one object."""

    source: Source
    port: int | None = None
    """Of the sidecar that watches it."""

    places: tuple[Place, ...] = ()
    brought: bool = True
    """Whether the kubelet brings a change into the running pod."""

    obstacle: Verdict | None = None
    """Why nobody can follow it, if so."""

    sidecar: str = ""
    """The container that watches it; a pod may have one for each of its programs."""


@dataclass(frozen=True, slots=True)
class Member:
    """A pod that uses at least one of the objects."""

    name: str
    uid: str
    node: str
    uses: tuple[Use, ...]
    ready: bool = True
    """Whether it was when it was listed; where a kubelet is silent no pod stays so."""

    @property
    def brought(self) -> bool:
        """Whether it does any good to make its kubelet sync."""
        return any(use.brought and not use.source.immutable for use in self.uses)

    @property
    def followed(self) -> bool:
        """Whether a sidecar can tell how it takes a change."""
        return any(
            use.obstacle is None and not use.source.immutable for use in self.uses
        )


class _Reading(NamedTuple):
    """One way in which one container reads the object."""

    container: str
    way: str


def members(pods: Iterable[Pod], sources: Sequence[Source]) -> list[Member]:
    """Find the pods that use an object, by name; those that have ended don't count."""
    found = []
    for pod in pods:
        if pod.metadata is None or pod.spec is None or _ended(pod):
            continue
        uses = tuple(use for source in sources for use in _uses(pod, source))
        if uses:
            name, uid = pod.metadata.name or "", pod.metadata.uid or ""
            node = pod.spec.nodeName or ""
            found.append(Member(name, uid, node, uses, _is_ready(pod)))
    return sorted(found, key=lambda member: member.name)


def mounted(pods: Iterable[Pod], kind: Kind) -> set[str]:
    """Return the names of all objects of a kind that a volume of a pod names."""
    return {
        reference.name
        for pod in pods
        for volume in (pod.spec.volumes or () if pod.spec else ())
        for reference, _, _ in held(volume)
        if reference.kind is kind
    }


def _ended(pod: Pod) -> bool:
    deleted = pod.metadata is not None and pod.metadata.deletionTimestamp is not None
    phase = pod.status.phase if pod.status else None
    return deleted or phase in ("Succeeded", "Failed")


def _is_ready(pod: Pod) -> bool:
    conditions = (pod.status and pod.status.conditions) or ()
    return all(found.status == "True" for found in conditions if found.type == "Ready")


def _uses(pod: Pod, source: Source) -> Sequence[Use]:
    spec = pod.spec
    if spec is None:
        return ()
    volumes = {
        volume.name: volume for volume in spec.volumes or () if holds(volume, source)
    }
    ours = sidecars(spec)
    readings = _readings(spec, volumes, source.reference, ours)
    if not readings:
        return ()
    if _MIRROR in ((pod.metadata and pod.metadata.annotations) or {}):
        return _stuck(source, Stage.MIRROR, "its kubelet reads a file, not the API")
    if not spec.nodeName:
        return _stuck(source, Stage.PENDING, "it reads the content when it starts")
    fixed = sorted(one for one in readings if one.way != _WHOLE)
    # a sidecar that restarts the program heals that
    healing = [one for one in ours if one.restarts and _places(one, volumes, source)]
    if len(fixed) == len(readings):
        ours = healing
        if not ours:
            how = " and ".join(sorted({one.way for one in fixed}))
            return _stuck(source, Stage.RESTART, _RESTART.format(how=how))
    in_part = () if healing or not fixed else _stuck_in_part(source, fixed)
    return [*_followed(source, volumes, ours), *in_part]


def _stuck_in_part(source: Source, fixed: Sequence[_Reading]) -> Sequence[Use]:
    """Describe what stays as it is of an object that is mounted whole as well."""
    which = " and ".join(f"{one.container} reads it {one.way}" for one in fixed)
    return _stuck(source, Stage.RESTART, _IN_PART.format(which=which))


def _stuck(source: Source, stage: Stage, why: str) -> Sequence[Use]:
    return [Use(source, brought=False, obstacle=Verdict(stage, why))]


def _followed(
    source: Source, volumes: Mapping[str, Volume], ours: Sequence[Sidecar]
) -> Sequence[Use]:
    """Describe a use that the kubelet updates, for each who can tell of it."""
    watching = [
        (sidecar, places)
        for sidecar in ours
        if (places := _places(sidecar, volumes, source))
    ]
    if not watching:
        why = "nobody tells the program: add the sidecar to the pod"
        if ours:
            why = "its sidecar does not watch it: mount it there, and name it in"
            why += " WATCH_DIRS"
        return [Use(source, obstacle=Verdict(Stage.ALONE, why))]
    for volume in volumes.values():
        if lacking := absent_key(volume, source):
            return [Use(source, obstacle=Verdict(Stage.REFUSED, lacking))]
    return [_told_by(sidecar, places, source) for sidecar, places in watching]


def _told_by(sidecar: Sidecar, places: tuple[Place, ...], source: Source) -> Use:
    name = sidecar.container.name
    if sidecar.port is None:
        why = "HTTP_LISTEN lets nobody ask its sidecar: set it to :9533"
        return Use(source, obstacle=Verdict(Stage.ALONE, why), sidecar=name)
    return Use(source, sidecar.port, places, sidecar=name)


def _readings(
    spec: PodSpec,
    volumes: Mapping[str, Volume],
    reference: Reference,
    ours: Sequence[Sidecar],
) -> set[_Reading]:
    """Return how the object is read; the sidecar counts if nobody else does."""
    watching = [sidecar.container for sidecar in ours]
    programs = [found for found in running(spec) if found not in watching]
    for containers in (programs, watching, spec.initContainers or []):
        early = containers is spec.initContainers
        readings = {
            _Reading(container.name, "only in an init container" if early else way)
            for container in containers
            for way in _ways(container, volumes, reference)
        }
        if readings:
            return readings
    return set()


def _ways(
    container: Container, volumes: Mapping[str, Volume], reference: Reference
) -> Iterator[str]:
    for mount in container.volumeMounts or ():
        if mount.name in volumes:
            yield "by subPath" if mount.subPath or mount.subPathExpr else _WHOLE
    for variable in container.env or ():
        origin = variable.valueFrom
        of_map = origin.configMapKeyRef if origin else None
        of_secret = origin.secretKeyRef if origin else None
        chosen = of_map if reference.kind is Kind.CONFIG_MAP else of_secret
        if chosen and chosen.name == reference.name:
            yield "by env"
    for group in container.envFrom or ():
        all_of = (
            group.configMapRef if reference.kind is Kind.CONFIG_MAP else group.secretRef
        )
        if all_of and all_of.name == reference.name:
            yield "by envFrom"


def _places(
    sidecar: Sidecar, volumes: Mapping[str, Volume], source: Source
) -> tuple[Place, ...]:
    mounts = sidecar.container.volumeMounts or []
    points = [directory(mount.mountPath) for mount in mounts]
    return tuple(
        _place(point, volumes[mount.name], source, _selection(sidecar, point))
        for mount, point in zip(mounts, points, strict=True)
        if mount.name in volumes
        and not (mount.subPath or mount.subPathExpr)
        and (sidecar.directories is None or point in sidecar.directories)
    )


def _place(
    point: str, volume: Volume, source: Source, selection: Selection | None
) -> Place:
    return Place(
        point,
        expected(volume, source, selection),
        expected_keys(volume, source, selection),
        is_shared(volume, source),
    )


def _selection(sidecar: Sidecar, point: str) -> Selection | None:
    """Return which keys count; None if others than the object's do as well.

    Those of a volume that is mounted inside this one are read with it.
    """
    mounts = sidecar.container.volumeMounts or []
    inside = (directory(m.mountPath).startswith(f"{point}/") for m in mounts)
    return None if any(inside) else sidecar.selection
