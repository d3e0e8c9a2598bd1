"""A small HTTP server that is told to reload: it records, and answers as it is bid."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asked."""

    method: str
    path: str
    body: bytes
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What they get; after the server was told to go on, if it holds."""

    status: int = 200
    body: str | bytes = ""
    hold: threading.Event | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Hook:
    """The server. `answers` decides by the request and its number, from 1.

    It speaks TLS where a context is given.
    """

    def __init__(
        self,
        answers: Callable[[Request, int], Answer] = lambda _request, _n: Answer(),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.answers = answers
        self._requests: list[Request] = []
        self._news = threading.Condition()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                length = int(self.headers.get("Content-Length", "0"))
                asked = self.rfile.read(length)
                headers = {k.lower(): v for k, v in self.headers.items()}
                request = Request(self.command, self.path, asked, headers)
                answer = hook.answers(request, hook.note(request))
                if answer.hold:
                    answer.hold.wait(60)
                body = answer.body
                content = body.encode() if isinstance(body, str) else body
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PATCH = _answer  # noqa: N815  # http.server's names

            def log_message(self, *_: object) -> None:
                """Say nothing: the test says what it expects."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *_: object) -> None:
                """Nothing: a client may hang up at any time."""

        self._server = Server(("127.0.0.1", 0), Handler)
        if tls:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )

    @property
    def port(self) -> int:
        port: int = self._server.server_address[1]
        return port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/-/reload"

    @property
    def requests(self) -> list[Request]:
        with self._news:
            return list(self._requests)

    def note(self, request: Request) -> int:
        with self._news:
            self._requests.append(request)
            self._news.notify_all()
            return len(self._requests)

    def wait_for(self, count: int, within: float = 15.0) -> list[Request]:
        """Return all requests once there are so many."""
        with self._news:
            if not self._news.wait_for(lambda: len(self._requests) >= count, within):
                raise TimeoutError(f"{len(self._requests)} of {count} requests")
            return list(self._requests)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.05])
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
