"""What an error of the network means, and what mends it.

The only place where httpx's errors become ours. Its own words, and h11's, may quote
secrets; the kernel's, the resolver's and OpenSSL's do not.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from .destination import Destination
from .errors import ReloadError
from .exchange import Exchange
from .trust import words

_ENDED: Final = "look into the program's own log: it may have ended"


@contextmanager
def failures_named(exchange: Exchange, destination: Destination) -> Iterator[None]:
    """Turn what httpx raises into a `ReloadError`."""
    import httpx

    try:
        yield
    except httpx.TimeoutException as error:
        raise exchange.timed_out() from error
    except httpx.TransportError as error:
        raise _failure(error, exchange, destination) from error
    except (httpx.InvalidURL, UnicodeError) as error:
        # The `idna` codec of socket.getaddrinfo refuses such names.
        raise ReloadError(
            "dns",
            f"{exchange.where}: {destination.host!r} is no name of a host",
            "mend the URL: the parts of a name are 1 to 63 characters long",
        ) from error


def _failure(
    error: Exception, exchange: Exchange, destination: Destination
) -> ReloadError:
    import h11
    import httpx

    proxy = _proxy(exchange, destination)
    where = exchange.where + (f" (through the proxy {proxy})" if proxy else "")
    # httpcore's pool cuts `__cause__` off (`raise ... from None`).
    chain = list(_chain(error))
    if isinstance(error, httpx.ProxyError):
        return ReloadError(
            "proxy",
            f"{where}: the proxy refused to connect us",
            "allow the destination at the proxy, or add its host to NO_PROXY",
        )
    for cause in chain:
        if isinstance(cause, OSError):
            return _system_failure(cause, where, exchange, destination)
    if isinstance(error, httpx.LocalProtocolError):
        return ReloadError(
            "protocol",
            f"{where}: the request cannot be sent as HTTP",
            "mend WEBHOOK_METHOD or WEBHOOK_HEADERS: odd characters, Content-Length",
        )
    # An end without any bytes is not h11's to complain about.
    malformed = any(isinstance(cause, h11.RemoteProtocolError) for cause in chain)
    if exchange.answering or not malformed:
        detail = f"{where}: the server closed the connection without a whole answer"
        return ReloadError("closed", detail, _ENDED)
    other = "http://" if destination.secure else "https://"
    return ReloadError(
        "protocol",
        f"{where}: what was answered is not HTTP/1.1",
        f"check the port, and use {other} if that is what it speaks",
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or link.__context__


def _proxy(exchange: Exchange, destination: Destination) -> str | None:
    """Return host and port of the proxy that the exchange went to, if it did."""
    import httpx

    if destination.direct or exchange.peer is None:
        return None
    host, port = exchange.peer
    named = httpx.URL(destination.url).raw_host.decode()
    return None if (named, destination.port) == (host, port) else f"{host}:{port}"


def _system_failure(
    cause: OSError, where: str, exchange: Exchange, destination: Destination
) -> ReloadError:
    detail = f"{where}: {words(cause)}"
    if destination.socket_path is not None and not exchange.connected:
        hint = _socket_hint(cause, destination.socket_path)
        return ReloadError("socket", detail, hint)
    match cause:
        case socket.gaierror():
            return ReloadError("dns", detail, _name_hint(destination.host))
        case ssl.SSLCertVerificationError():
            return ReloadError("tls", detail, _certificate_hint(cause))
        case ssl.SSLError():
            return ReloadError("tls", detail, _tls_hint(cause.reason or ""))
        case ConnectionRefusedError():
            return ReloadError("refused", detail, _refused_hint(exchange, destination))
        case TimeoutError():
            return exchange.timed_out()
        case ConnectionError():
            return ReloadError("closed", detail, _ENDED)
        case _:
            hint = "check the address, and that NetworkPolicies let this pod reach it"
            return ReloadError("unreachable", detail, hint)


def _socket_hint(cause: OSError, path: str) -> str:
    match cause:
        case FileNotFoundError():
            return (
                f"make the program create {path} in a volume that both containers "
                "mount at the same path"
            )
        case PermissionError():
            return (
                f"who connects needs write permission on {path}: run both containers "
                "with one runAsUser, or give the pod an fsGroup"
            )
        case ConnectionRefusedError():
            return f"start the program: {path} is there, but nobody listens on it"
        case _:
            return f"check that {path} is the socket of a program that accepts"


def _name_hint(host: str) -> str:
    return (
        f"check the spelling of {host}, its namespace (NAME.NAMESPACE.svc) and the "
        "pod's dnsPolicy; for a container of this pod use 127.0.0.1"
    )


def _refused_hint(exchange: Exchange, destination: Destination) -> str:
    if _proxy(exchange, destination):
        return "mend HTTP_PROXY or HTTPS_PROXY, or add the host to NO_PROXY"
    if destination.direct:
        return (
            f"check that the program listens on port {destination.port} of this "
            "address; the containers of a pod share the network namespace"
        )
    return f"check that a ready pod is behind it and has port {destination.port}"


_CERTIFICATE_HINTS: Final = {
    9: "renew the server's certificate, or mend a clock",
    10: "renew the server's certificate, or mend a clock",
    62: "use a host in the URL that the server's certificate names",
    64: "use a host in the URL that the server's certificate names",
}
"""By X509_V_ERR_* of OpenSSL's x509_vfy.h (CERT_NOT_YET_VALID, CERT_HAS_EXPIRED,
HOSTNAME_MISMATCH, IP_ADDRESS_MISMATCH); the ssl module has no names for them."""


def _certificate_hint(error: ssl.SSLCertVerificationError) -> str:
    unknown = "set WEBHOOK_CA_FILE to the CA that signed the server's certificate"
    return _CERTIFICATE_HINTS.get(error.verify_code, unknown)


def _tls_hint(reason: str) -> str:
    if reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"):
        return "use http://, or the port that speaks TLS: this one does not"
    if "ALERT" in reason:
        return (
            "the server refused us: set WEBHOOK_CERT_FILE and WEBHOOK_KEY_FILE to a "
            "certificate that it accepts, and look into its log"
        )
    return "check that this port speaks TLS, and look into the server's log"
