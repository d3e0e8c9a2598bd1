"""What a pod's volumes hold of an object, and the digest that it comes to there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from lightkube.models.core_v1 import KeyToPath, Volume

from sidecar import digest
from sidecar.selection import Selection

from .container import directory
from .objects import Kind, Reference, Source


def held(volume: Volume) -> Iterator[tuple[Reference, Sequence[KeyToPath], bool]]:
    """Return the objects that a volume holds, with `items` and `optional`."""
    if volume.configMap and volume.configMap.name:
        found = Reference(Kind.CONFIG_MAP, volume.configMap.name)
        yield found, volume.configMap.items or (), bool(volume.configMap.optional)
    if volume.secret and volume.secret.secretName:
        found = Reference(Kind.SECRET, volume.secret.secretName)
        yield found, volume.secret.items or (), bool(volume.secret.optional)
    for part in (volume.projected and volume.projected.sources) or ():
        for kind, source in (
            (Kind.CONFIG_MAP, part.configMap),
            (Kind.SECRET, part.secret),
        ):
            if source and source.name:
                yield (
                    Reference(kind, source.name),
                    source.items or (),
                    bool(source.optional),
                )


def holds(volume: Volume, source: Source) -> bool:
    """Whether a volume holds the object, alone or with others."""
    return any(found == source.reference for found, _, _ in held(volume))


def is_shared(volume: Volume, source: Source) -> bool:
    """Whether anything but the object makes files in the volume."""
    parts = (volume.projected and volume.projected.sources) or ()
    others = any(part.serviceAccountToken or part.downwardAPI for part in parts)
    return others or any(found != source.reference for found, _, _ in held(volume))


def expected_keys(
    volume: Volume, source: Source, selection: Selection | None
) -> frozenset[str] | None:
    """Return the names of the object's files there, of those that count."""
    if selection is None:
        return None
    return frozenset(
        path
        for found, items, _ in held(volume)
        if found == source.reference
        for path in _paths(source.keys, items)
        if selection.selects(path)
    )


def expected(volume: Volume, source: Source, selection: Selection | None) -> str | None:
    """Compute the digest that the volume comes to, where the sidecar shows it.

    That is on mounts of ConfigMaps only; a hash of a short secret can be guessed.
    """
    if source.content is None or selection is None or volume.configMap is None:
        return None
    paths = _paths(source.keys, volume.configMap.items or ())
    return digest.of_volume(
        {
            path.encode(): digest.of_content(source.content[key])
            for path, key in paths.items()
            if selection.selects(path)
        }
    )


def _paths(keys: Collection[str], items: Sequence[KeyToPath]) -> Mapping[str, str]:
    """Return a volume's files, with the key of each: all by their names, or `items`."""
    if not items:
        return {key: key for key in keys}
    return {directory(item.path)[1:]: item.key for item in items if item.key in keys}


def absent_key(volume: Volume, source: Source) -> str | None:
    """Say which key of `items` is missing: the kubelet then changes nothing."""
    strict = (
        items
        for found, items, optional in held(volume)
        if found == source.reference and not optional
    )
    for item in (item for items in strict for item in items):
        if item.key not in source.keys:
            return (
                f"the volume {volume.name} asks for the key {item.key}, which"
                f" {source.reference} lacks, so the kubelet leaves it as it is: add the"
                " key, or set optional: true"
            )
    return None
