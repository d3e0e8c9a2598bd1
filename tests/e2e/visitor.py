"""Somebody who asks a Service all the time, and notes when nobody answers."""

from __future__ import annotations

import subprocess
import threading
from collections import Counter
from http.client import HTTPConnection, HTTPException
from types import TracebackType
from typing import Self

from tests.e2e.cluster import Namespace

_PAUSE = 0.02
"""Between two questions, in seconds."""


class Visitor:
    """Asks from entering the block to leaving it.

    It asks through the API server, which sends each request to one of the Service's
    ready endpoints by chance, as a node would, on clusters that route no Service, too.
    """

    def __init__(self, namespace: Namespace, service: str) -> None:
        """`service` is `NAME:PORT`."""
        space = f"/api/v1/namespaces/{namespace.name}"
        self._path = f"{space}/services/{service}/proxy/"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self._lock = threading.Lock()
        self._answers: Counter[str] = Counter()
        self._failures: list[str] = []

    @property
    def answers(self) -> Counter[str]:
        """How often each text was the answer."""
        with self._lock:
            return self._answers.copy()

    @property
    def failures(self) -> list[str]:
        """What came instead of an answer, each time."""
        with self._lock:
            return list(self._failures)

    def __enter__(self) -> Self:
        self._proxy = subprocess.Popen(
            ["kubectl", "proxy", "--port=0"], stdout=subprocess.PIPE, text=True
        )
        assert self._proxy.stdout
        # it says where it serves, last in its first line
        self._address = self._proxy.stdout.readline().split()[-1]
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._proxy.terminate()
        self._proxy.communicate()

    def _ask(self) -> None:
        while not self._ended.wait(_PAUSE):
            connection = HTTPConnection(self._address, timeout=10)
            try:
                connection.request("GET", self._path)
                response = connection.getresponse()
                status, text = response.status, response.read().decode()
            except (OSError, HTTPException) as problem:
                status, text = 0, repr(problem)
            finally:
                connection.close()
            with self._lock:
                if status == 200:
                    self._answers[text] += 1
                else:
                    self._failures.append(f"{status}: {text}")
