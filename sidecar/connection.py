"""A connection that is kept for the next request, by httpx.

Only a request needs httpx, and it takes 4 MiB: a sidecar that sends signals never
imports it. So every module of requests imports it within its functions.
"""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from . import __version__
from .destination import Destination
from .errors import ReloadError

if TYPE_CHECKING:
    import httpx

_KEEP_SECONDS: Final = 30.0
"""A connection idle for longer may be forgotten by something on the way (a NAT, a load
balancer); a request on it would hang instead of failing."""

LOCATION: Final = "location"
"""The extension of a response that has its `Location`, if it has one."""

# httpcore gives a mapping of its own for each event.
Trace = Callable[[str, Mapping[str, Any]], None]


class Connection:
    """An httpx client with at most one connection; one thread at a time uses it."""

    def __init__(
        self, destination: Destination, context: ssl.SSLContext, timeout: float
    ) -> None:
        """Connect nothing yet.

        Raises:
            ReloadError: the environment's proxy variables are of no use.
        """
        self.context = context
        self.socket: socket.socket | None = None
        """What the last request went through."""

        self._url = destination.url
        self._client = _client(destination, context, timeout)

    def send(
        self,
        method: str,
        headers: list[tuple[bytes, bytes]],
        body: bytes | None,
        trace: Trace,
    ) -> httpx.Response:
        """Send the request and return the answer with its body unread."""
        request = self._client.build_request(
            method,
            self._url,
            content=body,
            headers=headers,
            extensions={"trace": trace},
        )
        response = self._client.send(request, stream=True)
        self.socket = response.extensions["network_stream"].get_extra_info("socket")
        return response

    def close(self) -> None:
        """Close it; a later request would open it again."""
        self._client.close()


def _set_location_aside(response: httpx.Response) -> None:
    """Take it out of the headers: httpx parses it, though we follow none.

    It would prepare the next request (`_send_handling_redirects`), and one that is no
    URL would make a failure of an answer that is there.
    """
    location = response.headers.pop("location", None)
    if location is not None:
        response.extensions[LOCATION] = location


def _client(
    destination: Destination, context: ssl.SSLContext, timeout: float
) -> httpx.Client:
    from http.cookiejar import CookieJar, DefaultCookiePolicy

    import httpx

    # They log the URL with its query, and at debug level the headers.
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
    limits = httpx.Limits(
        max_connections=1, max_keepalive_connections=1, keepalive_expiry=_KEEP_SECONDS
    )
    transport = None
    if destination.socket_path is not None:
        transport = httpx.HTTPTransport(
            verify=context, uds=destination.socket_path, limits=limits
        )
    try:
        return httpx.Client(
            headers={
                "User-Agent": f"config-reload-sidecar/{__version__}",
                "Accept-Encoding": "identity",
            },
            # Takes none: what one answer set must not alter the next request.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            verify=context,
            trust_env=not destination.direct,  # the proxies; httpx reads no netrc
            transport=transport,
            limits=limits,
            timeout=timeout,
            follow_redirects=False,
            event_hooks={"response": [_set_location_aside]},
        )
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise ReloadError(
            "proxy",
            f"the environment names an unusable proxy for {destination.host}",
            "set HTTP_PROXY, HTTPS_PROXY and ALL_PROXY to http:// or https:// URLs "
            "(SOCKS is not supported), or unset them",
        ) from error
