"""Requests to real servers: honest, broken, silent and slow ones."""

from __future__ import annotations

import base64
import errno
import gc
import os
import socket
import socketserver
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self, TypeVar, cast
from urllib.parse import quote

import pytest
import trustme

import sidecar
from sidecar.errors import REASONS, ReloadError
from sidecar.request import Exchange, Requester, Response
from sidecar.settings import RequestSettings, TlsSettings
from tests.waiting import wait_until

WITHIN = 20.0
"""Seconds after which a test gives up; nothing here takes one of them when it works."""

MEGABYTE = 1024 * 1024


@dataclass
class Asked:
    """One request as the server got it."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]


@dataclass
class Record:
    """What a server is to answer, and what it was asked."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0


class Handler(BaseHTTPRequestHandler):
    """Answers anything with what the server's record says."""

    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.record.connections += 1

    @property
    def record(self) -> Record:
        return cast("Web | UnixWeb", self.server).record

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        body = self.rfile.read(length)
        self.record.asked.append(
            Asked(self.command, self.path, list(self.headers.items()), body)
        )
        self.send_response(self.record.status)
        for name, value in self.record.headers.items():
            self.send_header(name, value)
        if self.record.status != 204:
            self.send_header("Content-Length", str(len(self.record.body)))
        self.end_headers()
        self.wfile.write(self.record.body)

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing: stderr is the tests'."""


class Web(ThreadingHTTPServer):
    """A web server of the standard library, on a free port."""

    daemon_threads = True
    block_on_close = False

    def __init__(
        self, context: ssl.SSLContext | None = None, address: str = "127.0.0.1"
    ) -> None:
        super().__init__((address, 0), Handler)
        self.record = Record()
        self.context = context

    def get_request(self) -> tuple[socket.socket, object]:
        connection, address = super().get_request()
        if self.context:
            connection = self.context.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        return connection, address

    def url(self, path: str = "/-/reload") -> str:
        scheme = "https" if self.context else "http"
        return f"{scheme}://127.0.0.1:{self.server_port}{path}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a client that does not trust us hangs up."""


class UnixWeb(socketserver.ThreadingUnixStreamServer):
    """The same on a unix socket."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), Handler)
        self.record = Record()

    def get_request(self) -> tuple[socket.socket, object]:
        connection, _ = super().get_request()
        return connection, ("unix", 0)


Server = TypeVar("Server", bound=socketserver.BaseServer)


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """Serve in a thread while the block lasts."""
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(WITHIN)


class Peer:
    """A listening socket that does with its n-th connection what the test says.

    `talk` gets the connection and its number, from 1; whatever it leaves open is closed
    at the end, so a silent peer is one whose `talk` does nothing.
    """

    def __init__(self, talk: Callable[[socket.socket, int], None]) -> None:
        self.connections = 0
        self._talk = talk
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def url(self, scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port}/-/reload"

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self._stopping:
                connection.close()
                return
            self._open.append(connection)
            self.connections += 1
            with suppress(OSError):  # the client went away, which is the test
                self._talk(connection, self.connections)

    def __enter__(self) -> Self:
        self._stopping = False
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopping = True
        for connection in self._open:
            connection.close()
        with socket.create_connection(("127.0.0.1", self.port)):
            self._thread.join(WITHIN)
        self._listener.close()


def read_request(connection: socket.socket) -> bytes:
    """Read up to the end of a request's headers."""
    got = b""
    while b"\r\n\r\n" not in got and (more := connection.recv(65536)):
        got += more
    return got


def silent(_connection: socket.socket, _number: int) -> None:
    """Accept and say nothing."""


def dripping(connection: socket.socket, _number: int) -> None:
    """Begin an answer and send a byte of its headers now and then, for ever."""
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    drip(connection)


def dripping_body(connection: socket.socket, _number: int) -> None:
    """Answer, and then send a byte of the body now and then, for ever."""
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n")
    drip(connection)


def drip(connection: socket.socket) -> None:
    """Send a byte every 20 ms until the other side is gone."""
    connection.settimeout(0.02)
    while True:
        connection.sendall(b"a")
        with suppress(TimeoutError):
            if not connection.recv(1):
                return


class Asker:
    """A requester with somebody to wake, and the patience that a test has."""

    def __init__(self, settings: RequestSettings, read_limit: int = 0) -> None:
        self.woken = threading.Event()
        self.requester = Requester(settings, self.woken.set, read_limit=read_limit)

    def ask(
        self, body: bytes | None = None, content_type: str | None = None
    ) -> Response | ReloadError:
        self.woken.clear()
        exchange = self.requester.start(body, content_type)
        assert self.woken.wait(WITHIN)
        result = exchange.result()
        assert result is not None
        wait_for_threads()
        return result

    def fail(self) -> ReloadError:
        result = self.ask()
        assert isinstance(result, ReloadError), result
        return result


def threads() -> list[threading.Thread]:
    """Return the threads of requests that still run."""
    return [thread for thread in threading.enumerate() if thread.name == "request"]


def wait_for_threads() -> None:
    """Join every thread of a request; a request that hangs fails the test."""
    for thread in threads():
        thread.join(WITHIN)
    assert [] == threads()


Ask = Callable[..., Asker]


