"""The endpoints over real sockets, and a real thread whose health they tell."""

from __future__ import annotations

import json
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field

import pytest

from sidecar import page
from sidecar.endpoints import Endpoints
from sidecar.errors import SettingsError
from sidecar.heart import Heart
from sidecar.status import Status
from tests.waiting import wait_until

STATUS = Status(version="0.1.0", watch_mode="inotify", started=0)
HEAD_TIMEOUT = 0.3


@dataclass
class Program:
    """What the endpoints ask. The test changes the answers."""

    healthy: Callable[[], str | None] = lambda: None
    ready: Callable[[], str | None] = lambda: None
    body: bytes = b"a_metric 1\n"
    accepted: list[str] = field(default_factory=list)
    bug: bool = False

    def status(self) -> Status:
        if self.bug:
            raise LookupError
        return STATUS

    def metrics(self, accept: str) -> tuple[bytes, str]:
        self.accepted.append(accept)
        return self.body, "text/plain"

    def endpoints(self, host: str = "127.0.0.1", port: int = 0) -> Endpoints:
        return Endpoints(
            (host, port),
            status=self.status,
            healthy=lambda: self.healthy(),
            ready=lambda: self.ready(),
            metrics=self.metrics,
            head_timeout=HEAD_TIMEOUT,
        )


@dataclass(frozen=True)
class Reply:
    """An answer, read until the server closed."""

    code: int
    headers: dict[str, str]
    body: bytes


@pytest.fixture
def program() -> Program:
    """A program that is well."""
    return Program()


@pytest.fixture
def port(program: Program) -> Iterator[int]:
    """Its endpoints on a free port."""
    with program.endpoints() as endpoints:
        yield endpoints.port


def connect(port: int, host: str = "127.0.0.1") -> socket.socket:
    """Connect, with a bound on everything that follows."""
    return socket.create_connection((host, port), timeout=30)


def read(connection: socket.socket) -> Reply:
    """Read to the end."""
    raw = b""
    while piece := connection.recv(65536):
        raw += piece
    head, _, body = raw.partition(b"\r\n\r\n")
    line, *fields = head.decode("latin-1").split("\r\n")
    headers = dict(name.split(": ", 1) for name in fields)
    return Reply(int(line.split(" ")[1]), headers, body)


def ask(port: int, request: bytes, host: str = "127.0.0.1") -> Reply:
    """Send something and read the answer."""
    with closing(connect(port, host)) as connection:
        connection.sendall(request)
        return read(connection)


def get(port: int, path: str, method: str = "GET") -> Reply:
    """Make a plain request."""
    return ask(port, f"{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())


def has_ipv6() -> bool:
    """Whether the kernel has it, and it is not switched off."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def exchanges() -> int:
    """Return how many connections have a thread."""
    return [thread.name for thread in threading.enumerate()].count("exchange")


def exchanges_ended() -> None:
    """Wait until no connection is being answered."""
    for thread in threading.enumerate():
        if thread.name == "exchange":
            thread.join(timeout=30)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/healthz", "text/plain; charset=utf-8"),
        ("/readyz", "text/plain; charset=utf-8"),
        ("/metrics", "text/plain"),
        ("/status", "application/json"),
        ("/", "text/html; charset=utf-8"),
    ],
)
def test_every_endpoint_answers(port: int, path: str, kind: str) -> None:
    """With the headers that keep proxies and browsers from being clever."""
    reply = get(port, path)

    assert 200 == reply.code
    assert kind == reply.headers["Content-Type"]
    assert str(len(reply.body)) == reply.headers["Content-Length"]
    assert "no-store" == reply.headers["Cache-Control"]
    assert "nosniff" == reply.headers["X-Content-Type-Options"]
    assert "close" == reply.headers["Connection"]
    assert "config-reload-sidecar" == reply.headers["Server"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/status", "/"])
def test_head_is_get_without_the_body(port: int, path: str) -> None:
    """The length is that of the body which is not sent."""
    full, head = get(port, path), get(port, path, "HEAD")

    assert (full.code, b"") == (head.code, head.body)
    assert full.headers["Content-Length"] == head.headers["Content-Length"]


def test_status_is_the_status(port: int) -> None:
    """For machines, in the contract's shape."""
    assert STATUS.as_json() == json.loads(get(port, "/status").body)


def test_the_page_carries_its_policy(port: int) -> None:
    """What the browser may do is nothing, but for the page's own style."""
    reply = get(port, "/")

    assert page.policy() == reply.headers["Content-Security-Policy"]
    assert page.render(STATUS).encode() == reply.body


def test_the_scraper_is_given_the_format_it_asks_for(
    program: Program, port: int
) -> None:
    """Its wish reaches the metrics as it was sent."""
    ask(port, b"GET /metrics?x=1 HTTP/1.1\r\naccept: one;q=0.5\r\n\r\n")

    assert ["one;q=0.5"] == program.accepted


def test_a_sick_program_says_why(program: Program, port: int) -> None:
    """`kubectl describe pod` shows the body of a failed probe."""
    program.healthy = lambda: "it is stuck \udc80"
    program.ready = lambda: "not watching yet"
    healthy, ready = get(port, "/healthz"), get(port, "/readyz")

    assert (503, b"it is stuck \\udc80\n") == (healthy.code, healthy.body)
    assert (503, b"not watching yet\n") == (ready.code, ready.body)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "get", "X"])
