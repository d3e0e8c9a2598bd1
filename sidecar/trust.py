"""Whom we trust and who we are, by the TLS files as they are now."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import ReloadError
from .settings import TlsSettings


class Trust:
    """A TLS context, remade when one of its files changed.

    Building one takes 36 ms, so it outlives the connections made with it.
    """

    def __init__(self, settings: TlsSettings, *, secure: bool) -> None:
        self._settings = settings
        self._secure = secure
        files = {
            settings.ca_name: settings.ca_file,
            "WEBHOOK_CERT_FILE": settings.cert_file,
            "WEBHOOK_KEY_FILE": settings.key_file,
        }
        self._files = {
            f"{variable}={path}": path
            for variable, path in files.items()
            if path is not None and secure
        }
        self._made: tuple[object, ssl.SSLContext] | None = None

    def context(self) -> ssl.SSLContext:
        """Return the context for the files as they are now.

        Raises:
            ReloadError: a file cannot be read or does not hold what it should.
        """
        # Before they are read: what changes while we read is then seen next time.
        # A local name, because an abandoned thread may be here too.
        state = [_state(name, path) for name, path in self._files.items()]
        made = self._made
        if made is None or made[0] != state:
            made = self._made = (state, self._make())
        return made[1]

    def _make(self) -> ssl.SSLContext:
        tls = self._settings
        if not self._secure:
            # httpx wants a context even for http://, and would take 36 ms to make its
            # own; this one trusts nobody.
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context = self._make_trusting()
        if tls.cert_file is not None:
            mine = [
                name for name in self._files if not name.startswith(f"{tls.ca_name}=")
            ]
            with _failures_named(", ".join(mine)):
                # Without a password OpenSSL would ask for one on the terminal.
                context.load_cert_chain(tls.cert_file, tls.key_file, lambda: "")
        return context

    def _make_trusting(self) -> ssl.SSLContext:
        tls = self._settings
        if not tls.verify:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            return context
        # Without a file the system's CAs, and not the bundle that httpx brings: this is
        # where an operator adds one, and OpenSSL heeds SSL_CERT_FILE and SSL_CERT_DIR.
        with _failures_named(f"{tls.ca_name}={tls.ca_file}"):
            context = ssl.create_default_context(cafile=tls.ca_file)
        if not tls.strict:
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context


def words(error: OSError) -> str:
    """Say what went wrong in the words of OpenSSL or of the kernel."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return error.strerror or str(error)


def _state(name: str, path: Path) -> tuple[int, int, int, int]:
    with _failures_named(name):
        now = path.stat()
    return (now.st_mtime_ns, now.st_dev, now.st_ino, now.st_size)


@contextmanager
def _failures_named(files: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        said = words(error)
        hint = "mount the Secret's key there, readable for this container's runAsUser"
        if isinstance(error, ssl.SSLError):
            said = said if error.reason else "there is no PEM in it"
            hint = (
                "put PEM into the files, and the certificate's key without a password"
            )
        raise ReloadError("tls_files", f"{files}: {said}", hint) from error
