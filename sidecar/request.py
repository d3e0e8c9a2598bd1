"""A request to one destination that never makes the loop wait.

Each request runs in a thread of its own, which ends with it, so an idle sidecar has
none. The loop owns the clock: it starts an exchange, hears by `wake` that the result
is there, and abandons the exchange when its time is up. Abandoning shuts the socket
down, which ends every wait on it: in a TLS handshake, for a silent peer, or for one
that sends a byte a second, which no timeout of a single read would notice.

Until there is a socket nothing can be shut down. getaddrinfo(3) and connect(2) end by
themselves (by the resolver's timeout, and by ours); a thread that was given up there
ends then, and only a few such threads may exist at a time.
"""

from __future__ import annotations

import base64
import ipaddress
import logging
import os
import re
import socket
import ssl
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

from . import __version__
from .errors import REASONS, ReloadError
from .settings import RequestSettings, TlsSettings, redacted

if TYPE_CHECKING:
    import httpx

_KIB: Final = 1024
_CREDENTIAL_LIMIT: Final = 64 * _KIB
_DRAIN_LIMIT: Final = 64 * _KIB
_MOST_GIVEN_UP: Final = 8
_KEEP_SECONDS: Final = 30.0
"""A connection idle for longer may be forgotten by something on the way (a NAT, a load
balancer); a request on it would hang instead of failing."""


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
    """One request on its way: the loop and the worker meet here.

    `result`, `abandon`, `timed_out` and `take_line` are for the loop's thread, the
    rest is for the worker's.
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
        self._line: _Line | None = None

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

    def take_line(self) -> _Line | None:
        """Take the connection for another request; it is cut if still in use.

        In use also means that the result is there and its body is being drained.
        """
        with self._lock:
            line, self._line = self._line, None
            if not self._finished:
                self._cut_off()
        return line

    @property
    def cut(self) -> bool:
        """Whether the connection was shut down from the loop's side."""
        return self._cut

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

    def trace(self, event: str, info: Mapping[str, object]) -> None:
        """Follow the request; httpcore calls this with its `trace` events."""
        _, _, step = event.partition(".")
        self._phase = _PHASES.get(step, self._phase)
        if step == "connect_tcp.started":
            self.peer = (str(info["host"]), int(str(info["port"])))
        elif step in ("connect_tcp.complete", "connect_unix_socket.complete"):
            self.connected = True
            self.hold(_socket_of(info["return_value"]))

    def hold(self, connection: socket.socket | None) -> None:
        """Remember the socket for `abandon`, by a descriptor of our own.

        The worker's may be detached (`SSLContext.wrap_socket`) or closed, and its
        number given to another file, just as the loop wants to shut it down.
        """
        if connection is None:
            return
        with self._lock:
            self._drop_socket()
            with suppress(OSError):  # closed meanwhile: nothing can wait on it
                self._socket = socket.socket(fileno=os.dup(connection.fileno()))
            if self._cut and self._socket is not None:
                _shut_down(self._socket)

    def finish(self, line: _Line | None) -> None:
        """Offer the connection for the next request; close it if it was cut."""
        with self._lock:
            self._finished = True
            self._drop_socket()
            if not self._cut:
                self._line, line = line, None
        if line is not None:
            line.close()

    def _cut_off(self) -> None:
        self._cut = True
        if self._socket is not None:
            _shut_down(self._socket)

    def _drop_socket(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _shut_down(connection: socket.socket) -> None:
    with suppress(OSError):  # ENOTCONN: the peer was faster
        connection.shutdown(socket.SHUT_RDWR)


def _socket_of(stream: object) -> socket.socket | None:
    import httpcore  # with httpx, see _Line

    if not isinstance(stream, httpcore.NetworkStream):
        return None
    connection = stream.get_extra_info("socket")
    return connection if isinstance(connection, socket.socket) else None


@dataclass(frozen=True, slots=True)
class _Destination:
    """Where requests go, taken apart once."""

    url: str
    """What is asked for, without user information."""

    user_info: str | None
    """`user:password`."""

    socket_path: str | None
    secure: bool
    host: str
    port: int
    direct: bool
    """Never through a proxy."""

    @classmethod
    def parse(cls, url: str) -> _Destination:
        parts = urlsplit(url)
        user_info, _, place = parts.netloc.rpartition("@")
        path, scheme = None, parts.scheme
        host, port = parts.hostname or "", 0
        if scheme == "http+unix":
            path, scheme, place, host = unquote(place), "http", "localhost", "localhost"
        else:
            port = parts.port or (443 if scheme == "https" else 80)
        return cls(
            url=urlunsplit((scheme, place, parts.path or "/", parts.query, "")),
            user_info=unquote(user_info) or None,
            socket_path=path,
            secure=scheme == "https",
            host=host,
            port=port,
            direct=path is not None or is_loopback(host),
        )


def is_loopback(host: str) -> bool:
    """Tell whether a URL's host is this pod itself, by its form alone.

    The unspecified addresses count too: Linux connects to them by loopback.
    """
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return any(a.is_loopback or a.is_unspecified for a in (address, mapped) if a)


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
        self._destination = _Destination.parse(settings.url)
        self._trust = _Trust(settings.tls, secure=self._destination.secure)
        self._exchange: Exchange | None = None
        self._threads: list[threading.Thread] = []

    def start(
        self, body: bytes | None = None, content_type: str | None = None
    ) -> Exchange:
        """Begin a request and return at once; an exchange that still runs is abandoned.

        `content_type` describes `body`; a Content-Type of the user's headers wins.
        """
        line = self._kept_line()
        settings = self._settings
        exchange = Exchange(self._shown, settings.method, settings.timeout, self._wake)
        self._exchange = exchange
        thread = threading.Thread(
            target=self._work,
            args=(exchange, line, body, content_type),
            name="request",
            daemon=True,  # one that hangs in getaddrinfo must not hold up our end
        )
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        try:
            self._begin(thread)
        except ReloadError as error:
            exchange.settle(error)
            exchange.finish(line)
        return exchange

    def close(self) -> None:
        """Abandon what runs and close the connection."""
        line = self._kept_line()
        if line is not None:
            line.close()

    def _kept_line(self) -> _Line | None:
        """End the exchange before, if it still runs, and take its connection."""
        if self._exchange is None:
            return None
        self._exchange.abandon()
        return self._exchange.take_line()

    def _begin(self, thread: threading.Thread) -> None:
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
        line: _Line | None,
        body: bytes | None,
        content_type: str | None,
    ) -> None:
        try:
            line = self._usable(line)
            headers = self._headers(content_type if body is not None else None)
            with _failures_named(exchange, self._destination):
                response = line.send(exchange, self._settings.method, headers, body)
                try:
                    exchange.settle(self._judge(exchange, response))
                    _drain(exchange, response)
                finally:
                    response.close()
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
            exchange.finish(line)

    def _usable(self, line: _Line | None) -> _Line:
        """Return a line that trusts by the files as they are now."""
        context = self._trust.context()
        if line is not None and line.context is context:
            return line
        new = _Line(self._destination, context, self._settings.timeout)
        if line is not None:
            line.close()
        return new

    def _headers(self, content_type: str | None) -> list[tuple[bytes, bytes]]:
        headers = list(self._settings.headers)
        names = {name.lower() for name, _ in headers}
        if content_type is not None and "content-type" not in names:
            headers.append(("Content-Type", content_type))
        authorization = self._authorization()
        if authorization is not None:
            headers = [pair for pair in headers if pair[0].lower() != "authorization"]
            headers.append(("Authorization", authorization))
        # Back to the bytes of the environment, whatever they were.
        return [
            (name.encode(), value.encode(errors="surrogateescape"))
            for name, value in headers
        ]

    def _authorization(self) -> str | None:
        settings = self._settings
        if settings.bearer_token_file is not None:
            return f"Bearer {_token(settings.bearer_token_file)}"
        user_info = self._destination.user_info
        if settings.basic_auth_file is not None:
            user_info = _user_and_password(settings.basic_auth_file)
        if user_info is None:
            return None
        sent = base64.b64encode(user_info.encode(errors="surrogateescape"))
        return f"Basic {sent.decode()}"

    def _judge(
        self, exchange: Exchange, response: httpx.Response
    ) -> Response | ReloadError:
        status = response.status_code
        expected = self._settings.expect_status
        if not any(status in codes for codes in expected):
            location = response.headers.get("location") if 300 <= status < 400 else None
            return ReloadError(
                "status",
                f"{exchange.where}: answered {status}, expected {_codes(expected)}",
                _status_hint(status, self._destination.url, location),
            )
        if not self._read_limit:
            # The status is the answer; nobody waits for a body nobody reads.
            return Response(status, None)
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            # Unpacking is not bounded: 10 MB of zeros are 10 kB on the way.
            return ReloadError(
                "protocol",
                f"{exchange.where}: the answer is compressed, which was not asked for",
                "take Accept-Encoding out of the headers, or make the server heed it",
            )
        content = bytearray()
        for chunk in response.iter_raw():
            content += chunk
            if len(content) > self._read_limit:
                break
        text = bytes(content[: self._read_limit]).decode("utf-8", errors="replace")
        return Response(status, text, truncated=len(content) > self._read_limit)