def test_other_methods_are_refused_on_known_paths_only(port: int, method: str) -> None:
    """405 says which methods there are; an unknown path is unknown to all."""
    known, unknown = get(port, "/metrics", method), get(port, "/nothing", method)

    assert (405, "GET, HEAD") == (known.code, known.headers["Allow"])
    assert 404 == unknown.code


def test_a_body_is_neither_wanted_nor_in_the_way(port: int) -> None:
    """The client sends 100 KB on, and still reads the refusal."""
    head = b"POST /status HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 99999\r\n"
    reply = ask(port, head + b"\r\n" + b"x" * 99_999)

    assert 405 == reply.code


def test_a_client_may_go_on_sending_for_a_moment(port: int) -> None:
    """A connection that is closed at once is reset, and takes the answer with it."""
    with closing(connect(port)) as connection:
        connection.sendall(b"POST /status HTTP/1.1\r\n\r\n")
        reply = read(connection)
        connection.sendall(b"x" * 1000)
        reset = select.poll()
        reset.register(connection, 0)

        assert [] == reset.poll(100)
    assert 405 == reply.code


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * 100_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/9.9\r\n\r\n", 505),
        (b"GET / HTTP/x\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET\r\n\r\n", 400),
        (b"GET / <script> HTTP/1.1\r\n\r\n", 400),
        (b"GET /<script> HTTP/1.1\r\n\r\n", 404),
        (b"GET /../status HTTP/1.1\r\n\r\n", 404),
    ],
    ids=lambda value: str(value)[:24],
)
def test_a_bad_request_is_refused_in_plain_text(
    port: int, request_: bytes, code: int
) -> None:
    """And nothing of it comes back."""
    reply = ask(port, request_)

    assert code == reply.code
    assert "text/plain; charset=utf-8" == reply.headers["Content-Type"]
    assert b"script" not in reply.body


def test_lines_may_end_as_people_type_them(port: int) -> None:
    r"""`printf 'GET /healthz HTTP/1.0\n\n' | nc` is how one looks from a shell."""
    assert 200 == ask(port, b"\r\nGET /healthz HTTP/1.0\n\n").code


@pytest.mark.parametrize(
    "target",
    [
        b"/healthz?\xc3\xa9 HTTP/1.1",
        b"//healthz HTTP/1.1",
        b"http://here:9533/healthz HTTP/1.1",
        b"/healthz HTTP/1.1 ",
    ],
    ids=["raw UTF-8", "two slashes", "whole URL", "a blank at the end"],
)
def test_what_clients_make_of_a_path_is_understood(port: int, target: bytes) -> None:
    """A probe or a scrape that worked elsewhere works here."""
    assert 200 == ask(port, b"GET " + target + b"\r\n\r\n").code


