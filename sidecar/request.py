"""A request to one destination that never makes the loop wait.

Each request runs in a thread of its own, which ends with it, so an idle sidecar has
none. A thread that was given up before it had a connection ends by itself a little
later, and only a few such threads may exist at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from .answer import drain, judge
from .connection import Connection
from .credentials import authorization
from .destination import Destination
from .diagnosis import failures_named
from .errors import REASONS, ReloadError
from .exchange import Exchange, Response
from .settings import RequestSettings, redacted
from .trust import Trust

if TYPE_CHECKING:
    import httpx

__all__ = ["Exchange", "Requester", "Response"]

_MOST_GIVEN_UP: Final = 8


class Requester:
    """One destination, one request at a time, over a kept connection.

    Made, started and closed by the loop's thread. `wake` is called by another thread
    when a result is there; it must be safe for that and return at once. `read_limit`
    is how many bytes of an answer are wanted as text.
    """

    def __init__(
        self,
        settings: RequestSettings,
        wake: Callable[[], None],
        *,
        read_limit: int = 0,
    ) -> None:
        self._settings = settings
        self._wake = wake
        self._read_limit = read_limit
        self._shown = redacted(settings.url)
        self._destination = Destination.parse(settings.url, direct=settings.direct)
        self._trust = Trust(settings.tls, secure=self._destination.secure)
        self._exchange: Exchange | None = None
        self._threads: list[threading.Thread] = []

    def start(
        self, body: bytes | None = None, content_type: str | None = None
    ) -> Exchange:
        """Begin a request and return at once; an exchange that still runs is abandoned.

        `content_type` describes `body`; a Content-Type of the user's headers wins.
        """
        connection = self._kept_connection()
        settings = self._settings
        exchange = Exchange(self._shown, settings.method, settings.timeout, self._wake)
        self._exchange = exchange
        thread = threading.Thread(
            target=self._work,
            args=(exchange, connection, body, content_type),
            name="request",
            daemon=True,  # one that hangs in getaddrinfo must not hold up our end
        )
        try:
            self._begin(thread)
        except ReloadError as error:
            exchange.settle(error)
            exchange.finish(connection)
        return exchange

    def close(self) -> None:
        """Abandon what runs and close the connection."""
        connection = self._kept_connection()
        if connection is not None:
            connection.close()

    def _kept_connection(self) -> Connection | None:
        """End the exchange before, if it still runs, and take its connection."""
        if self._exchange is None:
            return None
        self._exchange.abandon()
        return self._exchange.take_connection()

    def _begin(self, thread: threading.Thread) -> None:
        self._threads = [one for one in self._threads if one.is_alive()]
        if len(self._threads) >= _MOST_GIVEN_UP:
            raise ReloadError(
                "threads",
                f"{self._shown}: {len(self._threads)} requests that were given up "
                "still wait for the name server or for a connection",
                "check that the pod's name server answers, and the URL's address",
            )
        try:
            thread.start()
        except RuntimeError as error:
            raise ReloadError(
                "threads",
                f"{self._shown}: the kernel gives us no thread for the request",
                "raise the pod's limit of processes (podPidsLimit of the kubelet) or "
                "find what uses them up",
            ) from error
        self._threads.append(thread)

    def _work(
        self,
        exchange: Exchange,
        connection: Connection | None,
        body: bytes | None,
        content_type: str | None,
    ) -> None:
        try:
            connection = self._usable(connection)
            headers = self._headers(content_type)
            send = partial(
                connection.send, self._settings.method, headers, body, exchange.trace
            )
            with failures_named(exchange, self._destination):
                self._answered(exchange, _sent(exchange, connection, send))
        except ReloadError as error:
            # A new one: the frames of this one's traceback hold the credentials, and
            # a unix socket that httpcore leaves open when it cannot connect.
            exchange.settle(ReloadError(error.reason, error.detail, error.hint))
        finally:
            # Only a bug comes here without a result; it goes on to the excepthook.
            exchange.settle(
                ReloadError(
                    "bug",
                    f"{exchange.where}: {REASONS['bug']}",
                    "report it with the traceback",
                )
            )
            exchange.finish(connection)

    def _usable(self, connection: Connection | None) -> Connection:
        """Return a connection that trusts by the files as they are now."""
        context = self._trust.context()
        if connection is not None and connection.context is context:
            return connection
        new = Connection(self._destination, context, self._settings.timeout)
        if connection is not None:
            connection.close()
        return new

    def _headers(self, content_type: str | None) -> list[tuple[bytes, bytes]]:
        headers = list(self._settings.headers)
        names = {name.lower() for name, _ in headers}
        if content_type is not None and "content-type" not in names:
            headers.append(("Content-Type", content_type))
        credentials = authorization(self._settings, self._destination.user_info)
        if credentials is not None:
            headers = [pair for pair in headers if pair[0].lower() != "authorization"]
            headers.append(("Authorization", credentials))
        # Back to the bytes of the environment, whatever they were.
        return [
            (name.encode(), value.encode(errors="surrogateescape"))
            for name, value in headers
        ]

    def _answered(self, exchange: Exchange, response: httpx.Response) -> None:
        expected = self._settings.expect_status
        try:
            exchange.settle(judge(exchange, response, expected, self._read_limit))
            drain(exchange, response)
        finally:
            response.close()


def _sent(
    exchange: Exchange, connection: Connection, send: Callable[[], httpx.Response]
) -> httpx.Response:
    import httpx

    exchange.hold(connection.socket)
    try:
        return send()
    except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
        if exchange.connected or exchange.cut:
            raise
        # The server closed the kept connection just as we used it. It may have read
        # the request first, and then gets it twice; to be told twice to take the same
        # configuration does no harm, not to be told does.
        return send()