@pytest.fixture
def asker() -> Iterator[Ask]:
    """Make askers, and see at the end that none left a thread behind."""
    made: list[Asker] = []

    def make(settings: RequestSettings | str, read_limit: int = 0) -> Asker:
        if isinstance(settings, str):
            settings = RequestSettings(url=settings)
        made.append(Asker(settings, read_limit))
        return made[-1]

    yield make
    for one in made:
        one.requester.close()
    wait_for_threads()


@pytest.fixture
def web() -> Iterator[Web]:
    """Serve on loopback, without TLS."""
    with serving(Web()) as server:
        yield server


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    """Make a certificate authority that nobody knows yet."""
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


def server_context(ca: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    """Make the TLS of a server that is called `name`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(name, key_type=trustme.KeyType.ECDSA).configure_cert(context)
    return context


def ca_file(ca: trustme.CA, path: Path) -> Path:
    """Write the CA's certificate and return the path."""
    ca.cert_pem.write_to_path(str(path))
    return path


# What is sent


def test_sends_what_the_settings_say(asker: Ask, web: Web) -> None:
    """The method, path, query, headers and body arrive as they were given."""
    settings = RequestSettings(
        url=web.url("/a%20b?x=1&y=%2F"),
        method="PUT",
        headers=(("X-One", "1"), ("X-Two", "a"), ("X-Two", "b"), ("X-Text", "ü")),
    )

    assert Response(200, None) == asker(settings).ask(b"changed", "text/plain")

    asked = web.record.asked[0]
    assert ("PUT", "/a%20b?x=1&y=%2F", b"changed") == (
        asked.method,
        asked.path,
        asked.body,
    )
    assert ["1"] == asked.header("x-one")
    assert ["a", "b"] == asked.header("x-two")
    assert ["ü".encode().decode("latin-1")] == asked.header("x-text")
    assert ["text/plain"] == asked.header("content-type")
    assert [f"config-reload-sidecar/{sidecar.__version__}"] == asked.header(
        "user-agent"
    )
    assert ["identity"] == asked.header("accept-encoding")


def test_an_empty_post_says_that_it_is_empty(asker: Ask, web: Web) -> None:
    """Some servers answer 411 to a POST without a length."""
    asker(web.url()).ask()

    assert ["0"] == web.record.asked[0].header("content-length")
    assert [] == web.record.asked[0].header("content-type")


def test_the_users_headers_win(asker: Ask, web: Web) -> None:
    """Whoever names a header knows better than we do, and it is sent once."""
    settings = RequestSettings(
        url=web.url(), headers=(("content-type", "text/x-mine"), ("User-agent", "me"))
    )
    asker(settings).ask(b"{}", "application/json")

    assert ["text/x-mine"] == web.record.asked[0].header("content-type")
    assert ["me"] == web.record.asked[0].header("user-agent")


def test_cookies_are_not_kept(asker: Ask, web: Web) -> None:
    """Nothing that one answer sets alters the next request."""
    web.record.headers["Set-Cookie"] = "a=b"
    one = asker(web.url())
    one.ask()
    one.ask()

    assert [] == web.record.asked[1].header("cookie")


def test_credentials_in_the_url_are_sent_and_never_shown(asker: Ask, web: Web) -> None:
    """A percent-encoded password arrives decoded; messages hold neither."""
    web.record.status = 500
    url = web.url("/x?token=hidden").replace("//", "//me:hid%3Aden@")
    one = asker(url)
    problem = one.fail()

    sent = "Basic " + base64.b64encode(b"me:hid:den").decode()
    assert [sent] == web.record.asked[0].header("authorization")
    assert "hid" not in f"{problem} {problem.hint}"
    assert web.url("/x") in problem.detail
    assert web.url("/x") == one.requester.start().url


# Credentials from files


def test_a_rotated_token_is_sent_with_the_next_request(
    asker: Ask, web: Web, tmp_path: Path
) -> None:
    """The kubelet rotates tokens under us; the newline of an editor is no part."""
    token = tmp_path / "token"
    one = asker(RequestSettings(url=web.url(), bearer_token_file=token))
    for text in ("first\n", "second"):
        token.write_text(text)
        one.ask()

    sent = [asked.header("authorization") for asked in web.record.asked]
    assert [["Bearer first"], ["Bearer second"]] == sent
    assert 1 == web.record.connections


def test_a_basic_auth_file_replaces_an_authorization_header(
    asker: Ask, web: Web, tmp_path: Path
) -> None:
    """Two Authorization headers would be refused by any server."""
    file = tmp_path / "basic"
    file.write_text("me:pass:wörd\r\n")
    settings = RequestSettings(
        url=web.url(), basic_auth_file=file, headers=(("Authorization", "other"),)
    )
    asker(settings).ask()

    sent = "Basic " + base64.b64encode("me:pass:wörd".encode()).decode()
    assert [sent] == web.record.asked[0].header("authorization")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"\n", "empty"),
        (b"abc\ndef-secret", "control characters"),
        (b"abc\0secret", "control characters"),
        (b"Bearer secret", "no token"),
        (b"secret\xff", "UTF-8"),
        (b"secret" * 20_000, "64 KiB"),
    ],
)
def test_a_token_that_cannot_be_sent_is_not(
    asker: Ask, web: Web, tmp_path: Path, content: bytes, said: str
) -> None:
    """The message says what is wrong with the file without showing what it holds."""
    token = tmp_path / "token"
    token.write_bytes(content)
    problem = asker(RequestSettings(url=web.url(), bearer_token_file=token)).fail()

    assert "credentials" == problem.reason
    assert said in problem.detail
    assert f"WEBHOOK_BEARER_TOKEN_FILE={token}" in problem.detail
    assert problem.hint
    assert "secret" not in f"{problem.detail} {problem.hint}"
    assert [] == web.record.asked


