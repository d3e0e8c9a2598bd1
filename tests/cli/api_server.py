"""A small API server: the five requests of `push`, over real HTTP.

It stands in for a kube-apiserver because these tests must run where none is installed,
and because a real one can't be asked to be busy or to page a list at will. The answers
and their shapes were taken from a real one; the tests on a real cluster use that.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

from tests.cli.specs import Document
from tests.hook import Answer, Hook, Request

NAMESPACE = "/api/v1/namespaces/shop/"
TOKEN = "letmein"  # noqa: S105  # nobody's


def reply(document: Document, code: int = 200) -> Answer:
    """Answer with JSON."""
    return Answer(code, json.dumps(document))


def refusal(code: int, message: str, kind: str = "", **headers: str) -> Answer:
    """Answer as an API server that refuses."""
    status = {"kind": "Status", "status": "Failure", "message": message, "code": code}
    details = {"details": {"kind": kind}} if kind else {}
    return Answer(
        code,
        json.dumps(status | details),
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )


class ApiServer:
    """A namespace `shop`, and pods that answer on their ports.

    `troubles` is asked first, with each request's method and path in the namespace, and
    may answer in the server's place.
    """

    def __init__(self) -> None:
        self.objects: dict[str, Document] = {}
        """By `configmaps/NAME` and `secrets/NAME`."""

        self.pods: dict[str, Document] = {}
        self.sidecars: dict[str, Callable[[], Answer]] = {}
        """What answers behind the proxy, by `POD:PORT`."""

        self.touched: list[str] = []
        """The pods that were patched, in order."""

        self.on_touch: Callable[[str], None] = lambda _pod: None
        self.troubles: Callable[[str, str], Answer | None] = lambda _method, _path: None
        self.requests: list[str] = []
        """`METHOD path?query` of each, in order."""

        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self._hook = Hook(self._counted)

    @property
    def url(self) -> str:
        return self._hook.url.removesuffix("/-/reload")

    def kubeconfig(self, path: Path, token: str = TOKEN) -> Path:
        """Write a kubeconfig that leads here, with a context `test`."""
        path.write_text(json.dumps(kubeconfig(self.url, token)))
        return path

    def _counted(self, request: Request, _number: int) -> Answer:
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            return self._answer(request)
        finally:
            with self._lock:
                self._at_once -= 1

    def _answer(self, request: Request) -> Answer:
        method, parts = request.method, urlsplit(request.path)
        path = parts.path.removeprefix(NAMESPACE)
        with self._lock:
            self.requests.append(f"{method} {path}?{parts.query}".rstrip("?"))
        token = request.headers.get("authorization")
        if token != f"Bearer {TOKEN}":
            return refusal(401, "Unauthorized")
        trouble = self.troubles(method, path)
        if trouble:
            return trouble
        if path == "pods":
            return self._list(parse_qs(parts.query))
        if path.startswith("pods/"):
            return self._pod(method, path.removeprefix("pods/"))
        return self._object(path)

    def _list(self, query: Mapping[str, list[str]]) -> Answer:
        names = sorted(self.pods)
        start = int(query.get("continue", ["0"])[0])
        end = start + int(query.get("limit", ["500"])[0])
        more = {"continue": str(end)} if end < len(names) else {}
        items = [self.pods[name] for name in names[start:end]]
        return reply({"kind": "PodList", "items": items, "metadata": more})

    def _pod(self, method: str, path: str) -> Answer:
        name, _, rest = path.partition("/")
        name, _, port = name.partition(":")
        if name not in self.pods:
            return refusal(404, f'pods "{name}" not found', "pods")
        if method == "PATCH":
            with self._lock:
                self.touched.append(name)
            self.on_touch(name)
            return reply(self.pods[name])
        sidecar = self.sidecars.get(f"{name}:{port}")
        if sidecar is None or rest != "proxy/status":
            return refusal(503, "error trying to reach service: connection refused")
        return sidecar()

    def _object(self, path: str) -> Answer:
        if path in self.objects:
            return reply(self.objects[path])
        if "/" in path:
            return refusal(404, "not found", path.partition("/")[0])
        names = [key for key in self.objects if key.startswith(f"{path}/")]
        metadata = [{"metadata": {"name": name.partition("/")[2]}} for name in names]
        return reply({"kind": "PartialObjectMetadataList", "items": metadata})

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


def kubeconfig(url: str, token: str) -> Document:
    """Return a kubeconfig with one context, `test`, in namespace `shop`."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [
            {
                "name": "test",
                "context": {"cluster": "c", "user": "u", "namespace": "shop"},
            }
        ],
        "current-context": "test",
    }
