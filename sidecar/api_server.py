"""The API server, as a pod reaches it: with its own token, one call at a time.

A call is a `Requester`'s request, so it never makes the loop wait, can be abandoned,
and reads the token and the CA again when they change: the kubelet renews both.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final  # Any: what JSON holds

from .errors import ReloadError
from .exchange import Exchange, Response
from .request import Requester
from .settings import ClusterSettings, RequestSettings, TlsSettings

_TIMEOUT: Final = 10.0
_LIMIT: Final = 4 * 1024 * 1024
"""An object is at most 1.5 MiB in etcd, and JSON is somewhat longer."""

_ANY = (range(100, 600),)
_MESSAGE = 300

_MOUNT: Final = (
    "mount a projected volume with a serviceAccountToken and ca.crt of the ConfigMap"
    " kube-root-ca.crt into this container, as manifests/examples/rollout does"
)
_REACH: Final = "see that NetworkPolicies let this pod reach the API server"
_HINTS: Final = {
    "credentials": _MOUNT,
    "tls_files": _MOUNT,
    "tls": "the CA in ca.crt must be the cluster's: take ConfigMap kube-root-ca.crt",
    "refused": _REACH,
    "unreachable": _REACH,
    "dns": _REACH,
    "timeout": _REACH,
    "closed": "the API server may be restarting; it is tried again",
    "protocol": "KUBERNETES_SERVICE_HOST and _PORT must name the API server",
}
"""What to do, by a `ReloadError`'s reason: a webhook's mends are others."""


class Call:
    """One method on one path. Made, started and closed by the loop's thread."""

    def __init__(
        self,
        settings: ClusterSettings,
        method: str,
        path: str,
        *,
        wake: Callable[[], None],
        forbidden: str,
        missing: str,
    ) -> None:
        """`forbidden` and `missing` say what to change after 403 and 404."""
        self.where = f"{method} {path}"
        self._hints = {403: forbidden, 404: missing}
        # Python 3.13 refuses CAs without a key usage, and a cluster's may have none: no
        # other client minds
        tls = TlsSettings(
            ca_file=settings.ca_file, ca_name="the cluster's CA", strict=False
        )
        request = RequestSettings(
            url=f"{settings.url}{path}",
            method=method,
            bearer_token_file=settings.token_file,
            bearer_name="the ServiceAccount's token",
            tls=tls,
            expect_status=_ANY,
            timeout=_TIMEOUT,
            direct=True,
        )
        self._requester = Requester(request, wake, read_limit=_LIMIT)

    def start(
        self, body: object = None, content_type: str = "application/json"
    ) -> Exchange:
        """Begin it and return at once."""
        if body is None:
            return self._requester.start()
        return self._requester.start(json.dumps(body).encode(), content_type)

    def close(self) -> None:
        """Abandon what runs."""
        self._requester.close()

    def judged(self, answer: Response | ReloadError) -> Mapping[str, Any] | ReloadError:
        """Return the object that was answered, or what is wrong and mends it."""
        if isinstance(answer, ReloadError):
            error = answer
            hint = _HINTS.get(error.reason, error.hint)
            return ReloadError(error.reason, error.detail, hint)
        document = _document(answer)
        if document is None:
            return ReloadError(
                "protocol", f"{self.where}: no JSON was answered", _HINTS["protocol"]
            )
        if 200 <= answer.status < 300:
            return document
        return self._refused(answer.status, document)

    def _refused(self, status: int, document: Mapping[str, Any]) -> ReloadError:
        message = "".join(
            letter if letter.isprintable() else "?"
            for letter in str(document.get("message", ""))[:_MESSAGE]
        )
        detail = f"{self.where}: answered {status}: {message}"
        match status:
            case 401:
                return ReloadError("credentials", detail, _MOUNT)
            case 403:
                return ReloadError("forbidden", detail, self._hints[403])
            case 409:
                return ReloadError("conflict", detail, "it is tried again")
            case _:
                hint = self._hints.get(status, "it is tried again")
                return ReloadError("status", detail, hint)


def _document(answer: Response) -> Mapping[str, Any] | None:
    try:
        document = json.loads(answer.text or "")
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
