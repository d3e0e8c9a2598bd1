"""What `push` asks of the API server: the object, pods, a touch, and their sidecars.

What concerns one pod alone comes back as a `Verdict`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx2
import msgspec
from lightkube.models.core_v1 import ConfigMap, Pod, Secret
from lightkube.models.meta_v1 import Status

from . import verdict
from .client import TRIES, Client, Reply, Right
from .failure import AccessError
from .mounting import Member
from .objects import Kind, Reference, Source, of_config_map, of_secret
from .stage import Stage, Verdict
from .verdict import Answer

ANNOTATION = "config-reload-sidecar/pushed"

_PAGE = 500
_EXPIRED = 410
_STATUS_LIMIT = 4 * 1024 * 1024
"""Bytes of a `/status`: a pod may answer anything."""

_LOOK_TIMEOUT = 5.0
_METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


@dataclass(frozen=True, slots=True)
class _PartialList:
    """A list whose items are metadata alone: a Secret's content stays where it is."""

    items: list[_Partial]


@dataclass(frozen=True, slots=True)
class _Partial:
    metadata: _Name


@dataclass(frozen=True, slots=True)
class _Name:
    name: str


class _More(msgspec.Struct):
    next: str = msgspec.field(name="continue", default="")


@dataclass(frozen=True, slots=True)
class _Page:
    items: list[Pod]
    metadata: _More


class Api:
    """One namespace of one cluster. Any thread may call.

    Every method raises AccessError where the server can't be reached or refuses.
    """

    def __init__(self, client: Client, namespace: str) -> None:
        self._client = client
        self._path = f"api/v1/namespaces/{namespace}"
        # msgspec (0.22) prepares a type at its first use, and crashes if two threads do
        for kind in (Answer, Status):
            msgspec.json.Decoder(kind)

    def source(self, wanted: Reference) -> Source | None:
        """Get the object; None if there is none."""
        client, resource = self._client, f"{wanted.kind}s"
        right = Right("get", resource, wanted.name)
        request = client.request("GET", f"{self._path}/{resource}/{wanted.name}")
        reply = client.allowed(request, right)
        if reply.code == 404 and reply.status:
            return None
        now = time.time()
        if wanted.kind is Kind.CONFIG_MAP:
            return of_config_map(wanted, client.decoded(reply, right, ConfigMap), now)
        return of_secret(wanted, client.decoded(reply, right, Secret), now)

    def names(self, kind: Kind) -> list[str]:
        """List the objects that there are, by name; none if that is not allowed."""
        headers = {"Accept": _METADATA_ONLY}
        request = self._client.request("GET", f"{self._path}/{kind}s", headers=headers)
        reply = self._client.patiently(request)
        if reply.code != 200:
            return []
        found = self._client.decoded(reply, Right("list", f"{kind}s"), _PartialList)
        return [item.metadata.name for item in found.items]

    def pods(self) -> list[Pod]:
        """List the pods; again from the start if the server forgot where we were."""
        for _ in range(TRIES):
            found = self._pages()
            if found is not None:
                return found
        raise AccessError("the API server forgets a list of pods while it is read")

    def _pages(self) -> list[Pod] | None:
        client, right = self._client, Right("list", "pods")
        pods: list[Pod] = []
        more = ""
        while True:
            params = {"limit": str(_PAGE)} | ({"continue": more} if more else {})
            request = client.request("GET", f"{self._path}/pods", params=params)
            reply = client.allowed(request, right)
            if more and reply.code == _EXPIRED:
                return None
            page = client.decoded(reply, right, _Page)
            pods.extend(page.items)
            more = page.metadata.next
            if not more:
                return pods

    def touch(self, pod: Member) -> Verdict | None:
        """Patch an annotation, which makes the kubelet sync; None if that went well."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        request = self._client.request(
            "PATCH",
            f"{self._path}/pods/{pod.name}",
            content=msgspec.json.encode(
                {"metadata": {"annotations": {ANNOTATION: now}}}
            ),
            headers={"Content-Type": "application/merge-patch+json"},
        )
        reply = self._client.patiently(request)
        if _is_denied_by_policy(reply):
            return Verdict(Stage.REFUSED, reply.reason)
        self._client.check(reply, Right("patch", "pods"))
        if reply.code == 404:
            return Verdict(Stage.GONE)
        if reply.code >= 300:
            return Verdict(Stage.REFUSED, reply.reason)
        return None

    def ask(self, pod: Member, port: int) -> Answer | Verdict:
        """Ask a sidecar for its status, through the API server's pod proxy."""
        path = f"{self._path}/pods/{pod.name}:{port}/proxy/status"
        request = self._client.request("GET", path, timeout=_LOOK_TIMEOUT)
        try:
            reply = self._client.once(request, _STATUS_LIMIT, _LOOK_TIMEOUT)
        except httpx2.RequestError as error:
            return Verdict(Stage.SILENT, f"no answer on port {port}: {error}")
        if reply.code in (401, 403) and reply.status:
            self._client.refuse(reply, Right("get", "pods/proxy"))
        return _heard(reply, port)


def _is_denied_by_policy(reply: Reply) -> bool:
    """Whether it is not a right that is missing, but this pod that may not change.

    Nothing else tells the two apart: apiserver's webhook errors, `ToStatusErr`.
    """
    return reply.code == 403 and reply.reason.startswith("admission webhook ")


def _heard(reply: Reply, port: int) -> Answer | Verdict:
    """Tell the sidecar's answer from the API server's and from another program's."""
    status = reply.status
    if reply.code == 200:
        return verdict.read(reply.body) or Verdict(
            Stage.ALONE,
            f"what answers on port {port} is no sidecar, or one of a version that this"
            " one does not understand",
        )
    if reply.code == 404 and status and status.details:
        return Verdict(Stage.GONE)
    if reply.code >= 500 or reply.code == 429:
        return Verdict(Stage.SILENT, f"no answer on port {port}: {reply.reason}")
    return Verdict(
        Stage.ALONE,
        f"port {port} has no /status ({reply.code}): is its sidecar too old?",
    )