def test_a_token_file_that_is_missing_or_a_pipe_does_not_hang(
    asker: Ask, web: Web, tmp_path: Path
) -> None:
    """Opening a pipe waits for a writer, which abandoning could not end."""
    os.mkfifo(tmp_path / "pipe")
    for name, said in (
        ("missing", os.strerror(errno.ENOENT)),
        (".", "no regular file"),
        ("pipe", "no regular file"),
    ):
        settings = RequestSettings(url=web.url(), bearer_token_file=tmp_path / name)
        problem = asker(settings).fail()

        assert "credentials" == problem.reason
        assert said in problem.detail


def test_basic_credentials_need_a_colon(asker: Ask, web: Web, tmp_path: Path) -> None:
    """A password alone is a mistake that the server could not explain."""
    file = tmp_path / "basic"
    file.write_text("secret")
    problem = asker(RequestSettings(url=web.url(), basic_auth_file=file)).fail()

    assert "credentials" == problem.reason
    assert "secret" not in problem.detail


# Statuses


@pytest.mark.parametrize("status", [302, 500, 404, 401])
def test_an_unexpected_status_is_a_failure(asker: Ask, web: Web, status: int) -> None:
    """The message names the status and what was expected."""
    web.record.status = status
    problem = asker(web.url()).fail()

    assert "status" == problem.reason
    assert f"POST {web.url()}: answered {status}, expected 200-299" == problem.detail
    assert problem.hint


def test_expected_statuses_can_be_chosen(asker: Ask, web: Web) -> None:
    """204 has no body to wait for; 500 counts if the operator says so."""
    settings = RequestSettings(
        url=web.url(), expect_status=(range(204, 205), range(500, 504))
    )
    one = asker(settings)
    for status in (204, 500):
        web.record.status = status
        assert Response(status, None) == one.ask()
    web.record.status = 200

    assert "expected 204, 500-503" in one.fail().detail
    assert 1 == web.record.connections


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("/new?token=hidden", "http://127.0.0.1:{port}/new"),
        ("https://me:hidden@elsewhere.test/x?hidden", "https://elsewhere.test/x"),
        ("http://[hidden", "URL"),
        ("http://elsewhere.test:port/x?hidden", "http://elsewhere.test:port/x"),
        ("http://elsewhere.test:99999999/", "http://elsewhere.test:99999999/"),
        ("/grün?hidden", "http://127.0.0.1:{port}/gr"),
        ("http://:@/", "URL"),
    ],
)
def test_a_redirect_is_not_followed_but_named(
    asker: Ask, web: Web, location: str, shown: str
) -> None:
    """A redirected POST becomes a GET and would seem to work."""
    web.record.status = 302
    web.record.headers["Location"] = location
    problem = asker(web.url()).fail()

    assert 1 == len(web.record.asked)
    assert problem.hint
    assert shown.format(port=web.server_port) in problem.hint
    assert "redirects are not followed" in problem.hint
    assert "hidden" not in problem.hint or location == "http://[hidden"


# Bodies of answers


def test_reads_the_text_when_it_is_wanted(asker: Ask, web: Web) -> None:
    """What is no UTF-8 is replaced; verification wants to search, not to fail."""
    web.record.body = "grün \n".encode() + b"\xff"

    assert Response(200, "grün \n\ufffd") == asker(web.url(), 1000).ask()


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/plain; charset=ISO-8859-1", "grün".encode("latin-1")),
        ("text/plain; charset=utf-16", "grün".encode("utf-16")),
        ("text/html; charset=UTF-16LE", "grün".encode("utf-16-le")),
        ("text/plain; charset=punycode", "grün".encode()),
        ("text/plain; charset=zip", "grün".encode()),
        ("text/plain; charset=no-such", "grün".encode()),
        ('text/plain; charset="', "grün".encode()),
        ("nonsense", "grün".encode()),
    ],
)
def test_reads_the_encodings_that_servers_use(
    asker: Ask, web: Web, kind: str, body: bytes
) -> None:
    """Others are taken for UTF-8: to decode whatever is named would not be bounded."""
    web.record.headers["Content-Type"] = kind
    web.record.body = body

    assert Response(200, "grün") == asker(web.url(), 1000).ask()


def test_a_large_body_is_cut_off_at_the_limit(asker: Ask, web: Web) -> None:
    """10 MB of metrics do not become 10 MB of memory, and the cut is told."""
    web.record.body = b"x" * (10 * MEGABYTE)
    one = asker(web.url(), 5000)

    assert Response(200, "x" * 5000, truncated=True) == one.ask()
    assert Response(200, "x" * 5000, truncated=True) == one.ask()


