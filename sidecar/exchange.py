"""One request on its way: the loop and the worker meet here.

The loop owns the clock: it hears by `wake` that the result is there, and abandons the
exchange when its time is up. Abandoning shuts the socket down, which ends every wait
on it: in a TLS handshake, for a silent peer, or for one that sends a byte a second,
which no timeout of a single read would notice.

Until there is a socket nothing can be shut down. getaddrinfo(3) and connect(2) end by
themselves (by the resolver's timeout, and by ours), and so does the worker then.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from .connection import Connection
from .errors import ReloadError


@dataclass(frozen=True, slots=True)
class Response:
    """An answer with an expected status.

    `text` is there only when it was asked for, and cut off at the limit if `truncated`.
    """

    status: int
    text: str | None
    truncated: bool = False


class _Phase(NamedTuple):
    doing: str
    hint: str


_PREPARING: Final = _Phase(
    "reading the files for the request",
    "check that the volumes with those files can be read",
)
_READING: Final = _Phase(
    "reading the answer",
    "the program began to answer and did not finish: look into its own log",
)
_PHASES: Final = {
    "connect_tcp.started": _Phase(
        "looking up the name or connecting",
        "check the address, and that no NetworkPolicy or firewall drops the packets",
    ),
    "connect_unix_socket.started": _Phase(
        "connecting to the socket", "look whether the program hangs"
    ),
    "start_tls.started": _Phase(
        "in the TLS handshake",
        "use http:// if this port does not speak TLS; if it does, the server hangs",
    ),
    "send_request_headers.started": _Phase(
        "sending the request",
        "look whether the program hangs: it does not read the request",
    ),
    "receive_response_headers.started": _Phase(
        "waiting for the answer",
        "raise WEBHOOK_TIMEOUT if a reload takes longer; if not, the program hangs",
    ),
    "receive_response_body.started": _READING,
}
"""By the name of httpcore's `trace` event, without its first part."""


class Exchange:
    """One request on its way.

    `result`, `abandon`, `timed_out` and `take_connection` are for the loop's thread,
    the rest is for the worker's.
    """

    def __init__(
        self, url: str, method: str, timeout: float, wake: Callable[[], None]
    ) -> None:
        self.url = url
        """Without credentials and query."""

        self.where = f"{method} {url}"
        self.deadline = time.monotonic() + timeout
        self.peer: tuple[str, int] | None = None
        """Host and port that were connected to by this exchange; maybe a proxy's."""

        self.connected = False
        """Whether this exchange made its connection and did not find it there."""

        self._timeout = timeout
        self._wake = wake
        self._phase = _PREPARING
        self._lock = threading.Lock()
        self._outcome: Response | ReloadError | None = None
        self._abandoned = False
        self._cut = False
        self._finished = False
        self._socket: socket.socket | None = None
        self._connection: Connection | None = None

    def result(self) -> Response | ReloadError | None:
        """Return what came of it; None while it runs and after it was abandoned."""
        return None if self._abandoned else self._outcome

    def abandon(self) -> None:
        """End the request now and ignore what still comes; nothing if it is done."""
        with self._lock:
            if self._outcome is None:
                self._abandoned = True
                self._cut_off()

    def timed_out(self) -> ReloadError:
        """Describe how far the request came, for when its time is up."""
        return ReloadError(
            "timeout",
            f"{self.where}: not done after {self._timeout:g} s, {self._phase.doing}",
            self._phase.hint,
        )

    def take_connection(self) -> Connection | None:
        """Take the connection for another request; it is cut if still in use.

        In use also means that the result is there and its body is being drained.
        """
        with self._lock:
            connection, self._connection = self._connection, None
            if not self._finished:
                self._cut_off()
        return connection

    @property
    def cut(self) -> bool:
        """Whether the connection was shut down from the loop's side."""
        return self._cut

    @property
    def late(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() > self.deadline

    @property
    def answering(self) -> bool:
        """Whether the answer's headers were there and its body was expected."""
        return self._phase is _READING

    def settle(self, outcome: Response | ReloadError) -> None:
        """Make the result known; the first one counts."""
        with self._lock:
            if self._abandoned or self._outcome is not None:
                return
            self._outcome = outcome
        self._wake()

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Follow the request; httpcore calls this with its `trace` events."""
        _, _, step = event.partition(".")
        self._phase = _PHASES.get(step, self._phase)
        if step == "connect_tcp.started":
            self.peer = (info["host"], info["port"])
        elif step in ("connect_tcp.complete", "connect_unix_socket.complete"):
            self.connected = True
            self.hold(info["return_value"].get_extra_info("socket"))

    def hold(self, used: socket.socket | None) -> None:
        """Remember the socket for `abandon`, by a descriptor of our own.

        The worker's may be detached (`SSLContext.wrap_socket`) or closed, and its
        number given to another file, just as the loop wants to shut it down.
        """
        if used is None:
            return
        with self._lock:
            self._drop_socket()
            with suppress(OSError):  # closed meanwhile: nothing can wait on it
                self._socket = socket.socket(fileno=os.dup(used.fileno()))
            if self._cut:
                self._cut_off()

    def finish(self, connection: Connection | None) -> None:
        """Offer the connection for the next request; close it if it was cut."""
        with self._lock:
            self._finished = True
            self._drop_socket()
            if not self._cut:
                self._connection, connection = connection, None
        if connection is not None:
            connection.close()

    def _cut_off(self) -> None:
        self._cut = True
        if self._socket is not None:
            with suppress(OSError):  # ENOTCONN: the peer was faster
                self._socket.shutdown(socket.SHUT_RDWR)

    def _drop_socket(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