def test_what_follows_a_request_is_thrown_away(port: int) -> None:
    """One request a connection; the rest is not taken for another."""
    reply = ask(port, b"GET /healthz HTTP/1.1\r\n\r\nGET /status HTTP/1.1\r\n\r\n\0\0")

    assert (200, b"ok\n") == (reply.code, reply.body)


def test_half_a_request_is_waited_for_and_then_refused(port: int) -> None:
    """The wait is bounded."""
    assert 408 == ask(port, b"GET /healthz HTTP/1.1\r\n").code


def test_a_dripping_client_does_not_get_more_time(port: int) -> None:
    """A byte now and then would get past a timeout for each read."""
    began = time.monotonic()
    with closing(connect(port)) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nA: ")
        while not select.select([connection], [], [], HEAD_TIMEOUT / 10)[0]:
            connection.sendall(b"x")

        assert 408 == read(connection).code
    assert time.monotonic() - began < 10 * HEAD_TIMEOUT


def patient() -> Endpoints:
    """Return endpoints that would wait a minute for a request."""
    return Endpoints(
        ("127.0.0.1", 0),
        status=lambda: STATUS,
        healthy=lambda: None,
        ready=lambda: None,
        metrics=lambda _: (b"x" * 20_000_000, ""),
        head_timeout=60,
    )


def test_of_two_hundred_connections_at_once_the_slowest_are_turned_away() -> None:
    """32 are served, the rest is told, and nobody is left without a word."""
    with patient() as endpoints, ExitStack() as stack:
        crowd = [
            stack.enter_context(closing(connect(endpoints.port))) for _ in range(200)
        ]
        assert [503] * 168 == [read(connection).code for connection in crowd[:168]]
        wait_until(lambda: exchanges() == 32, "the last 32 are listened to")

        for connection in crowd[168:]:
            connection.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
        assert [200] * 32 == [read(connection).code for connection in crowd[168:]]
        stack.pop_all().close()
        exchanges_ended()

        assert 200 == get(endpoints.port, "/healthz").code


@pytest.mark.parametrize(
    "request_",
    [
        b"",
        b"GET /healthz HTTP/1.1\r\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\n\r\n",
    ],
    ids=["silent", "half a request", "hangs on after the answer", "does not read it"],
)
def test_slow_clients_that_come_again_keep_no_probe_out(request_: bytes) -> None:
    """A liveness probe that is refused gets the sidecar killed."""
    over = threading.Event()

    def occupy(port: int) -> None:
        while not over.is_set():
            with closing(connect(port)) as connection, suppress(OSError):
                connection.sendall(request_)
                over.wait(1)

    with patient() as endpoints:
        clients = [
            threading.Thread(target=occupy, args=[endpoints.port]) for _ in range(64)
        ]
        for client in clients:
            client.start()
        codes = [get(endpoints.port, "/healthz").code for _ in range(50)]
        over.set()
        for client in clients:
            client.join(30)
        exchanges_ended()

    assert [200] * 50 == codes


