"""Where a request goes, by its URL alone."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit, urlunsplit


@dataclass(frozen=True, slots=True)
class Destination:
    """A URL taken apart once."""

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
    def parse(cls, url: str, *, direct: bool = False) -> Destination:
        """Take apart a URL that the settings let through."""
        scheme, netloc, path, query, _ = urlsplit(url)
        user_info, _, place = netloc.rpartition("@")
        socket_path = None
        if scheme == "http+unix":
            scheme, socket_path, place = "http", unquote(place), "localhost"
        asked = urlsplit(urlunsplit((scheme, place, path or "/", query, "")))
        host, secure = asked.hostname or "", scheme == "https"
        return cls(
            url=asked.geturl(),
            user_info=unquote(user_info) or None,
            socket_path=socket_path,
            secure=secure,
            host=host,
            port=asked.port or (443 if secure else 80),
            direct=direct or is_loopback(host),
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
