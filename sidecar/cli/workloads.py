"""Which objects of a document start pods, and where their pod spec stands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType

from .documents import Document, Path, Plain

_TEMPLATE: Path = ("spec", "template", "spec")
_PLACES = MappingProxyType(
    {
        ("", "Pod"): ("spec",),
        ("", "ReplicationController"): _TEMPLATE,
        ("apps", "Deployment"): _TEMPLATE,
        ("apps", "StatefulSet"): _TEMPLATE,
        ("apps", "DaemonSet"): _TEMPLATE,
        ("apps", "ReplicaSet"): _TEMPLATE,
        ("batch", "Job"): _TEMPLATE,
        ("batch", "CronJob"): ("spec", "jobTemplate", *_TEMPLATE),
    }
)
"""By API group too: other groups have kinds of the same name and another shape."""


@dataclass(frozen=True, slots=True)
class Thing:
    """An object of the Kubernetes API; `path` leads to it in its document."""

    document: Document
    path: Path
    group: str
    kind: str
    namespace: str
    """Empty where the manifest leaves it to whoever applies it."""

    name: str

    @property
    def spec_path(self) -> Path | None:
        """Where its pod spec stands, if it is of a kind that has one."""
        place = _PLACES.get((self.group, self.kind))
        return None if place is None else (*self.path, *place)

    def __str__(self) -> str:
        return f"{self.kind.lower()}/{self.name}"


def things(document: Document) -> Iterator[Thing]:
    """Return the objects of a document: those in a List one by one, each once."""
    yield from _things(document, (), document.plain(), set())


def _things(
    document: Document, path: Path, said: Plain, seen: set[int]
) -> Iterator[Thing]:
    # an alias stands for what it means, or Lists of aliases of Lists would never end
    if not isinstance(said, dict) or id(said) in seen:
        return
    seen.add(id(said))
    kind, version = said.get("kind"), said.get("apiVersion")
    items = said.get("items")
    if not isinstance(kind, str) or not isinstance(version, str):
        return
    if kind.endswith("List") and isinstance(items, list):
        for index, item in enumerate(items):
            yield from _things(document, (*path, "items", index), item, seen)
        return
    metadata = said.get("metadata")
    known = metadata if isinstance(metadata, dict) else {}
    namespace, name = str(known.get("namespace") or ""), str(known.get("name") or "")
    group = version.rpartition("/")[0]
    yield Thing(document, path, group, kind, namespace, name)