class _Line:
    """An httpx client with at most one connection; one thread at a time uses it."""

    def __init__(
        self, destination: _Destination, context: ssl.SSLContext, timeout: float
    ) -> None:
        # Only a request needs httpx, and it takes 4 MiB: a sidecar that sends
        # signals never imports it.
        from http.cookiejar import CookieJar, DefaultCookiePolicy

        import httpx

        # They log the URL with its query, and at debug level the headers.
        for name in ("httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self.context = context
        self._url = destination.url
        self._socket: socket.socket | None = None
        limits = httpx.Limits(
            max_connections=1,
            max_keepalive_connections=1,
            keepalive_expiry=_KEEP_SECONDS,
        )
        transport = None
        if destination.socket_path is not None:
            transport = httpx.HTTPTransport(
                verify=context, uds=destination.socket_path, limits=limits
            )
        try:
            self._client = httpx.Client(
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
            )
        except (ImportError, ValueError, httpx.InvalidURL) as error:
            raise ReloadError(
                "proxy",
                f"the environment names an unusable proxy for {destination.host}",
                "set HTTP_PROXY, HTTPS_PROXY and ALL_PROXY to http:// or https:// URLs "
                "(SOCKS is not supported), or unset them",
            ) from error

    def send(
        self,
        exchange: Exchange,
        method: str,
        headers: list[tuple[bytes, bytes]],
        body: bytes | None,
    ) -> httpx.Response:
        """Send the request and return the answer with its body unread."""
        import httpx

        def attempt() -> httpx.Response:
            request = self._client.build_request(
                method,
                self._url,
                content=body,
                headers=headers,
                extensions={"trace": exchange.trace},
            )
            return self._client.send(request, stream=True)

        exchange.hold(self._socket)
        try:
            response = attempt()
        except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
            if exchange.connected or exchange.cut:
                raise
            # The server closed the kept connection just as we used it. It may have
            # read the request first, and then gets it twice; to be told twice to
            # take the same configuration does no harm, not to be told does.
            response = attempt()
        self._socket = _socket_of(response.extensions.get("network_stream"))
        return response

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def _drain(exchange: Exchange, response: httpx.Response) -> None:
    """Read the rest of a small body, without which the connection can't be kept.

    The result is known, so nothing that goes wrong here matters; httpcore closes a
    connection whose answer was not read to its end.
    """
    import httpx

    length = int(response.headers.get("content-length", "0"))
    if response.is_stream_consumed or length > _DRAIN_LIMIT:
        return
    with suppress(httpx.TransportError):
        for _ in response.iter_raw():
            late = time.monotonic() > exchange.deadline
            if late or response.num_bytes_downloaded > _DRAIN_LIMIT:
                return


class _Trust:
    """Whom we trust and who we are: a TLS context, remade when a file changed.

    Building one takes 36 ms, so it outlives the connections made with it.
    """

    def __init__(self, settings: TlsSettings, *, secure: bool) -> None:
        self._settings = settings
        self._secure = secure
        self._made: tuple[tuple[object, ...], ssl.SSLContext] | None = None

    def context(self) -> ssl.SSLContext:
        """Return the context for the files as they are now.

        Raises:
            ReloadError: a file cannot be read or does not hold what it should.
        """
        # Before they are read: what changes while we read is then seen next time.
        # A local name, because an abandoned thread may be here too.
        state = self._files_state()
        made = self._made
        if made is None or made[0] != state:
            made = self._made = (state, self._make())
        return made[1]

    def _files_state(self) -> tuple[object, ...]:
        tls = self._settings
        return tuple(
            _file_state(variable, path)
            for variable, path in (
                ("WEBHOOK_CA_FILE", tls.ca_file),
                ("WEBHOOK_CERT_FILE", tls.cert_file),
                ("WEBHOOK_KEY_FILE", tls.key_file),
            )
            if path is not None and self._secure
        )

    def _make(self) -> ssl.SSLContext:
        if not self._secure:
            # httpx wants a context even for http://, and would take 36 ms to make its
            # own; this one trusts nobody.
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tls = self._settings
        context = self._make_trusting()
        if tls.cert_file is not None:
            names = f"WEBHOOK_CERT_FILE={tls.cert_file}"
            if tls.key_file is not None:
                names += f", WEBHOOK_KEY_FILE={tls.key_file}"
            with _tls_files_named(names):
                # Without a password OpenSSL would ask for one on the terminal.
                context.load_cert_chain(tls.cert_file, tls.key_file, lambda: "")
        return context

    def _make_trusting(self) -> ssl.SSLContext:
        tls = self._settings
        if not tls.verify:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            return context
        if tls.ca_file is None:
            # The system's, and not the bundle that httpx brings: this is where an
            # operator adds a CA, and OpenSSL heeds SSL_CERT_FILE and SSL_CERT_DIR.
            return ssl.create_default_context()
        with _tls_files_named(f"WEBHOOK_CA_FILE={tls.ca_file}"):
            return ssl.create_default_context(cafile=tls.ca_file)


def _file_state(variable: str, path: Path) -> tuple[int, int, int, int]:
    with _tls_files_named(f"{variable}={path}"):
        now = path.stat()
    return (now.st_mtime_ns, now.st_dev, now.st_ino, now.st_size)


@contextmanager
def _tls_files_named(names: str) -> Iterator[None]:
    try:
        yield
    except ssl.SSLError as error:
        raise ReloadError(
            "tls_files",
            f"{names}: {_words(error)}",
            "put PEM into the files, and the certificate's key without a password",
        ) from error
    except OSError as error:
        raise ReloadError(
            "tls_files",
            f"{names}: {error.strerror}",
            "mount the Secret's key there, readable for this container's runAsUser",
        ) from error


def _token(path: Path) -> str:
    name = f"WEBHOOK_BEARER_TOKEN_FILE={path}"
    token = _credential(name, path)
    if not re.fullmatch(r"[!-~]+", token):
        hint = "put the token alone into the file: one line, no spaces, no `Bearer`"
        raise ReloadError("credentials", f"{name}: this is no token", hint)
    return token


def _user_and_password(path: Path) -> str:
    name = f"WEBHOOK_BASIC_AUTH_FILE={path}"
    content = _credential(name, path)
    if ":" not in content:
        hint = "put user:password on one line into the file"
        raise ReloadError("credentials", f"{name}: there is no colon in it", hint)
    return content


def _credential(name: str, path: Path) -> str:
    """Read a credential as it is now; messages never show what it holds.

    Raises:
        ReloadError: the file cannot be read, or holds nothing that can be sent.
    """
    content = _read_regular(name, path)
    try:
        text = content.rstrip(b"\r\n").decode()
    except UnicodeDecodeError as error:
        hint = "write the file as UTF-8"
        raise ReloadError("credentials", f"{name}: this is not UTF-8", hint) from error
    if not text:
        hint = "check that the Secret's key is not empty and the right one is mounted"
        raise ReloadError("credentials", f"{name}: the file is empty", hint)
    if re.search(r"[\x00-\x1f\x7f-\x9f]", text):
        hint = "put one line of text into the file"
        raise ReloadError("credentials", f"{name}: it has control characters", hint)
    return text


def _read_regular(name: str, path: Path) -> bytes:
    hint = "mount the Secret's key there, readable for this container's runAsUser"
    try:
        # O_NONBLOCK: to open a pipe would otherwise wait for somebody to write.
        with open(
            path, "rb", opener=lambda file, flags: os.open(file, flags | os.O_NONBLOCK)
        ) as file:
            regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            content = file.read(_CREDENTIAL_LIMIT + 1) if regular else b""
    except OSError as error:
        raise ReloadError("credentials", f"{name}: {error.strerror}", hint) from error
    if not regular:
        raise ReloadError("credentials", f"{name}: this is no regular file", hint)
    if len(content) > _CREDENTIAL_LIMIT:
        raise ReloadError("credentials", f"{name}: this is over 64 KiB", hint)
    return content


@contextmanager
def _failures_named(exchange: Exchange, destination: _Destination) -> Iterator[None]:
    """Turn what httpx raises into a `ReloadError`; the only place that does."""
    import httpx

    try:
        yield
    except httpx.TimeoutException as error:
        raise exchange.timed_out() from error
    except httpx.ProxyError as error:
        raise ReloadError(
            "proxy",
            f"{_route(exchange, destination)}: the proxy refused to connect us",
            "allow the destination at the proxy, or add its host to NO_PROXY",
        ) from error
    except httpx.TransportError as error:
        cause = _os_error(error)
        where = _route(exchange, destination)
        if cause is not None:
            raise _connection_failure(cause, where, exchange, destination) from error
        raise _protocol_failure(error, where, exchange, destination) from error
    except (httpx.InvalidURL, UnicodeError) as error:
        # The `idna` codec of socket.getaddrinfo refuses such names.
        raise ReloadError(
            "dns",
            f"{exchange.where}: {destination.host!r} is no name of a host",
            "mend the URL: the parts of a name are 1 to 63 characters long",
        ) from error


def _route(exchange: Exchange, destination: _Destination) -> str:
    proxy = _proxy(exchange, destination)
    return exchange.where + (f" (through the proxy {proxy})" if proxy else "")


def _proxy(exchange: Exchange, destination: _Destination) -> str | None:
    """Return host and port of the proxy that the exchange went to, if it did."""
    import httpx

    if destination.direct or exchange.peer is None:
        return None
    host, port = exchange.peer
    named = httpx.URL(destination.url).raw_host.decode()
    return None if (named, destination.port) == (host, port) else f"{host}:{port}"


def _os_error(error: BaseException) -> OSError | None:
    """Return the kernel's, the resolver's or OpenSSL's error behind one of httpx.

    httpcore's pool cuts `__cause__` off (`raise ... from None`), so the context counts.
    """
    return next((link for link in _chain(error) if isinstance(link, OSError)), None)


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or link.__context__


def _protocol_failure(
    error: httpx.TransportError,
    where: str,
    exchange: Exchange,
    destination: _Destination,
) -> ReloadError:
    """Describe what no system call reported. h11's own words may quote secrets."""
    import httpx

    if isinstance(error, httpx.LocalProtocolError):
        return ReloadError(
            "protocol",
            f"{where}: the request cannot be sent as HTTP",
            "mend WEBHOOK_METHOD or WEBHOOK_HEADERS: odd characters, Content-Length",
        )
    if exchange.answering or not _was_malformed(error):
        return ReloadError(
            "closed",
            f"{where}: the server closed the connection without a whole answer",
            "look into the program's own log: it may have ended",
        )
    other = "http://" if destination.secure else "https://"
    return ReloadError(
        "protocol",
        f"{where}: what was answered is not HTTP/1.1",
        f"check the port, and use {other} if that is what it speaks",
    )


def _was_malformed(error: httpx.TransportError) -> bool:
    """Tell bytes that are not HTTP (h11 says so) from an end without any bytes."""
    import h11

    return any(isinstance(link, h11.RemoteProtocolError) for link in _chain(error))


def _connection_failure(
    cause: OSError, where: str, exchange: Exchange, destination: _Destination
) -> ReloadError:
    detail = f"{where}: {_words(cause)}"
    if destination.socket_path is not None and not exchange.connected:
        return ReloadError("socket", detail, _socket_hint(cause, destination))
    match cause:
        case socket.gaierror():
            return ReloadError("dns", detail, _name_hint(destination.host))
        case ssl.SSLCertVerificationError():
            return ReloadError("tls", detail, _certificate_hint(cause))
        case ssl.SSLError():
            return ReloadError("tls", detail, _tls_hint(cause))
        case ConnectionRefusedError():
            return ReloadError("refused", detail, _refused_hint(exchange, destination))
        case TimeoutError():
            return exchange.timed_out()
        case ConnectionError():
            hint = "look into the program's own log: it may have ended"
            return ReloadError("closed", detail, hint)
        case _:
            hint = "check the address, and that NetworkPolicies let this pod reach it"
            return ReloadError("unreachable", detail, hint)


def _words(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return error.strerror or str(error)


def _socket_hint(cause: OSError, destination: _Destination) -> str:
    path = destination.socket_path
    match cause:
        case FileNotFoundError():
            return (
                f"make the program create {path} in a volume that both containers "
                "mount at the same path"
            )
        case PermissionError():
            return (
                f"who connects needs write permission on {path}: run both containers "
                "with one runAsUser, or give the pod an fsGroup"
            )
        case ConnectionRefusedError():
            return f"start the program: {path} is there, but nobody listens on it"
        case _:
            return f"check that {path} is the socket of a program that accepts"


def _name_hint(host: str) -> str:
    return (
        f"check the spelling of {host}, its namespace (NAME.NAMESPACE.svc) and the "
        "pod's dnsPolicy; for a container of this pod use 127.0.0.1"
    )


def _refused_hint(exchange: Exchange, destination: _Destination) -> str:
    if _proxy(exchange, destination):
        return "mend HTTP_PROXY or HTTPS_PROXY, or add the host to NO_PROXY"
    if destination.direct:
        return (
            f"check that the program listens on port {destination.port} of this "
            "address; the containers of a pod share the network namespace"
        )
    return f"check that a ready pod is behind it and has port {destination.port}"


_CERTIFICATE_HINTS: Final = {
    9: "renew the server's certificate, or mend a clock",
    10: "renew the server's certificate, or mend a clock",
    62: "use a host in the URL that the server's certificate names",
    64: "use a host in the URL that the server's certificate names",
}
"""By X509_V_ERR_* of OpenSSL's x509_vfy.h (CERT_NOT_YET_VALID, CERT_HAS_EXPIRED,
HOSTNAME_MISMATCH, IP_ADDRESS_MISMATCH); the ssl module has no names for them."""


def _certificate_hint(error: ssl.SSLCertVerificationError) -> str:
    unknown = "set WEBHOOK_CA_FILE to the CA that signed the server's certificate"
    return _CERTIFICATE_HINTS.get(error.verify_code, unknown)


def _tls_hint(error: ssl.SSLError) -> str:
    reason = error.reason or ""
    if reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"):
        return "use http://, or the port that speaks TLS: this one does not"
    if "ALERT" in reason:
        return (
            "the server refused us: set WEBHOOK_CERT_FILE and WEBHOOK_KEY_FILE to a "
            "certificate that it accepts, and look into its log"
        )
    return "check that this port speaks TLS, and look into the server's log"


_STATUS_HINTS: Final = {
    401: "set WEBHOOK_BEARER_TOKEN_FILE or WEBHOOK_BASIC_AUTH_FILE, or mend the file",
    403: "allow the request at the server (Prometheus: --web.enable-lifecycle)",
    404: "check the path of the URL",
    405: "set WEBHOOK_METHOD to what the server accepts",
    407: "put the credentials of the proxy into HTTP_PROXY, or set NO_PROXY",
}


def _status_hint(status: int, url: str, location: str | None) -> str:
    if location is not None:
        return (
            "redirects are not followed, and this one points to "
            f"{_target(url, location)}: put the right URL into the setting"
        )
    return _STATUS_HINTS.get(
        status,
        "look into the program's own log; if this status is fine, add it to "
        "WEBHOOK_EXPECT_STATUS (or VERIFY_STATUS)",
    )


def _target(url: str, location: str) -> str:
    try:
        target = redacted(urljoin(url, location))[:200]
    except ValueError:
        return "something that is no URL"
    return "".join(letter if letter.isprintable() else "?" for letter in target)


def _codes(ranges: tuple[range, ...]) -> str:
    return ", ".join(
        str(codes.start) if len(codes) == 1 else f"{codes.start}-{codes.stop - 1}"
        for codes in ranges
    )