def test_clients_that_leave_do_not_reach_stderr(
    program: Program, port: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """Before, during and after the request; a port scanner is no event."""
    program.body = b"x" * 50_000_000
    for request in (b"", b"GET /met", b"GET /metrics HTTP/1.1\r\n\r\n"):
        connection = connect(port)
        connection.sendall(request)
        if request.endswith(b"\n"):
            connection.recv(100)
        reset = struct.pack("ii", 1, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        connection.close()
    exchanges_ended()

    assert 200 == get(port, "/healthz").code
    assert ("", "") == capfd.readouterr()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_is_an_answer_too(program: Program, port: int) -> None:
    """500 without details; the traceback goes to stderr as any thread's does."""
    program.bug = True
    reply = get(port, "/status")
    exchanges_ended()

    assert (500, b"Internal Server Error\n") == (reply.code, reply.body)
    assert 200 == get(port, "/healthz").code


def test_stops_at_once_and_gives_the_port_back(program: Program) -> None:
    """Without waiting for a wake-up, of which there is none while nobody asks."""
    with program.endpoints() as endpoints:
        port = endpoints.port
        assert 200 == get(port, "/healthz").code
        began = time.monotonic()
    assert time.monotonic() - began < 5

    assert "endpoints" not in [thread.name for thread in threading.enumerate()]
    with program.endpoints(port=port) as endpoints:
        assert 200 == get(port, "/healthz").code


def test_a_port_that_is_taken_is_a_wrong_setting(program: Program, port: int) -> None:
    """Named with the variable, the address and the mend."""
    with pytest.raises(SettingsError) as caught:
        program.endpoints(port=port)
    (problem,) = caught.value.problems

    assert problem.startswith(f"HTTP_LISTEN: cannot listen on 127.0.0.1:{port}: ")
    assert f"HTTP_LISTEN=:{port + 1}" in problem


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
def test_an_address_that_is_not_ours_is_a_wrong_setting(
    program: Program, host: str
) -> None:
    """A pod's address is rarely known beforehand; the mend is to leave it out."""
    with pytest.raises(SettingsError, match=r"^HTTP_LISTEN: .* HTTP_LISTEN=:9533$"):
        program.endpoints(host, 9533)


def test_without_a_host_it_listens_on_every_address(program: Program) -> None:
    """The kubelet probes the pod's address, of whichever family it is."""
    hosts = ["127.0.0.1", "::1"] if has_ipv6() else ["127.0.0.1"]
    with program.endpoints(host="") as endpoints:
        codes = [
            ask(endpoints.port, b"GET /healthz HTTP/1.1\r\n\r\n", host).code
            for host in hosts
        ]

    assert [200] * len(hosts) == codes


@dataclass
class Loop:
    """A thread that waits as the watching loop does, and beats at every turn.

    It takes a lock in each turn, and whoever holds that has the loop stuck.
    """

    beats: int = 0
    obstacle: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._thread = threading.Thread(target=self._run)

    def wake(self) -> None:
        self._writer.send(b"w")

    def _run(self) -> None:
        while b"e" not in self._reader.recv(100):
            with self.obstacle:
                self.beats += 1
                self.heart.beat()

    def __enter__(self) -> Loop:
        self.heart = Heart(self.wake, bound=0.1)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._writer.send(b"e")
        self._thread.join(timeout=30)
        self._reader.close()
        self._writer.close()


@pytest.fixture
def loop() -> Iterator[Loop]:
    """A loop that is running."""
    with Loop() as running:
        yield running


def test_a_loop_that_makes_progress_is_healthy(loop: Loop) -> None:
    """It is asked, and answers by itself; nothing else wakes it."""
    assert [None] * 5 == [loop.heart.reason() for _ in range(5)]
    assert 5 == loop.beats


def test_a_stuck_loop_is_seen_and_so_is_its_recovery(
    program: Program, port: int, loop: Loop
) -> None:
    """Over HTTP, as the kubelet sees it, within the bound and half a second."""
    program.healthy = loop.heart.reason
    with loop.obstacle:
        began = time.monotonic()
        reply = get(port, "/healthz")
        assert time.monotonic() - began < 3

    assert 503 == reply.code
    assert reply.body.startswith(b"the watching loop has made no progress for at least")
    assert 200 == get(port, "/healthz").code


def test_slow_is_not_stuck() -> None:
    """Within the bound nothing is said; beyond it, the age of the oldest question."""
    now = [0.0]
    heart = Heart(lambda: None, bound=10.0, patience=0, monotonic=lambda: now[0])
    assert None is heart.reason()

    now[0] = 9.0
    assert None is heart.reason()

    now[0] = 12.0
    reason = heart.reason()
    assert reason
    assert "at least 12.0 s (bound: 10 s)" in reason

    heart.beat()
    assert None is heart.reason()
