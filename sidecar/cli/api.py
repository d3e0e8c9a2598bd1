"""What `push` asks of the API server: the object, pods, a touch, and their sidecars.

Each request is tried again with growing waits while the server says that it is busy.
What it refuses for good is an `AccessError` that says what to change; what concerns one
pod alone is a `Verdict`.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

import httpx2
import msgspec
from lightkube.core.exceptions import ConfigError
from lightkube.models.core_v1 import ConfigMap, Pod, Secret
from lightkube.models.meta_v1 import Status

from sidecar.schedule import retry_wait

from . import verdict
from .access import Access, AccessError
from .mounting import Member
from .objects import Kind, Reference, Source, of_config_map, of_secret
from .stage import Stage, Verdict
from .verdict import Answer

T = TypeVar("T")

ANNOTATION = "config-reload-sidecar/pushed"

_PAGE = 500
_TRIES = 6
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 15.0
_BUSY = frozenset({409, 429, 500, 502, 503, 504})
_TOO_MANY = frozenset({429})
_EXPIRED = 410
_STATUS_LIMIT = 4 * 1024 * 1024
"""Bytes of a `/status`: a pod may answer anything."""

_LOOK_TIMEOUT = 5.0
_METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


@dataclass(frozen=True, slots=True)
class _Right:
    """What a request needs to be allowed, as a Role says it."""

    verb: str
    resource: str
    name: str | None = None

    def rule(self) -> str:
        names = f"    resourceNames: [{self.name}]\n" if self.name else ""
        return (
            f'  - apiGroups: [""]\n    resources: [{self.resource}]\n{names}'
            f"    verbs: [{self.verb}]"
        )


@dataclass(frozen=True, slots=True)
class _Reply:
    code: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def status(self) -> Status | None:
        """Why it was refused, if the API server itself says so."""
        try:
            status = msgspec.json.decode(self.body, type=Status)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return status if status.kind == "Status" else None

    @property
    def reason(self) -> str:
        status = self.status
        text = status.message if status else self.body[:200].decode(errors="replace")
        return text or httpx2.codes.get_reason_phrase(self.code)

    @property
    def retry_after(self) -> float:
        """How long the server asks to wait, in seconds."""
        text = self.headers.get("Retry-After", "")
        return float(text) if text.isascii() and text.isdigit() else 0.0


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
    """One namespace of one cluster. Any thread may call."""

    def __init__(self, access: Access, namespace: str, ended: threading.Event) -> None:
        """`ended` cuts the waits short."""
        self._access = access
        self._namespace = namespace
        self._ended = ended
        self._reached = False

    def source(self, wanted: Reference) -> Source | None:
        """Get the object; None if there is none."""
        right = _Right("get", f"{wanted.kind}s", wanted.name)
        reply = self._request("GET", f"{right.resource}/{wanted.name}", right)
        if reply.code == 404 and reply.status:
            return None
        if wanted.kind is Kind.CONFIG_MAP:
            return of_config_map(
                wanted, self._read(reply, right, ConfigMap), time.time()
            )
        return of_secret(wanted, self._read(reply, right, Secret), time.time())

    def names(self, kind: Kind) -> list[str]:
        """List the objects that there are, by name; none if that is not allowed."""
        reply = self._send(
            "GET", f"{kind}s", headers={"Accept": _METADATA_ONLY}, busy=_BUSY
        )
        if reply.code != 200:
            return []
        try:
            found = msgspec.json.decode(reply.body, type=_PartialList)
        except msgspec.DecodeError:
            return []
        return [item.metadata.name for item in found.items]

    def pods(self) -> list[Pod]:
        """List the pods, page by page; again from the start if that took too long."""
        right = _Right("list", "pods")
        for _ in range(_TRIES):
            found = self._pages(right)
            if found is not None:
                return found
        raise AccessError(f"{self._where} forgets a list of pods while it is read")

    def _pages(self, right: _Right) -> list[Pod] | None:
        pods: list[Pod] = []
        more = ""
        while True:
            params = {"limit": str(_PAGE)} | ({"continue": more} if more else {})
            reply = self._request("GET", "pods", right, params=params)
            if more and reply.code == _EXPIRED:
                return None
            page = self._read(reply, right, _Page)
            pods.extend(page.items)
            more = page.metadata.next
            if not more:
                return pods

    def touch(self, pod: Member) -> Verdict | None:
        """Patch an annotation, which makes the kubelet sync; None if that went well."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        patch = {"metadata": {"annotations": {ANNOTATION: now}}}
        right = _Right("patch", "pods")
        reply = self._request(
            "PATCH",
            f"pods/{pod.name}",
            right,
            content=msgspec.json.encode(patch),
            headers={"Content-Type": "application/merge-patch+json"},
        )
        if reply.code == 404:
            return Verdict(Stage.GONE)
        if reply.code >= 300:
            return Verdict(Stage.REFUSED, reply.reason)
        return None

    def ask(self, pod: Member, port: int) -> Answer | Verdict:
        """Ask a sidecar for its status, through the API server's pod proxy."""
        right = _Right("get", "pods/proxy")
        path = f"pods/{pod.name}:{port}/proxy/status"
        try:
            reply = self._once("GET", path, limit=_STATUS_LIMIT, timeout=_LOOK_TIMEOUT)
        except httpx2.RequestError as error:
            return Verdict(Stage.SILENT, f"no answer: {error}")
        if reply.code == 200:
            return verdict.read(reply.body) or Verdict(
                Stage.ALONE,
                f"what answers on its port {port} is no sidecar, or one of a version"
                " that this one does not understand",
            )
        if reply.code in (401, 403) and reply.status:
            self._refuse(reply, right)
        status = reply.status
        if reply.code == 404 and status and status.details:
            return Verdict(Stage.GONE)
        if reply.code < 500 and reply.code != 429:
            why = f"port {port} has no /status ({reply.code}): is its sidecar too old?"
            return Verdict(Stage.ALONE, why)
        return Verdict(Stage.SILENT, f"no answer on port {port}: {reply.reason}")

    def _request(
        self,
        method: str,
        path: str,
        right: _Right,
        *,
        params: Mapping[str, str] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> _Reply:
        reply = self._send(
            method, path, params=params, content=content, headers=headers, busy=_BUSY
        )
        if reply.code in (401, 403) or reply.code in _BUSY:
            self._refuse(reply, right)
        return reply

    def _send(
        self,
        method: str,
        path: str,
        *,
        busy: frozenset[int],
        params: Mapping[str, str] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> _Reply:
        """Send until the server is not busy, or was so too often."""
        for failures in range(1, _TRIES):
            asked = 0.0
            try:
                reply = self._once(
                    method, path, params=params, content=content, headers=headers
                )
            except httpx2.RequestError as error:
                if not self._reached:
                    raise self._unreachable(error) from error
            else:
                if reply.code not in busy:
                    return reply
                asked = reply.retry_after
            chance = random.random()  # noqa: S311  # to spread, not to hide
            wait = retry_wait(failures, _FIRST_WAIT, _LONGEST_WAIT, chance)
            self._ended.wait(min(max(wait, asked), 2 * _LONGEST_WAIT))
        try:
            return self._once(
                method, path, params=params, content=content, headers=headers
            )
        except httpx2.RequestError as error:
            raise self._unreachable(error) from error

    def _once(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        limit: int | None = None,
        timeout: float | None = None,
    ) -> _Reply:
        """Make one request.

        Raises:
            httpx2.RequestError: there was no whole answer.
        """
        client = self._access.http
        request = client.build_request(
            method,
            f"api/v1/namespaces/{self._namespace}/{path}",
            params=params,
            content=content,
            headers=headers,
            timeout=timeout if timeout is not None else httpx2.USE_CLIENT_DEFAULT,
        )
        try:
            response = client.send(request, stream=True)
        except httpx2.LocalProtocolError as error:
            # its message holds the header, which is a token
            raise AccessError(
                f"the credentials of context {self._access.context!r} hold characters"
                " that no header may hold"
            ) from error
        except (ConfigError, KeyError, ValueError, OSError) as error:
            # a program that fetches a token is run now
            raise AccessError(
                f"no credentials could be had for context {self._access.context!r}:"
                f" {error}; log in again"
            ) from error
        try:
            body = _body(response, limit, timeout)
        finally:
            response.close()
        self._reached = True
        return _Reply(response.status_code, response.headers, body)

    def _read(self, reply: _Reply, right: _Right, kind: type[T]) -> T:
        if reply.code != 200:
            raise AccessError(
                f"{self._where} answered {reply.code} to {right.verb}"
                f" {right.resource}: {reply.reason}"
            )
        try:
            return msgspec.json.decode(reply.body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise AccessError(
                f"what answers at {self._access.server} is no Kubernetes API server"
                f" ({error}): does context {self._access.context!r} name the right one?"
            ) from error

    @property
    def _where(self) -> str:
        return f"the API server of context {self._access.context!r}"

    def _unreachable(self, error: httpx2.RequestError) -> AccessError:
        return AccessError(
            f"{self._where} ({self._access.server}) can't be reached: {error}; is it"
            " the right context, and are you in its network?"
        )

    def _refuse(self, reply: _Reply, right: _Right) -> None:
        if reply.code == 401:
            raise AccessError(
                f"{self._where} does not know you: the token or certificate is wrong or"
                " has expired; log in again"
            )
        if reply.code == 403:
            raise AccessError(
                f"{self._where} does not allow it: {reply.reason}\nA Role in namespace"
                f" {self._namespace} with this rule does, or manifests/push/role.yaml,"
                f" which has all of them:\n{right.rule()}"
            )
        raise AccessError(
            f"{self._where} is busy: {reply.code} to {right.verb} {right.resource},"
            f" again and again ({reply.reason}); try later"
        )


def _body(response: httpx2.Response, limit: int | None, timeout: float | None) -> bytes:
    until = time.monotonic() + timeout if timeout else None
    body = bytearray()
    for chunk in response.iter_bytes():
        body += chunk
        if limit is not None and len(body) > limit:
            raise httpx2.ReadError(f"the answer is over {limit} bytes")
        if until is not None and time.monotonic() > until:
            raise httpx2.ReadTimeout(f"the answer takes over {timeout:g} s")
    return bytes(body)
