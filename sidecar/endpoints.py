"""The endpoints: what is true, for probes, machines and people.

Whoever can reach the port can call them, so nobody there can hold anything up: each
connection has one request, a bounded head, a deadline for all of it, and one of a
small number of threads. When all are taken, the client that lets us wait the longest
loses its thread, so slow ones never keep a probe out. `Connection: close` goes with
every answer; a kept connection would occupy one of the threads between two scrapes, and
the kubelet makes a new one for each probe anyway.
"""

from __future__ import annotations

import errno
import json
import re
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from types import TracebackType
from typing import Final, Self

from .errors import SettingsError
from .status import Status

_CONNECTIONS: Final = 32
_HEAD_BYTES: Final = 16 * 1024
_ANSWER_SECONDS: Final = 5.0
_SHED_SECONDS: Final = 0.5
_LINGER_SECONDS: Final = 1.0
_LINGER_BYTES: Final = 256 * 1024
_TEXT: Final = "text/plain; charset=utf-8"
_METHODS: Final = ("GET", "HEAD")
_END_OF_HEAD: Final = re.compile(rb"\r?\n\r?\n")
_REQUEST_LINE: Final = re.compile(rb"(\S+) (\S+) HTTP/(\d)\.\d[ \t]*\r?\n")
# each takes time in proportion to the head: a search holds up every other thread
_ACCEPT: Final = re.compile(rb"^accept:([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_ORIGIN: Final = re.compile(r"^https?://[^/?]*", re.IGNORECASE)
_TURNED_AWAY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\n"
    b"Content-Length: 0\r\n"
    b"Connection: close\r\n"
    b"\r\n"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back to the client."""

    status: HTTPStatus
    kind: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    """What can be asked for. Each is called from a connection's own thread."""

    status: Callable[[], Status]
    healthy: Callable[[], str | None]
    """None is fine, else the reason."""

    ready: Callable[[], str | None]
    """None is fine, else the reason."""

    metrics: Callable[[str], tuple[bytes, str]]
    """Takes the `Accept` header; returns a body and its content type."""

    def answer(self, method: str, path: str, accept: str) -> Answer:
        """Answer one request. A path that is unknown is unknown to every method."""
        views: dict[str, Callable[[], Answer]] = {
            "/": self._page,
            "/healthz": lambda: _probe(self.healthy()),
            "/readyz": lambda: _probe(self.ready()),
            "/metrics": lambda: self._metrics(accept),
            "/status": self._status,
        }
        view = views.get(path)
        if view is None:
            return _refusal(HTTPStatus.NOT_FOUND)
        if method not in _METHODS:
            return _refusal(
                HTTPStatus.METHOD_NOT_ALLOWED, ("Allow", ", ".join(_METHODS))
            )
        return view()

    def _page(self) -> Answer:
        from . import page  # stays in memory, and hardly anybody looks at it

        body = page.render(self.status()).encode()
        policy = ("Content-Security-Policy", page.policy())
        return Answer(HTTPStatus.OK, "text/html; charset=utf-8", body, (policy,))

    def _metrics(self, accept: str) -> Answer:
        body, kind = self.metrics(accept)
        return Answer(HTTPStatus.OK, kind, body)

    def _status(self) -> Answer:
        body = json.dumps(self.status().as_json(), indent=1).encode() + b"\n"
        return Answer(HTTPStatus.OK, "application/json", body)


def _probe(reason: str | None) -> Answer:
    if reason is None:
        return Answer(HTTPStatus.OK, _TEXT, b"ok\n")
    body = f"{reason}\n".encode("utf-8", "backslashreplace")
    return Answer(HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, body)


def _refusal(status: HTTPStatus, *headers: tuple[str, str]) -> Answer:
    """Refuse with the status alone. Nothing that the client sent is repeated."""
    return Answer(status, _TEXT, f"{status.phrase}\n".encode(), headers)


def _path(target: str) -> str:
    """Return the path of a request target, which may be a URL (RFC 9112, 3.2.2)."""
    return "/" + _ORIGIN.sub("", target).partition("?")[0].lstrip("/")


class Endpoints:
    """The server. Bound when made, serving while the block lasts.

    An empty host is every address, of IPv6 too where the kernel has it; port 0 picks
    one. The head of a request must be there after `head_timeout` seconds.

    Raises:
        SettingsError: `HTTP_LISTEN` cannot be had.
    """

    def __init__(
        self,
        listen: tuple[str, int],
        *,
        status: Callable[[], Status],
        healthy: Callable[[], str | None],
        ready: Callable[[], str | None],
        metrics: Callable[[str], tuple[bytes, str]],
        head_timeout: float = 5.0,
    ) -> None:
        views = Views(status=status, healthy=healthy, ready=ready, metrics=metrics)
        clients = _Clients()
        exchange = partial(_Exchange, views, clients, head_timeout)
        self._server = _bound(listen, exchange, clients)
        # No wake-up while nobody asks: `stop` ends the wait by itself.
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            args=(3600,),
            name="endpoints",
            daemon=True,
        )

    @property
    def port(self) -> int:
        """The port that is bound."""
        return int(self._server.socket.getsockname()[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.stop()
        self._thread.join()


def _bound(
    listen: tuple[str, int], exchange: partial[_Exchange], clients: _Clients
) -> _Server:
    host, port = listen
    try:
        return _Server(_family(host, port), (host, port), exchange, clients)
    except OSError as error:
        raise SettingsError([_unavailable(host, port, error)]) from error
    except UnicodeError as error:  # the idna codec of socket.getaddrinfo
        problem = f"HTTP_LISTEN: {_joined(host, port)} is no address of a host"
        raise SettingsError([problem]) from error


def _family(host: str, port: int) -> socket.AddressFamily:
    if not host:
        return socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]


def _unavailable(host: str, port: int, error: OSError) -> str:
    asked = f"HTTP_LISTEN: cannot listen on {_joined(host, port)}"
    if error.errno == errno.EADDRINUSE:
        return (
            f"{asked}: the port is taken by another container of this pod (or, with "
            f"hostNetwork, by another program of the node). Choose a free port, for "
            f"example HTTP_LISTEN=:{port % 65535 + 1}, or set HTTP_LISTEN=off"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"{asked}: this user may not bind it. Choose a port of 1024 or more, for "
            f"example HTTP_LISTEN=:9533"
        )
    if error.errno in (errno.EMFILE, errno.ENFILE):
        said = "raise the limit of open files of this container"
        return f"{asked}: {error.strerror}; {said}"
    return (
        f"{asked}: {error.strerror or error}. Choose an address of this pod, or leave "
        f"the host out to listen on all of them: HTTP_LISTEN=:{port}"
    )


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _Clients:
    """The connections on which we wait for the client, the longest wait first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[socket.socket, bytes] = {}

    @contextmanager
    def waiting(self, connection: socket.socket, word: bytes = b"") -> Iterator[None]:
        """Wait for a client in this block; `word` is for him if he loses his place."""
        with self._lock:
            self._waiting[connection] = word
        try:
            yield
        finally:
            # under the lock, so that none is shed when its number is another file's
            with self._lock:
                self._waiting.pop(connection, None)

    def shed(self) -> bool:
        """End the longest wait; say whether there was one."""
        with self._lock:
            connection = next(iter(self._waiting), None)
            if connection is None:
                return False
            word = self._waiting.pop(connection)
            with suppress(OSError):  # the client was faster
                if word:
                    connection.send(word)
                connection.shutdown(socket.SHUT_RDWR)
        return True


class _Server(socketserver.TCPServer):
    """Accepts connections on one thread and answers each on its own, up to a limit."""

    allow_reuse_address = True
    # a crowd should be turned away at once, not after the kernel dropped its SYN
    request_queue_size = 512

    def __init__(
        self,
        family: socket.AddressFamily,
        address: tuple[str, int],
        exchange: partial[_Exchange],
        clients: _Clients,
    ) -> None:
        self.address_family = family
        self._clients = clients
        self._free = threading.BoundedSemaphore(_CONNECTIONS)
        self._stopping = threading.Event()
        self._exchange = exchange
        super().__init__(address, socketserver.BaseRequestHandler)

    def server_bind(self) -> None:
        """Bind, to IPv4 too where every address is meant."""
        if self.address_family == socket.AF_INET6 and not self.server_address[0]:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def stop(self) -> None:
        """Stop serving, without a wait: shutting the socket ends the accept."""
        self._stopping.set()
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.shutdown()
        self.server_close()

    def get_request(self) -> tuple[socket.socket, object]:
        """Accept a connection.

        Without a free descriptor the connection stays in the queue and accept fails
        again at once, for as long as that lasts; so it waits a little.
        """
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS):
                self._stopping.wait(0.2)
            raise

    def process_request(self, request: object, client_address: object) -> None:  # noqa: ARG002  # theirs
        """Hand a connection to a thread of its own, or turn it away."""
        if not isinstance(request, socket.socket):
            raise TypeError(request)
        if not self._thread_is_free():
            self._turn_away(request)
            return
        exchange = threading.Thread(
            target=self._answer,
            args=(request,),
            name="exchange",
            daemon=True,
        )
        try:
            exchange.start()
        except RuntimeError:  # the pod's limit of threads
            self._free.release()
            self._turn_away(request)

    def _thread_is_free(self) -> bool:
        """Take one of the threads, if need be from the slowest client.

        The others are at work for somebody, and done in a moment.
        """
        if self._free.acquire(blocking=False):
            return True
        self._clients.shed()
        return self._free.acquire(timeout=_SHED_SECONDS)

    def _turn_away(self, connection: socket.socket) -> None:
        """Refuse without a thread and without a wait.

        What came already is read first, or closing would reset the connection before
        the client sees the answer.
        """
        connection.setblocking(False)
        with suppress(OSError):
            connection.recv(_HEAD_BYTES)
        with suppress(OSError):
            connection.send(_TURNED_AWAY)
        self.shutdown_request(connection)

    def _answer(self, connection: socket.socket) -> None:
        try:
            # the client went away, or is too slow for what is left of its time
            with suppress(OSError):
                self._exchange(connection).take_place()
        finally:
            self.shutdown_request(connection)
            self._free.release()


class _Exchange:
    """One request and its answer.

    Of a request (RFC 9112) only the first line and `Accept` matter, and http.server
    would load email and html for it: 1 MiB.
    """

    def __init__(
        self,
        views: Views,
        clients: _Clients,
        head_timeout: float,
        connection: socket.socket,
    ) -> None:
        self._views = views
        self._clients = clients
        self._head_timeout = head_timeout
        self._connection = connection

    def take_place(self) -> None:
        """Read the head, answer it, and let the answer arrive."""
        with self._clients.waiting(self._connection, _TURNED_AWAY):
            head = self._head()
        if isinstance(head, HTTPStatus):
            self._send(_refusal(head))
        elif head is not None:
            self._respond(head)
        with self._clients.waiting(self._connection):
            self._linger()

    def _head(self) -> bytes | HTTPStatus | None:
        """Read up to the empty line; or say why not; None where the client left.

        The deadline is for the whole head: a client that sends a byte now and then
        would get past a timeout for each read.
        """
        deadline = time.monotonic() + self._head_timeout
        head = b""
        while not (end := _END_OF_HEAD.search(head)):
            if len(head) > _HEAD_BYTES:
                return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            try:
                piece = self._received(deadline)
            except TimeoutError:
                return HTTPStatus.REQUEST_TIMEOUT
            if not piece:
                return None
            head = (head + piece).lstrip(b"\r\n")
        return head[: end.end()]

    def _received(self, deadline: float) -> bytes:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        self._connection.settimeout(remaining)
        return self._connection.recv(_HEAD_BYTES)

    def _respond(self, head: bytes) -> None:
        request = _REQUEST_LINE.match(head)
        if request is None:
            self._send(_refusal(HTTPStatus.BAD_REQUEST))
            return
        method, target, version = (part.decode("latin-1") for part in request.groups())
        if version != "1":
            self._send(_refusal(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED))
            return
        accept = b",".join(map(bytes.strip, _ACCEPT.findall(head))).decode("latin-1")
        try:
            answer = self._views.answer(method, _path(target), accept)
        except Exception:
            # a bug: the thread's last words go to stderr
            self._send(_refusal(HTTPStatus.INTERNAL_SERVER_ERROR))
            raise
        self._send(answer, with_body=method != "HEAD")

    def _send(self, answer: Answer, *, with_body: bool = True) -> None:
        lines = [
            f"HTTP/1.1 {answer.status.value} {answer.status.phrase}",
            "Server: config-reload-sidecar",
            time.strftime("Date: %a, %d %b %Y %H:%M:%S GMT", time.gmtime()),
            f"Content-Type: {answer.kind}",
            f"Content-Length: {len(answer.body)}",
            "Cache-Control: no-store",
            "X-Content-Type-Options: nosniff",
            "Connection: close",
            *(f"{name}: {value}" for name, value in answer.headers),
        ]
        head = "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1")
        # for all of what one call sends, since Python 3.5
        self._connection.settimeout(_ANSWER_SECONDS)
        with self._clients.waiting(self._connection):
            self._connection.sendall(head, socket.MSG_MORE)  # or shut down, for HEAD
            if with_body:
                self._connection.sendall(answer.body)

    def _linger(self) -> None:
        """Read on for a moment after the answer, and throw it away.

        A socket that is closed with something unread resets the connection, and the
        client may lose the answer: a request with a body, or a head cut off.
        """
        deadline = time.monotonic() + _LINGER_SECONDS
        self._connection.shutdown(socket.SHUT_WR)
        left = _LINGER_BYTES
        while left > 0 and (piece := self._received(deadline)):
            left -= len(piece)
