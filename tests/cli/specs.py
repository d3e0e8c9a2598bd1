"""Objects as the API has them, in as few words as a test needs."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from lightkube.models.core_v1 import Pod

Document = dict[str, Any]  # JSON, as the API shapes it

CHANGED = "2026-11-22T12:00:00Z"
SITE_VOLUME: Document = {"name": "site", "configMap": {"name": "site"}}


def config_map(
    name: str = "site",
    data: Mapping[str, str] | None = None,
    *,
    binary: Mapping[str, bytes] | None = None,
    immutable: bool = False,
    changed: str = CHANGED,
) -> Document:
    """Return a ConfigMap whose content was last changed at `changed`."""
    coded = {key: base64.b64encode(raw).decode() for key, raw in (binary or {}).items()}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "managedFields": [written(changed, "f:data")]},
        "data": dict(data or {}),
        "binaryData": coded,
        "immutable": immutable,
    }


def secret(name: str = "tls", changed: str = CHANGED) -> Document:
    """Return a Secret, likewise."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "managedFields": [written(changed, "f:data")]},
        "data": {"password": base64.b64encode(b"hunter2").decode()},
    }


def written(when: str, *fields: str) -> Document:
    """Return what the API server notes of a writer."""
    return {"manager": "kubectl", "time": when, "fieldsV1": {f: {} for f in fields}}


def mount(path: str, volume: str = "site", **more: str) -> Document:
    """Return a volumeMount."""
    return {"name": volume, "mountPath": path, **more}


def program(*mounts: Document, **more: object) -> Document:
    """Return the container that the content is for."""
    return {"name": "nginx", "image": "nginx", "volumeMounts": list(mounts), **more}


def sidecar(*mounts: Document, env: Mapping[str, str] | None = None) -> Document:
    """Return a sidecar's container that watches `/etc/site`, if `env` says nothing."""
    variables = {"WATCH_DIRS": "/etc/site"} | dict(env or {})
    return {
        "name": "config-reload",
        "image": "localhost/config-reload-sidecar:dev",
        "env": [{"name": name, "value": text} for name, text in variables.items()],
        "volumeMounts": list(mounts or [mount("/etc/site")]),
    }


def pod(
    name: str = "web-0",
    containers: Sequence[Document] | None = None,
    volumes: Sequence[Document] = (SITE_VOLUME,),
    *,
    metadata: Document | None = None,
    **spec: object,
) -> Document:
    """Return a running pod: nginx and the sidecar, both with the volume `site`."""
    usual = [program(mount("/etc/nginx/conf.d")), sidecar()]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "uid": f"uid-of-{name}", **(metadata or {})},
        "spec": {
            "nodeName": "node1",
            "containers": list(usual if containers is None else containers),
            "volumes": list(volumes),
            **spec,
        },
        "status": {"phase": "Running"},
    }


def decoded(*documents: Document) -> list[Pod]:
    """Return the pods as the client decodes them."""
    return [msgspec.convert(document, Pod) for document in documents]