def test_a_large_body_that_nobody_wants_is_not_read(asker: Ask, web: Web) -> None:
    """The connection is cheaper than the body."""
    web.record.body = b"x" * (10 * MEGABYTE)
    one = asker(web.url())

    assert Response(200, None) == one.ask()
    assert Response(200, None) == one.ask()
    assert 2 == web.record.connections


@pytest.mark.parametrize(
    ("read_limit", "answer"),
    [(0, Response(200, None)), (5000, Response(200, "x" * 5000, truncated=True))],
)
def test_an_endless_body_is_read_no_further_than_wanted(
    asker: Ask, read_limit: int, answer: Response
) -> None:
    """Chunks without a length count too."""
    sent = 0

    def endless(connection: socket.socket, _number: int) -> None:
        nonlocal sent
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
        while True:
            connection.sendall(chunk)
            sent += 4096

    with Peer(endless) as peer:
        assert answer == asker(peer.url(), read_limit).ask()

    assert 20 * MEGABYTE > sent


def test_a_small_body_is_drained_so_that_the_connection_is_kept(
    asker: Ask, web: Web
) -> None:
    """Also that of an unexpected status, which is what gets retried."""
    web.record.body = b"x" * 60_000
    one = asker(web.url())
    for status in (200, 500, 200):
        web.record.status = status
        one.ask()

    assert 1 == web.record.connections


def test_a_compressed_answer_is_refused(asker: Ask, web: Web) -> None:
    """A few bytes can unpack to gigabytes; we did not ask for that."""
    web.record.headers["Content-Encoding"] = "gzip"
    web.record.body = b"\x1f\x8b"
    problem = asker(web.url(), 1000).fail()

    assert "protocol" == problem.reason
    assert "compressed" in problem.detail
    assert Response(200, None) == asker(web.url()).ask()


def test_a_body_that_breaks_off_is_a_failure_only_if_it_is_wanted(asker: Ask) -> None:
    """A program that re-executes itself may cut off the answer, having obeyed."""

    def cut_off(connection: socket.socket, _number: int) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal")
        reset = struct.pack("ii", 1, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        connection.close()

    with Peer(cut_off) as peer:
        assert Response(200, None) == asker(peer.url()).ask()
        assert "closed" == asker(peer.url(), 1000).fail().reason


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "closed"),
        (b"HTTP/1.1 200 OK\r\nConten", "closed"),
        (b"SSH-2.0-secret\r\n\r\n", "protocol"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: secret\r\n\r\n", "protocol"),
    ],
)
def test_what_is_no_answer_is_a_failure(asker: Ask, answer: bytes, reason: str) -> None:
    """The message has our words; what the peer sent may be anything."""

    def talk(connection: socket.socket, _number: int) -> None:
        read_request(connection)
        connection.sendall(answer)
        connection.close()

    with Peer(talk) as peer:
        problem = asker(peer.url()).fail()

    assert reason == problem.reason
    assert "secret" not in f"{problem.detail} {problem.hint}"
    assert peer.connections == 1


def test_a_header_that_cannot_be_sent_is_not_shown(asker: Ask, web: Web) -> None:
    """The HTTP library quotes it in its own message."""
    settings = RequestSettings(url=web.url(), headers=(("X-Key", "secret\n"),))
    problem = asker(settings).fail()

    assert "protocol" == problem.reason
    assert "secret" not in f"{problem.detail} {problem.hint}"


# The kept connection


def test_a_kept_connection_that_the_server_closed_is_no_failure(asker: Ask) -> None:
    """Servers close idle connections after seconds; reloads come after hours."""
    closed = threading.Event()

    def once(connection: socket.socket, _number: int) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        connection.close()
        closed.set()

    with Peer(once) as peer:
        one = asker(peer.url())
        for number in (1, 2):
            assert Response(204, None) == one.ask()
            assert closed.wait(WITHIN)
            closed.clear()
            assert number == peer.connections


def test_a_kept_connection_that_closes_as_it_is_used_is_no_failure(asker: Ask) -> None:
    """The server decided to close it before the request arrived; it is sent again."""
    got: list[bytes] = []

    def talk(connection: socket.socket, number: int) -> None:
        got.append(read_request(connection))
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        if number == 1:
            got.append(read_request(connection))
            connection.close()

    with Peer(talk) as peer:
        one = asker(peer.url())
        assert Response(204, None) == one.ask()
        assert Response(204, None) == one.ask()

    assert 2 == peer.connections
    assert 1 == len(set(got))
    assert 3 == len(got)


def test_a_new_connection_that_closes_is_not_tried_again(asker: Ask) -> None:
    """Retrying is the schedule's; one attempt is one request."""

    def talk(connection: socket.socket, _number: int) -> None:
        read_request(connection)
        connection.close()

    with Peer(talk) as peer:
        assert "closed" == asker(peer.url()).fail().reason

    assert 1 == peer.connections


# Being abandoned


def unfinished(asker: Asker, peer: Peer) -> Exchange:
    """Start a request and wait until it is under way at the peer."""
    exchange = asker.requester.start()
    wait_until(lambda: peer.connections, "a connection", WITHIN)
    return exchange


