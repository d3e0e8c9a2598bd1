"""The few endpoints of an API server that the sidecar calls, over HTTPS.

A real cluster is tested in tests/e2e. What it can't be told is when to conflict, to
refuse, to be away, and which replica comes first: this server can. It is small enough
to be compared with the documentation of the real one: an object has a resource version
that each change raises, a merge patch that carries another one is answered 409, and a
change of the spec raises the generation.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self  # Any: what JSON holds

import trustme

from tests.hook import Answer, Hook, Request

Json = dict[str, Any]

ANNOTATION = "config-reload-sidecar/config"
TOKEN = "a-token"  # noqa: S105  # of nobody


@dataclass(frozen=True, slots=True)
class Call:
    """What somebody asked."""

    method: str
    path: str
    body: Json
    token: str
    content_type: str


class ApiServer:
    """One namespace with one workload; `refuse` may answer instead of it."""

    def __init__(self, kind: str = "deployment", **spec: object) -> None:
        self.path = f"/apis/apps/v1/namespaces/site/{kind}s/web"
        self.refuse: Callable[[Call], tuple[int, str] | None] = lambda _: None
        self.before_patch: Callable[[], None] = lambda: None
        self.token = TOKEN
        self._calls: list[Call] = []
        self._taken: list[str] = []
        self._news = threading.Condition()
        self._version = 41
        self.workload: Json = {
            "metadata": {"name": "web", "uid": "the-uid", "generation": 1},
            "spec": {"replicas": 5, "template": {"metadata": {}}} | spec,
            "status": {"observedGeneration": 1},
        }
        self._changed()
        self._ca = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert("127.0.0.1").configure_cert(context)
        self._hook = Hook(self._answered, context)

    @property
    def port(self) -> int:
        return self._hook.port

    def write_account(self, directory: Path) -> Path:
        """Write what the kubelet projects into a pod, and return where."""
        directory.mkdir(exist_ok=True)
        (directory / "token").write_text(self.token)
        self._ca.cert_pem.write_to_path(directory / "ca.crt")
        return directory

    @property
    def config(self) -> str | None:
        """The annotation of the pod template."""
        metadata: Json = self.workload["spec"]["template"]["metadata"]
        value: str | None = (metadata.get("annotations") or {}).get(ANNOTATION)
        return value

    @property
    def patches(self) -> list[str]:
        """The values of every patch that was taken, in order."""
        return list(self._taken)

    def calls(self, method: str, path: str | None = None) -> list[Call]:
        with self._news:
            return [
                call
                for call in self._calls
                if call.method == method and path in (None, call.path)
            ]

    def wait_for(self, method: str, count: int, within: float = 15.0) -> list[Call]:
        """Return all calls with that method once there are so many."""
        with self._news:
            if not self._news.wait_for(
                lambda: sum(c.method == method for c in self._calls) >= count, within
            ):
                raise TimeoutError(f"{self._calls} are not {count} of {method}")
        return self.calls(method)

    def change(self, **spec: object) -> None:
        """Change the workload as somebody else would."""
        with self._news:
            self.workload["spec"] |= spec
            self.workload["metadata"]["generation"] += 1
            self._changed()

    def report(self, **status: object) -> None:
        """Report the state of the rollout as the controller does."""
        with self._news:
            seen = {"observedGeneration": self.workload["metadata"]["generation"]}
            self.workload["status"] |= seen | status
            self._changed()

    def _answered(self, request: Request, _number: int) -> Answer:
        headers = request.headers
        status, document = self._answer(
            Call(
                request.method,
                request.path,
                json.loads(request.body or b"{}"),
                headers.get("authorization", "").removeprefix("Bearer "),
                headers.get("content-type", ""),
            )
        )
        return Answer(status, json.dumps(document))

    def _answer(self, call: Call) -> tuple[int, Json]:
        """Answer a call. Any thread."""
        if call.method == "PATCH":
            self.before_patch()
        with self._news:
            self._calls.append(call)
            self._news.notify_all()
            refused = self.refuse(call)
            if refused:
                return refused[0], {"kind": "Status", "message": refused[1]}
            if call.token != self.token:
                return 401, {"kind": "Status", "message": "Unauthorized"}
            if call.path == self.path and call.method == "GET":
                return 200, self.workload
            if call.path == self.path and call.method == "PATCH":
                return self._patch(call.body)
            if call.method == "POST" and call.path.endswith("/events"):
                return 201, call.body
            return 404, {"kind": "Status", "message": f"no {call.path}"}

    def _patch(self, patch: Json) -> tuple[int, Json]:
        expected = patch.get("metadata", {}).pop("resourceVersion", None)
        if expected not in (None, self.workload["metadata"]["resourceVersion"]):
            return 409, {"kind": "Status", "message": "the object has been modified"}
        self.workload = _merged(self.workload, patch)
        self.workload["metadata"]["generation"] += 1
        self._taken.append(self.config or "")
        self._changed()
        return 200, self.workload

    def _changed(self) -> None:
        self._version += 1
        self.workload["metadata"]["resourceVersion"] = str(self._version)

    def __enter__(self) -> Self:
        self._hook.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._hook.__exit__(kind, error, trace)


def _merged(document: Mapping[str, Any], patch: Mapping[str, Any]) -> Json:
    """Merge as RFC 7386 says."""
    result = dict(document)
    for name, value in patch.items():
        if isinstance(value, dict):
            old = result.get(name)
            result[name] = _merged(old if isinstance(old, dict) else {}, value)
        elif value is None:
            result.pop(name, None)
        else:
            result[name] = value
    return result
