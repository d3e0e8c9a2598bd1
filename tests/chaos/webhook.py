"""A server that is told to reload, and misbehaves as it is bid."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from .judge import Life, Reading
from .reader import read

Manner = Literal["well", "refuse", "reset", "error", "slow", "hang", "cut"]
BAD: tuple[Manner, ...] = ("refuse", "reset", "error", "slow", "hang", "cut")

_ANSWER = "HTTP/1.1 {} Whatever\r\nContent-Length: 2\r\n\r\n"
_ABORT = struct.pack("ii", 1, 0)  # SO_LINGER of no time: close sends RST


class Webhook:
    """Reads the volume at each request, as the program behind it would."""

    def __init__(self, directory: Path, slow: float) -> None:
        """`slow` is how long a slow one takes before it reads, in seconds."""
        self._directory = str(directory)
        self._slow = slow
        self._manner: Manner = "well"
        self._lock = threading.Lock()
        self._readings: list[Reading] = []
        self._asked = 0
        self._open: set[socket.socket] = set()
        self._listener = self._listen(0)
        self._port: int = self._listener.getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/-/reload"

    @property
    def life(self) -> Life:
        with self._lock:
            # one that hung ends after those that followed it
            readings = sorted(self._readings, key=lambda reading: reading.woken)
        return Life("webhook", None, tuple(readings))

    @property
    def asked(self) -> int:
        """How many requests arrived so far."""
        with self._lock:
            return self._asked

    def behave(self, manner: Manner) -> None:
        """Treat requests so from now on; those that hang are let go."""
        if manner == "refuse" and self._manner != "refuse":
            self._close()
        if manner != "refuse" and self._manner == "refuse":
            self._listener = self._listen(self._port)
        if self._manner == "hang":
            self._drop()
        self._manner = manner

    def _listen(self, port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", port), backlog=32)
        threading.Thread(target=self._accept, args=[listener], daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):  # it was closed
            while True:
                connection, _ = listener.accept()
                with self._lock:
                    self._open.add(connection)
                threading.Thread(
                    target=self._serve, args=[connection], daemon=True
                ).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError), connection.makefile("rb") as lines:
            while lines.readline():
                length = 0
                while header := lines.readline().strip():
                    name, _, value = header.partition(b":")
                    if name.lower() == b"content-length":
                        length = int(value)
                self._answer(connection, lines.read(length))
        with self._lock:
            self._open.discard(connection)

    def _answer(self, connection: socket.socket, body: bytes) -> None:
        with self._lock:
            self._asked += 1
            manner, woken = self._manner, time.monotonic()
        generation = str(json.loads(body)["volumes"][0]["generation"])
        if manner == "slow":
            time.sleep(self._slow)
        keys = read(self._directory)
        done = time.monotonic()
        confirmed = False
        try:
            confirmed = self._treat(connection, manner)
        finally:
            with self._lock:
                self._readings.append(Reading(woken, done, keys, generation, confirmed))

    def _treat(self, connection: socket.socket, manner: Manner) -> bool:
        """Answer or don't; return whether the caller must have heard yes."""
        if manner == "hang":
            connection.recv(1)  # until one of us closes
            return False
        if manner == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
            raise ConnectionAbortedError
        answer = _ANSWER.format(500 if manner == "error" else 200).encode()
        if manner == "cut":  # in the middle of the status
            connection.sendall(answer[:10])
            connection.shutdown(socket.SHUT_RDWR)
            raise ConnectionAbortedError
        connection.sendall(answer + b"ok")
        return manner != "error"

    def _drop(self) -> None:
        with self._lock:
            connections = tuple(self._open)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()