@pytest.mark.parametrize(
    ("talk", "scheme", "read_limit", "doing"),
    [
        (silent, "http", 0, "waiting for the answer"),
        (dripping, "http", 0, "waiting for the answer"),
        (dripping_body, "http", 100_000, "reading the answer"),
        (silent, "https", 0, "TLS handshake"),
    ],
)
def test_abandoning_frees_the_thread(
    asker: Ask,
    talk: Callable[[socket.socket, int], None],
    scheme: str,
    read_limit: int,
    doing: str,
) -> None:
    """Not even a peer that keeps sending can hold a thread beyond the deadline."""
    with Peer(talk) as peer:
        settings = RequestSettings(
            url=peer.url(scheme), timeout=3600, tls=TlsSettings(verify=False)
        )
        one = asker(settings, read_limit)
        exchange = unfinished(one, peer)
        wait_until(lambda: doing in exchange.timed_out().detail, doing, WITHIN)
        problem = exchange.timed_out()
        exchange.abandon()
        wait_for_threads()

    assert exchange.result() is None
    assert not one.woken.is_set()
    assert "timeout" == problem.reason
    assert problem.hint


def test_abandoning_frees_a_thread_that_cannot_send(asker: Ask) -> None:
    """A peer that does not read stops us in the middle of a large body."""
    with Peer(silent) as peer:
        one = asker(RequestSettings(url=peer.url(), timeout=3600))
        exchange = one.requester.start(b"x" * (30 * MEGABYTE))
        phase = "sending the request"
        wait_until(lambda: phase in exchange.timed_out().detail, phase, WITHIN)
        exchange.abandon()
        wait_for_threads()


def test_abandoning_frees_a_thread_on_a_kept_connection(asker: Ask) -> None:
    """The second request finds the connection there; and it is not tried again."""

    def talk(connection: socket.socket, _number: int) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with Peer(talk) as peer:
        one = asker(RequestSettings(url=peer.url(), timeout=3600))
        one.ask()
        exchange = one.requester.start()
        phase = "waiting for the answer"
        wait_until(lambda: phase in exchange.timed_out().detail, phase, WITHIN)
        exchange.abandon()
        wait_for_threads()

    assert 1 == peer.connections


def test_an_abandoned_connection_is_not_used_again(asker: Ask) -> None:
    """Its late answer would be taken for the answer to the next request."""

    def talk(connection: socket.socket, number: int) -> None:
        if number > 1:
            read_request(connection)
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with Peer(talk) as peer:
        one = asker(peer.url())
        unfinished(one, peer).abandon()

        assert Response(204, None) == one.ask()

    assert 2 == peer.connections


def test_a_new_request_abandons_the_one_before(asker: Ask) -> None:
    """One request at a time, whatever the caller forgot."""

    def talk(connection: socket.socket, number: int) -> None:
        if number > 1:
            read_request(connection)
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with Peer(talk) as peer:
        one = asker(RequestSettings(url=peer.url(), timeout=3600))
        forgotten = unfinished(one, peer)

        assert Response(204, None) == one.ask()
        assert forgotten.result() is None


def test_abandoning_what_is_done_changes_nothing(asker: Ask, web: Web) -> None:
    """Whoever cleans up need not ask whether there is something to clean up."""
    one = asker(web.url())
    exchange = one.requester.start()
    assert one.woken.wait(WITHIN)
    exchange.abandon()
    wait_for_threads()
    one.ask()

    assert Response(200, None) == exchange.result()
    assert 1 == web.record.connections


def test_the_status_is_the_answer_even_if_the_body_never_ends(asker: Ask) -> None:
    """What nobody reads holds up neither the result nor the end."""
    with Peer(dripping_body) as peer:
        one = asker(RequestSettings(url=peer.url(), timeout=3600))
        exchange = one.requester.start()
        assert one.woken.wait(WITHIN)

        assert Response(200, None) == exchange.result()
        one.requester.close()
        wait_for_threads()


def test_a_silent_peer_does_not_outlast_the_timeout(asker: Ask) -> None:
    """The second belt: without the loop, the request ends by its own timeout."""
    with Peer(silent) as peer:
        problem = asker(RequestSettings(url=peer.url(), timeout=0.05)).fail()

    assert "timeout" == problem.reason
    assert "not done after 0.05 s, waiting for the answer" in problem.detail


def test_a_dripping_body_does_not_outlast_the_timeout(asker: Ask) -> None:
    """No single read takes long here, so only the deadline ends it."""
    with Peer(dripping_body) as peer:
        settings = RequestSettings(url=peer.url(), timeout=0.1)

        assert Response(200, None) == asker(settings).ask()
        problem = asker(settings, 100_000).fail()

    assert "timeout" == problem.reason
    assert "not done after 0.1 s, reading the answer" in problem.detail


@contextmanager
def full() -> Iterator[socket.socket]:
    """Listen where connecting takes for ever: the queue is full (listen(2))."""
    with ExitStack() as stack:
        listener = stack.enter_context(
            socket.create_server(("127.0.0.1", 0), backlog=0)
        )
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener


def url_of(listener: socket.socket) -> str:
    """Return the URL of a listening socket."""
    return f"http://127.0.0.1:{listener.getsockname()[1]}/"


