"""What came back: whether its status is an expected one, and its text if wanted."""

from __future__ import annotations

import codecs
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin

from .connection import LOCATION
from .errors import ReloadError, StatusError
from .exchange import Exchange, Response
from .settings import redacted

if TYPE_CHECKING:
    import httpx

_DRAIN_LIMIT: Final = 64 * 1024
_ENCODINGS: Final = frozenset(
    {"utf-8", "utf-16", "utf-16-le", "utf-16-be", "iso8859-1", "iso8859-15", "cp1252"}
)
"""By the names that Python gives them. The server may name others, of which some take
long to decode: megabytes of `punycode` are minutes."""


def judge(
    exchange: Exchange,
    response: httpx.Response,
    expected: tuple[range, ...],
    read_limit: int,
) -> Response | ReloadError:
    """Return what the answer means; at most `read_limit` bytes of it become text."""
    status = response.status_code
    if not any(status in codes for codes in expected):
        return StatusError(
            status,
            f"{exchange.where}: answered {status}, expected {_codes(expected)}",
            _hint(response),
        )
    if not read_limit:
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
    content = _read(exchange, response, read_limit)
    text = content[:read_limit].decode(_encoding(response), errors="replace")
    return Response(status, text, truncated=len(content) > read_limit)


def _encoding(response: httpx.Response) -> str:
    """Return what the answer says that it is written in, if that is a usual one."""
    try:
        named = codecs.lookup(response.charset_encoding or "utf-8").name
    except (LookupError, ValueError):
        named = "utf-8"
    return named if named in _ENCODINGS else "utf-8"


def drain(exchange: Exchange, response: httpx.Response) -> None:
    """Read the rest of a small body, without which the connection can't be kept.

    The result is known, so nothing that goes wrong here matters; httpcore closes a
    connection whose answer was not read to its end.
    """
    import httpx

    if not response.is_stream_consumed:
        with suppress(httpx.TransportError, ReloadError):
            _read(exchange, response, _DRAIN_LIMIT)


def _read(exchange: Exchange, response: httpx.Response, limit: int) -> bytes:
    """Return the body; more than `limit` bytes if it is longer.

    Raises:
        ReloadError: the time is up, and the loop is not there to abandon us.
    """
    content = bytearray()
    for chunk in response.iter_raw():
        content += chunk
        if len(content) > limit:
            break
        if exchange.late:
            raise exchange.timed_out()
    return bytes(content)


_HINTS: Final = {
    401: "set WEBHOOK_BEARER_TOKEN_FILE or WEBHOOK_BASIC_AUTH_FILE, or mend the file",
    403: "allow the request at the server (Prometheus: --web.enable-lifecycle)",
    404: "check the path of the URL",
    405: "set WEBHOOK_METHOD to what the server accepts",
    407: "put the credentials of the proxy into HTTP_PROXY, or set NO_PROXY",
}


def _hint(response: httpx.Response) -> str:
    if response.is_redirect and LOCATION in response.extensions:
        return (
            "redirects are not followed, and this one points to "
            f"{_target(response)}: put the right URL into the setting"
        )
    return _HINTS.get(
        response.status_code,
        "look into the program's own log; if this status is fine, add it to "
        "WEBHOOK_EXPECT_STATUS (or VERIFY_STATUS)",
    )


def _target(response: httpx.Response) -> str:
    try:
        location = urljoin(str(response.url), response.extensions[LOCATION])
    except ValueError:
        return "something that is no URL"
    shown = redacted(location)[:200]
    return "".join(letter if letter.isprintable() else "?" for letter in shown)


def _codes(ranges: tuple[range, ...]) -> str:
    return ", ".join(
        str(codes.start) if len(codes) == 1 else f"{codes.start}-{codes.stop - 1}"
        for codes in ranges
    )
