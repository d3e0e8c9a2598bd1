"""A ConfigMap or a Secret as a person names it, and what `push` needs to know of it.

Of a Secret nobody looks at the content: the names of its keys, and when it was changed,
are enough.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from lightkube.models.core_v1 import ConfigMap, Secret
from lightkube.models.meta_v1 import ObjectMeta

from sidecar.values import subdomain

_EVERY_KUBELET = 100.0
"""After so many seconds every kubelet has synced by itself, and some are to spare."""

_CONTENT = frozenset({"f:data", "f:binaryData", "f:stringData"})


class Kind(StrEnum):
    """What can be pushed."""

    CONFIG_MAP = "configmap"
    SECRET = "secret"  # noqa: S105  # a word, not a password


_SHORT = {"cm": Kind.CONFIG_MAP, "configmaps": Kind.CONFIG_MAP, "secrets": Kind.SECRET}


@dataclass(frozen=True, slots=True, order=True)
class Reference:
    """`configmap/NAME` or `secret/NAME`."""

    kind: Kind
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class Source:
    """The object as the API has it now."""

    reference: Reference
    changed: float
    """When its content was last changed, in whole seconds since the epoch."""

    keys: frozenset[str]
    """Their names: `/status` shows those of the files."""

    content: Mapping[str, bytes] | None = None
    """By key; None of a Secret."""

    immutable: bool = False
    aged: bool = field(default=False, compare=False)
    """Whether every kubelet has looked since by itself: each does within 90 s."""


def reference(text: str) -> Reference:
    """Read KIND/NAME.

    Raises:
        ValueError: with what is wrong and what is accepted.
    """
    accepted = "accepted: configmap/NAME or secret/NAME"
    word, _, name = text.partition("/")
    kind = _SHORT.get(word.lower()) or next(
        (k for k in Kind if k == word.lower()), None
    )
    if kind is None or not name:
        raise ValueError(f"{text!r}: not an object; {accepted}")
    try:
        return Reference(kind, subdomain(name))
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from error


def of_config_map(found: Reference, document: ConfigMap, now: float) -> Source:
    """Take what counts of a ConfigMap; `now` in seconds since the epoch."""
    content = {key: value.encode() for key, value in (document.data or {}).items()}
    for key, value in (document.binaryData or {}).items():
        content[key] = base64.b64decode(value)
    return _source(found, document, content, content, now)


def of_secret(found: Reference, document: Secret, now: float) -> Source:
    """Take what counts of a Secret: none of its content."""
    return _source(found, document, document.data or {}, None, now)


def _source(
    found: Reference,
    document: ConfigMap | Secret,
    keys: Iterable[str],
    content: Mapping[str, bytes] | None,
    now: float,
) -> Source:
    changed = _changed(document.metadata)
    aged = now - changed > _EVERY_KUBELET
    immutable = bool(document.immutable)
    return Source(found, changed, frozenset(keys), content, immutable, aged)


def _changed(metadata: ObjectMeta | None) -> float:
    """Return when somebody last changed the content, or may have.

    The API server notes the time, in whole seconds, with what each writer owns; who
    owns labels or `immutable` alone did not change the content. It notes none for who
    only removes a key: its managedFieldsUpdater.
    """
    if metadata is None:
        return 0.0
    times = [
        entry.time
        for entry in metadata.managedFields or ()
        if entry.time and _CONTENT.intersection(entry.fieldsV1 or _CONTENT)
    ]
    newest: datetime | None = max(times, default=metadata.creationTimestamp)
    return newest.timestamp() if newest else 0.0


_GENERATION = re.compile(r"\.\.(\d{4}(?:_\d\d){5})\.\d+")


def short_generation(name: str) -> str:
    """Return a generation's time, which tells it from the others for people."""
    match = _GENERATION.fullmatch(name)
    return match[1] if match else name
