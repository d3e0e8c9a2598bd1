"""`VERIFY_URL` as the whole sidecar asks it, with servers that answer badly."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import psutil
import pytest

from tests.hook import Hook
from tests.kubelet import KubeletVolume
from tests.sidecar_process import SidecarProcess

MEGABYTE = 1024 * 1024

Talk = Callable[[socket.socket], None]


@contextmanager
def answering(talk: Talk) -> Iterator[str]:
    """Serve one request a connection, each on its own thread; yield the URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as stack:

        def serve(connection: socket.socket) -> None:
            with suppress(OSError):  # the sidecar hung up, as it should
                head = b""
                while b"\r\n\r\n" not in head and (more := connection.recv(65536)):
                    head += more
                talk(connection)
                connection.shutdown(socket.SHUT_RDWR)

        def accept() -> None:
            with suppress(OSError):  # the test is over
                while True:
                    connection = stack.enter_context(listener.accept()[0])
                    thread = threading.Thread(target=serve, args=[connection])
                    thread.daemon = True
                    thread.start()

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/state"
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join(10)


def answer(body: bytes, *headers: str, status: str = "200 OK") -> Talk:
    """Return what sends one whole answer."""
    fields = "".join(f"{header}\r\n" for header in headers)
    length = f"Content-Length: {len(body)}\r\n"
    head = f"HTTP/1.1 {status}\r\n{fields}{length}\r\n"

    def talk(connection: socket.socket) -> None:
        connection.sendall(head.encode() + body)

    return talk


def slow(connection: socket.socket) -> None:
    """Begin the answer, and then send a byte of it now and then."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n")
    connection.settimeout(0.02)
    while True:
        connection.sendall(b"a")
        with suppress(TimeoutError):
            if not connection.recv(1):
                return


def endless(connection: socket.socket) -> None:
    """Send a body that has no end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"10000\r\n" + b"a" * 0x10000 + b"\r\n")


@contextmanager
def verifying(
    volume: KubeletVolume, talk: Talk, **env: str
) -> Iterator[SidecarProcess]:
    """Run a sidecar whose webhook takes everything, and whose `VERIFY_URL` is this."""
    with Hook() as hook, answering(talk) as url:
        settings = {
            "WATCH_DIRS": str(volume.path),
            "WEBHOOK_URL": hook.url,
            "VERIFY_URL": url,
            "VERIFY_TIMEOUT": "300ms",
            "RETRY_INITIAL": "20ms",
        }
        with SidecarProcess(settings | env) as sidecar:
            yield sidecar


@pytest.mark.parametrize(
    ("talk", "said"),
    [
        (slow, "reading the answer"),
        (lambda _connection: None, "closed the connection"),
        (answer(gzip.compress(b"ready"), "Content-Encoding: gzip"), "is compressed"),
        (answer(b"ready", "Location: /elsewhere", status="302 Found"), "answered 302"),
        (answer(b"ready", "Location: http://a:b/", status="302 Found"), "answered 302"),
        (answer(b"starting"), "VERIFY_BODY is not found in the answer"),
        (answer("ready".encode("utf-16")), "VERIFY_BODY is not found in the answer"),
        (lambda connection: connection.sendall(b"\0" * 9999), "is not HTTP/1.1"),
    ],
    ids=[
        "slow",
        "closed",
        "gzip",
        "redirect",
        "redirect to no URL",
        "other",
        "UTF-16 that says nothing of it",
        "no HTTP",
    ],
)
def test_an_answer_that_is_of_no_use_does_not_agree(
    volume: KubeletVolume, talk: Talk, said: str
) -> None:
    """It is said what it was, and the sidecar lives on."""
    with verifying(volume, talk, VERIFY_BODY="ready") as sidecar:
        rejected = sidecar.wait_for("reload_rejected")
        assert 200 == sidecar.get("/healthz")[0]

    assert said in rejected.facts["detail"]


def test_an_endless_answer_takes_bounded_time_and_memory(
    volume: KubeletVolume,
) -> None:
    """Four megabytes of it are looked at, and the sentence says so."""
    with verifying(volume, endless, VERIFY_BODY="b", VERIFY_TIMEOUT="5s") as sidecar:
        program = psutil.Process(sidecar.pid)
        before = program.memory_info().rss
        rejected = sidecar.wait_for("reload_rejected", within=30)
        after = program.memory_info().rss

    assert (
        "the first 4194304 characters of an answer that goes on"
        in (rejected.facts["detail"])
    )
    assert 64 * MEGABYTE > after - before


@pytest.mark.parametrize("encoding", ["ISO-8859-1", "UTF-16", "utf-8"])
def test_an_answer_in_another_encoding_is_understood_if_it_says_so(
    volume: KubeletVolume, encoding: str
) -> None:
    """VERIFY_BODY is text, and so is the answer."""
    body = "grün".encode(encoding)
    talk = answer(body, f"Content-Type: text/plain; charset={encoding}")
    with verifying(volume, talk, VERIFY_BODY="^grün$") as sidecar:
        sidecar.wait_for("reload_succeeded")


def test_the_last_question_does_not_outlast_the_time(volume: KubeletVolume) -> None:
    """One that is begun late has less than its own time, and a silence tells nothing.

    What was answered before is what there is to say.
    """
    asked: list[float] = []

    def silent_in_the_end(connection: socket.socket) -> None:
        asked.append(time.monotonic())
        if len(asked) <= 5:
            return answer(b"starting")(connection)
        connection.recv(1)  # ends when the sidecar hangs up
        return None

    environment = {"VERIFY_BODY": "ready", "VERIFY_TIMEOUT": "4s"}
    with verifying(volume, silent_in_the_end, **environment) as sidecar:
        rejected = sidecar.wait_for("reload_rejected")

    assert "VERIFY_BODY is not found in the answer" in rejected.facts["detail"]
    assert 5.5 > rejected.read_at - asked[0]
