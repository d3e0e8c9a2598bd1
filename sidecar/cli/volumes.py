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
    """Whether others make files in the volume, whose names are not known."""
    parts = (volume.projected and volume.projected.sources) or ()
    return any(found != source.reference for found, _, _ in held(volume)) or not all(
        part.configMap or part.secret or part.serviceAccountToken or part.downwardAPI
        for part in parts
    )


def expected_keys(
    volume: Volume, source: Source, selection: Selection | None
) -> frozenset[str] | None:
    """Return the names of the files there, but for other objects', that count."""
    if selection is None:
        return None
    ours = (
        path
        for found, items, _ in held(volume)
        if found == source.reference
        for path in _paths(source.keys, items)
    )
    return frozenset(filter(selection.selects, (*ours, *_of_no_object(volume))))


def _of_no_object(volume: Volume) -> Iterator[str]:
    """Return the files that a projected volume has of the pod itself."""
    for part in (volume.projected and volume.projected.sources) or ():
        if part.serviceAccountToken:
            yield _path(part.serviceAccountToken.path)
        for item in (part.downwardAPI and part.downwardAPI.items) or ():
            yield _path(item.path)


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
    return {_path(item.path): item.key for item in items if item.key in keys}


def _path(text: str) -> str:
    """Write a path inside a volume as `/status` shows it."""
    return directory(text)[1:]


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
