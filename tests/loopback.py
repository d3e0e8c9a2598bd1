"""HTTP on this machine, asked without a library: the demo has none."""

from __future__ import annotations

import socket
from http.client import HTTPConnection, HTTPException


def get(port: int, path: str = "/") -> tuple[int, str] | None:
    """Return status and body; None if nobody answers there now."""
    # a new connection each time: an old one may lead to a worker that is leaving
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
