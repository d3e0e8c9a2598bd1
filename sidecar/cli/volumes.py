"""What a pod's volumes hold of an object, and the digest that it comes to there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

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


def expected(volume: Volume, source: Source, selection: Selection | None) -> str | None:
    """Compute the digest that the volume comes to, where the sidecar shows it.

    That is on mounts of ConfigMaps only; a hash of a short secret can be guessed.
    """
    if source.content is None or selection is None or volume.configMap is None:
        return None
    files = _paths(source.content, volume.configMap.items or ())
    return digest.of_volume(
        {
            path.encode(): digest.of_content(content)
            for path, content in files.items()
            if selection.selects(path)
        }
    )


def _paths(
    content: Mapping[str, bytes], items: Sequence[KeyToPath]
) -> Mapping[str, bytes]:
    """Return a volume's files: all keys by their names, or `items` by their paths."""
    if not items:
        return content
    return {
        directory(item.path)[1:]: content[item.key]
        for item in items
        if item.key in content
    }


def absent_key(volume: Volume, source: Source) -> str | None:
    """Say which key of `items` is missing: the kubelet then changes nothing."""
    if source.content is None:
        return None
    strict = (
        items
        for found, items, optional in held(volume)
        if found == source.reference and not optional
    )
    for item in (item for items in strict for item in items):
        if item.key not in source.content:
            return (
                f"the volume {volume.name} asks for the key {item.key}, which"
                f" {source.reference} lacks, so the kubelet leaves it as it is: add the"
                " key, or set optional: true"
            )
    return None
