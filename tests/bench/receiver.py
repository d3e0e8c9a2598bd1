"""Who is told: a program that notes when a signal or a POST came, and nothing else.

Run as a script it is that program, and writes CLOCK_MONOTONIC of each as a line, in
seconds. It answers GET as Prometheus does after a reload, because
prometheus-config-reloader asks before and after its signal. The class starts it.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

_LONGEST = 15
"""How many characters of a name the kernel keeps: proc(5), `comm`."""


class Receiver:
    """The program as a child process, under a name that no other process has."""

    def __init__(self, name: str) -> None:
        self.name = name[:_LONGEST]
        self.port = 0
        self._news = threading.Condition()
        self._receipts: list[float] = []

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, __file__, self.name],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout
        self.port = int(self._process.stdout.readline())
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._thread.join()
        if self._process.stdout:
            self._process.stdout.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def count(self) -> int:
        """How often it was told."""
        with self._news:
            return len(self._receipts)

    def wait_since(self, moment: float, within: float) -> float | None:
        """Return when it was first told at or after a moment; None if it was not.

        Both are CLOCK_MONOTONIC in seconds, `within` is in seconds.
        """
        with self._news:
            self._news.wait_for(lambda: self._newest >= moment, within)
            return next((at for at in self._receipts if at >= moment), None)

    @property
    def _newest(self) -> float:
        return self._receipts[-1] if self._receipts else 0.0

    def _listen(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            with self._news:
                self._receipts.append(float(line))
                self._news.notify_all()


def _main(name: str) -> None:
    Path("/proc/self/comm").write_text(name)
    signal.signal(signal.SIGHUP, lambda *_: _note())
    with (
        selectors.DefaultSelector() as ready,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        ready.register(listener, selectors.EVENT_READ)
        os.write(1, b"%d\n" % listener.getsockname()[1])
        while True:
            for key, _ in ready.select():
                if key.fileobj is listener:
                    ready.register(listener.accept()[0], selectors.EVENT_READ)
                elif isinstance(key.fileobj, socket.socket):
                    _serve(key.fileobj, ready)


def _serve(connection: socket.socket, ready: selectors.BaseSelector) -> None:
    """Take what there is of a request, and answer it if it is its beginning."""
    try:
        data = connection.recv(65536)
    except ConnectionResetError:
        data = b""
    if not data:
        ready.unregister(connection)
        connection.close()
    elif data.startswith(b"POST "):
        _note()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    elif data.startswith(b"GET "):
        loaded = {
            "reloadConfigSuccess": True,
            "lastConfigTime": datetime.now(UTC).isoformat(),
        }
        body = json.dumps({"status": "success", "data": loaded}).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)


def _note() -> None:
    os.write(1, b"%.9f\n" % time.monotonic())


if __name__ == "__main__":
    _main(sys.argv[1])