def test_what_was_abandoned_while_connecting_ends_when_it_connects(asker: Ask) -> None:
    """There was no socket to shut down; the moment there is one it goes."""
    with full() as listener, ExitStack() as stack:
        one = asker(RequestSettings(url=url_of(listener), timeout=3600))
        exchange = one.requester.start()
        phase = "connecting"
        wait_until(lambda: phase in exchange.timed_out().detail, phase, WITHIN)
        exchange.abandon()
        listener.settimeout(0.02)

        def freed() -> bool:
            with suppress(TimeoutError):  # the kernel connects again after a second
                stack.enter_context(listener.accept()[0])
            return not threads()

        wait_until(freed, "the end of the thread", WITHIN)

    assert exchange.result() is None


def test_a_thread_that_cannot_connect_ends_by_the_timeout(asker: Ask) -> None:
    """There is no socket to shut down yet; the result is ignored all the same."""
    with full() as listener:
        one = asker(RequestSettings(url=url_of(listener), timeout=0.5))
        exchange = one.requester.start()
        phase = "connecting"
        wait_until(lambda: phase in exchange.timed_out().detail, phase, WITHIN)
        exchange.abandon()
        wait_for_threads()

    assert exchange.result() is None


def test_threads_that_cannot_be_freed_do_not_pile_up(asker: Ask) -> None:
    """Newer content may come faster than connections time out."""
    with full() as listener:
        one = asker(RequestSettings(url=url_of(listener), timeout=1))
        started = [one.requester.start() for _ in range(50)]
        problem = started[-1].result()

        assert isinstance(problem, ReloadError)
        assert "threads" == problem.reason
        assert 8 == len(threads())
        assert one.woken.is_set()
        wait_for_threads()


def test_there_is_no_thread_while_nothing_is_asked(asker: Ask, web: Web) -> None:
    """An idle sidecar sleeps; a kept connection needs nobody."""
    asker(web.url()).ask()

    assert [] == threads()


# Connections that cannot be had


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_a_refused_connection_says_whom_to_ask(asker: Ask) -> None:
    """On loopback it is a container of this pod that does not listen."""
    port = free_port()
    problem = asker(f"http://127.0.0.1:{port}/-/reload?token=hidden").fail()

    assert "refused" == problem.reason
    where = f"POST http://127.0.0.1:{port}/-/reload"
    assert f"{where}: Connection refused" == problem.detail
    assert problem.hint
    assert str(port) in problem.hint
    assert "network namespace" in problem.hint


@pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 70 + ".invalid", "a..b"])
def test_an_unknown_name_is_named(
    asker: Ask, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """A name that cannot even be asked for is the same mistake to the operator."""
    without_proxies(monkeypatch)
    problem = asker(f"http://{host}/").fail()

    assert "dns" == problem.reason
    assert host in problem.detail


def test_a_unix_socket_gets_the_request(asker: Ask, tmp_path: Path) -> None:
    """Path and query are behind the percent-encoded path of the socket."""
    path = tmp_path / "App.sock"
    with serving(UnixWeb(path)) as server:
        url = f"http+unix://{quote(str(path), safe='')}/reload?x=1"
        one = asker(url)

        assert Response(200, None) == one.ask(b"body")
        assert Response(200, None) == one.ask(b"body")
        assert "/reload?x=1" == server.record.asked[0].path
        assert ["localhost"] == server.record.asked[0].header("host")
        assert 1 == server.record.connections


# httpcore leaves the socket that could not connect to the garbage collector.
@pytest.mark.filterwarnings("ignore:.*unclosed <socket")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
# httpcore leaves the socket of a connection that failed to the garbage collector
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_a_unix_socket_that_cannot_be_used_says_why(asker: Ask, tmp_path: Path) -> None:
    """Missing, stale and no socket at all have different mends."""
    stale = tmp_path / "stale"
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(stale))
    for name, said, mend in (
        ("missing", "No such file", "volume"),
        ("stale", "refused", "nobody listens"),
    ):
        path = tmp_path / name
        problem = asker(f"http+unix://{quote(str(path), safe='')}/").fail()

        assert "socket" == problem.reason
        assert said in problem.detail
        assert problem.hint
        assert mend in problem.hint
        assert str(path) in problem.hint
    gc.collect()


# TLS


def test_the_ca_decides_whom_to_trust(
    asker: Ask, ca: trustme.CA, tmp_path: Path
) -> None:
    """With the CA it works, without it the hint names the variable."""
    trusting = TlsSettings(ca_file=ca_file(ca, tmp_path / "ca.pem"))
    with serving(Web(server_context(ca))) as web:
        problem = asker(web.url()).fail()
        settings = RequestSettings(url=web.url(), tls=trusting)
        one = asker(settings)

        assert Response(200, None) == one.ask()
        assert Response(200, None) == one.ask()
        assert 2 == web.record.connections
        assert "tls" == problem.reason
        assert "certificate verify failed" in problem.detail
        assert problem.hint
        assert "WEBHOOK_CA_FILE" in problem.hint


