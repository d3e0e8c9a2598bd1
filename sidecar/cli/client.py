"""One request to the API server: sent, tried again while it is busy, or refused.

What is refused for good is an `AccessError` that says what to change.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import NoReturn, TypeVar

import httpx2
import msgspec
from lightkube.core.exceptions import ConfigError
from lightkube.models.meta_v1 import Status

from sidecar.errors import Interrupted
from sidecar.schedule import retry_wait

from .access import Access
from .failure import AccessError

T = TypeVar("T")

TRIES = 6
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 15.0
"""Before a request is tried again, in seconds; the server may ask for twice that."""

_BUSY = frozenset({409, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Right:
    """What a request needs to be allowed, as a Role says it."""

    verb: str
    resource: str
    name: str | None = None

    def rule(self) -> str:
        """Write it as a rule of a Role."""
        names = f"    resourceNames: [{self.name}]\n" if self.name else ""
        return (
            f'  - apiGroups: [""]\n    resources: [{self.resource}]\n{names}'
            f"    verbs: [{self.verb}]"
        )


@dataclass(frozen=True, slots=True)
class Reply:
    """What was answered."""

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
        """Why it was refused, in the words of whoever did."""
        status = self.status
        text = status.message if status else self.body[:200].decode(errors="replace")
        return text or httpx2.codes.get_reason_phrase(self.code)

    @property
    def retry_after(self) -> float:
        """How long the server asks to wait, in seconds."""
        text = self.headers.get("Retry-After", "")
        return float(text) if text.isascii() and text.isdigit() else 0.0


class Client:
    """Sends requests to one API server. Any thread may call."""

    def __init__(self, access: Access, ended: threading.Event) -> None:
        """`ended` breaks off what waits for a server that is busy."""
        self._access = access
        self._where = f"the API server of context {access.context!r}"
        self._ended = ended
        self._reached = False

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 10.0,
    ) -> httpx2.Request:
        """Make a request to a path of the API; `timeout` in seconds for each wait."""
        return self._access.http.build_request(
            method,
            path,
            params=params,
            content=content,
            headers=headers,
            timeout=httpx2.Timeout(timeout, connect=5.0),
        )

    def allowed(self, request: httpx2.Request, right: Right) -> Reply:
        """Send a request that needs a right, patiently.

        Raises:
            AccessError: it is not allowed, or the server is busy for too long.
        """
        reply = self.patiently(request)
        self.check(reply, right)
        return reply

    def check(self, reply: Reply, right: Right) -> None:
        """Pass what is neither forbidden nor put off.

        Raises:
            AccessError: it is.
        """
        if reply.code in (401, 403) or reply.code in _BUSY:
            self.refuse(reply, right)

    def patiently(self, request: httpx2.Request) -> Reply:
        """Send a request until the server is not busy, or was so too often.

        Raises:
            AccessError: the server can't be reached.
            Interrupted: nobody waits for it any more.
        """
        tries = 0
        while True:
            tries += 1
            asked = 0.0
            try:
                reply = self.once(request)
            except httpx2.RequestError as error:
                if tries == TRIES or not self._reached:
                    raise self._unreachable(error) from error
            else:
                if tries == TRIES or reply.code not in _BUSY:
                    return reply
                asked = reply.retry_after
            chance = random.random()  # noqa: S311  # to spread, not to hide
            wait = retry_wait(tries, _FIRST_WAIT, _LONGEST_WAIT, chance)
            if self._ended.wait(min(max(wait, asked), 2 * _LONGEST_WAIT)):
                raise Interrupted("what is under way is broken off")

    def once(
        self, request: httpx2.Request, limit: float = inf, seconds: float = inf
    ) -> Reply:
        """Send a request; the answer has at most so many bytes, and comes in that time.

        Raises:
            AccessError: there are no credentials to send with it.
            httpx2.RequestError: there was no whole answer.
        """
        until = time.monotonic() + seconds
        try:
            response = self._access.http.send(request, stream=True)
        except httpx2.LocalProtocolError as error:
            # its message holds the header, which is a token
            raise AccessError(
                f"the credentials of context {self._access.context!r} hold characters"
                " that no header may hold"
            ) from error
        except (ConfigError, ValueError, OSError) as error:
            # a file with a token is read now
            raise AccessError(
                f"no credentials could be had for context {self._access.context!r}:"
                f" {error}; log in again"
            ) from error
        try:
            body = _body(response, limit, until)
        finally:
            response.close()
        self._reached = True
        return Reply(response.status_code, response.headers, body)

    def decoded(self, reply: Reply, right: Right, kind: type[T]) -> T:
        """Read what was answered.

        Raises:
            AccessError: it is a refusal, or nothing of that kind.
        """
        if reply.code != 200:
            raise AccessError(
                f"{self._where} answered {reply.code} to {right.verb}"
                f" {right.resource}: {reply.reason}"
            )
        try:
            return msgspec.json.decode(reply.body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise AccessError(
                f"what answers at {self._access.server} is no Kubernetes API server, or"
                f" one that this version does not understand ({error}): does context"
                f" {self._access.context!r} name the right one?"
            ) from error

    def refuse(self, reply: Reply, right: Right) -> NoReturn:
        """Say what is missing.

        Raises:
            AccessError: always.
        """
        if reply.code == 401:
            raise AccessError(
                f"{self._where} does not know you: the token or certificate is wrong or"
                " has expired; log in again"
            )
        if reply.code == 403:
            raise AccessError(
                f"{self._where} does not allow it: {reply.reason}\nThis rule in a Role"
                " does; manifests/push/role.yaml has all that is needed:\n"
                f"{right.rule()}"
            )
        raise AccessError(
            f"{self._where} is busy: {reply.code} to {right.verb} {right.resource},"
            f" again and again ({reply.reason}); try later"
        )

    def _unreachable(self, error: httpx2.RequestError) -> AccessError:
        return AccessError(
            f"{self._where} ({self._access.server}) can't be reached: {error}; is it"
            " the right context, and are you in its network?"
        )


def _body(response: httpx2.Response, limit: float, until: float) -> bytes:
    body = bytearray()
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > limit:
            raise httpx2.ReadError(f"the answer is over {limit} bytes")
        if time.monotonic() > until:
            raise httpx2.ReadTimeout("the answer takes too long")
    return bytes(body)