def test_the_system_trusts_by_the_usual_variable(
    asker: Ask, ca: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a CA file the system's store counts, wherever OpenSSL is told it is."""
    monkeypatch.setenv("SSL_CERT_FILE", str(ca_file(ca, tmp_path / "ca.pem")))
    with serving(Web(server_context(ca))) as web:
        assert Response(200, None) == asker(web.url()).ask()


def test_verification_can_be_switched_off(asker: Ask, ca: trustme.CA) -> None:
    """Neither the CA nor the name in the certificate matters then."""
    with serving(Web(server_context(ca, "elsewhere.test"))) as web:
        tls = TlsSettings(verify=False)

        assert (
            Response(200, None) == asker(RequestSettings(url=web.url(), tls=tls)).ask()
        )


def test_a_certificate_for_another_name_says_so(
    asker: Ask, ca: trustme.CA, tmp_path: Path
) -> None:
    """The CA is right, so the hint is about the URL."""
    tls = TlsSettings(ca_file=ca_file(ca, tmp_path / "ca.pem"))
    with serving(Web(server_context(ca, "elsewhere.test"))) as web:
        problem = asker(RequestSettings(url=web.url(), tls=tls)).fail()

    assert "tls" == problem.reason
    assert problem.hint
    assert "host in the URL" in problem.hint


def swap(volume: Path, generation: str) -> None:
    """Publish another generation as the kubelet does, by a rename."""
    (volume / "..data_tmp").symlink_to(generation)
    os.replace(volume / "..data_tmp", volume / "..data")


def test_a_rotated_ca_is_trusted_without_a_restart(
    asker: Ask, ca: trustme.CA, tmp_path: Path
) -> None:
    """The kubelet swaps a link above the file; the file's own link stays."""
    other = trustme.CA(key_type=trustme.KeyType.ECDSA)
    for name, one in (("old", other), ("new", ca)):
        (tmp_path / name).mkdir()
        ca_file(one, tmp_path / name / "ca.pem")
    (tmp_path / "..data").symlink_to("old")
    (tmp_path / "ca.pem").symlink_to("..data/ca.pem")
    with serving(Web(server_context(ca))) as web:
        tls = TlsSettings(ca_file=tmp_path / "ca.pem")
        asking = asker(RequestSettings(url=web.url(), tls=tls))

        assert "tls" == asking.fail().reason
        swap(tmp_path, "new")
        assert Response(200, None) == asking.ask()
        connections = web.record.connections
        swap(tmp_path, "old")
        assert "tls" == asking.fail().reason
        assert connections + 1 == web.record.connections


def test_a_ca_that_cannot_be_read_fails_until_it_is_back(
    asker: Ask, ca: trustme.CA, tmp_path: Path
) -> None:
    """A broken file is no reason to trust the old one, or to need a restart."""
    path = ca_file(ca, tmp_path / "ca.pem")
    with serving(Web(server_context(ca))) as web:
        one = asker(RequestSettings(url=web.url(), tls=TlsSettings(ca_file=path)))
        assert Response(200, None) == one.ask()
        away = path.rename(tmp_path / "away.pem")
        missing = one.fail()
        path.write_text("secret")
        broken = one.fail()
        away.rename(path)

        assert Response(200, None) == one.ask()

    for problem in (missing, broken):
        assert "tls_files" == problem.reason
        assert f"WEBHOOK_CA_FILE={path}" in problem.detail
        assert "secret" not in problem.detail
        assert problem.hint


def demanding(ca: trustme.CA) -> ssl.SSLContext:
    """Make the TLS of a server that lets in whom its CA knows."""
    context = server_context(ca)
    context.verify_mode = ssl.CERT_REQUIRED
    ca.configure_trust(context)
    return context


def test_shows_a_client_certificate(asker: Ask, ca: trustme.CA, tmp_path: Path) -> None:
    """Certificate and key may be two files or one."""
    mine = ca.issue_cert("me@sidecar.test", key_type=trustme.KeyType.ECDSA)
    mine.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    mine.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    mine.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    two = TlsSettings(
        ca_file=ca_file(ca, tmp_path / "ca.pem"),
        cert_file=tmp_path / "cert.pem",
        key_file=tmp_path / "key.pem",
    )
    one = replace(two, cert_file=tmp_path / "both.pem", key_file=None)
    with serving(Web(demanding(ca))) as web:
        for tls in (one, two):
            settings = RequestSettings(url=web.url(), tls=tls)
            assert Response(200, None) == asker(settings).ask()


def test_a_demanded_client_certificate_is_named_in_the_hint(
    asker: Ask, ca: trustme.CA, tmp_path: Path
) -> None:
    """With TLS 1.3 the refusal comes after our side of the handshake is done."""
    context = demanding(ca)

    def talk(connection: socket.socket, _number: int) -> None:
        with suppress(ssl.SSLError):
            context.wrap_socket(connection.dup(), server_side=True)
        while connection.recv(65536):  # or the reset overtakes the alert
            pass

    tls = TlsSettings(ca_file=ca_file(ca, tmp_path / "ca.pem"))
    with Peer(talk) as peer:
        problem = asker(RequestSettings(url=peer.url("https"), tls=tls)).fail()

    assert "tls" == problem.reason
    assert "alert certificate required" in problem.detail
    assert problem.hint
    assert "WEBHOOK_CERT_FILE" in problem.hint


def test_a_key_of_another_certificate_is_a_failure(
    asker: Ask, ca: trustme.CA, tmp_path: Path
) -> None:
    """Half a rotation looks like this; the next attempt sees the rest."""
    for name in ("one", "two"):
        issued = ca.issue_cert("me@sidecar.test", key_type=trustme.KeyType.ECDSA)
        issued.cert_chain_pems[0].write_to_path(str(tmp_path / f"{name}.pem"))
        issued.private_key_pem.write_to_path(str(tmp_path / f"{name}.key"))
    tls = TlsSettings(
        verify=False, cert_file=tmp_path / "one.pem", key_file=tmp_path / "two.key"
    )
    problem = asker(RequestSettings(url="https://127.0.0.1:1/", tls=tls)).fail()

    assert "tls_files" == problem.reason
    assert "WEBHOOK_KEY_FILE" in problem.detail


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_wrong_scheme_is_recognised(
    asker: Ask, ca: trustme.CA, scheme: str
) -> None:
    """HTTP to a TLS port and the reverse are both named for what they are."""
    with serving(Web(None if scheme == "https" else server_context(ca))) as web:
        problem = asker(f"{scheme}://127.0.0.1:{web.server_port}/").fail()

    assert problem.reason in ("tls", "protocol", "closed")
    assert problem.hint
    if scheme == "https":
        assert "use http://" in problem.hint


# Proxies


def without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the proxies of the machine that runs the tests."""
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name.upper()}_PROXY", raising=False)


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A counting proxy that the environment names for everything."""
    without_proxies(monkeypatch)
    with serving(Web()) as server:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{server.server_port}")
        yield server


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1.2.3"])
def test_loopback_is_never_asked_through_a_proxy(
    asker: Ask, proxy: Web, host: str
) -> None:
    """The proxy would reach its own loopback and reload something else."""
    with serving(Web(address="")) as web:
        url = web.url().replace("127.0.0.1", host)

        assert Response(200, None) == asker(url).ask()
        assert 1 == web.record.connections
    assert 0 == proxy.record.connections


def test_a_unix_socket_is_never_asked_through_a_proxy(
    asker: Ask, proxy: Web, tmp_path: Path
) -> None:
    """Its host is called localhost only because HTTP wants a name."""
    with serving(UnixWeb(tmp_path / "s")) as web:
        url = f"http+unix://{quote(str(tmp_path / 's'), safe='')}/"

        assert Response(200, None) == asker(url).ask()
        assert 1 == len(web.record.asked)
    assert 0 == proxy.record.connections


def test_others_are_asked_through_the_proxy(asker: Ask, proxy: Web) -> None:
    """The name need not even be known here; the proxy resolves it."""
    assert Response(200, None) == asker("http://nowhere.invalid/-/reload").ask()

    assert "http://nowhere.invalid/-/reload" == proxy.record.asked[0].path


def test_no_proxy_is_heeded(
    asker: Ask, proxy: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A domain in NO_PROXY is asked directly, which fails here as it should."""
    monkeypatch.setenv("NO_PROXY", "example.test,.invalid")

    assert "dns" == asker("http://nowhere.invalid/-/reload").fail().reason
    assert 0 == proxy.record.connections


def test_a_proxy_that_refuses_is_named(asker: Ask, proxy: Web) -> None:
    """Otherwise everybody looks for the fault at the destination."""
    proxy.record.status = 403
    problem = asker("https://nowhere.invalid/").fail()

    assert "proxy" == problem.reason
    assert f"proxy 127.0.0.1:{proxy.server_port}" in problem.detail
    assert "CONNECT" == proxy.record.asked[0].method


def test_a_proxy_that_is_not_there_is_named(
    asker: Ask, proxy: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The destination did not refuse anything."""
    del proxy
    port = free_port()
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
    problem = asker("http://nowhere.invalid/").fail()

    assert "refused" == problem.reason
    assert f"proxy 127.0.0.1:{port}" in problem.detail
    assert problem.hint
    assert "NO_PROXY" in problem.hint


@pytest.mark.parametrize("value", ["socks5://127.0.0.1:1", "nonsense://x"])
def test_a_proxy_that_cannot_be_used_is_a_failure(
    asker: Ask, proxy: Web, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """The variables were made for other programs; the message names them."""
    del proxy
    monkeypatch.setenv("ALL_PROXY", value)
    problem = asker("http://nowhere.invalid/").fail()

    assert "proxy" == problem.reason
    assert problem.hint
    assert "ALL_PROXY" in problem.hint


def test_netrc_is_not_read(
    asker: Ask, web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Credentials come from the settings and from nowhere else."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    asker(web.url()).ask()

    assert [] == web.record.asked[0].header("authorization")


def test_the_http_library_does_not_log_the_url(
    asker: Ask, web: Web, caplog: pytest.LogCaptureFixture
) -> None:
    """It logs the query at level info, and headers at level debug."""
    caplog.set_level("DEBUG")
    settings = RequestSettings(
        url=web.url("/?token=hidden"), headers=(("X-Key", "hidden"),)
    )
    asker(settings).ask()

    assert "hidden" not in caplog.text


def test_every_reason_is_explained() -> None:
    """The documentation lists them; each has one sentence."""
    assert all(sentence.endswith(".") for sentence in REASONS.values())
