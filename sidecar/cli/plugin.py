"""An exec credential plugin: a program that the kubeconfig has fetch the credentials.

lightkube would wait for it for ever and keep what it says to itself, so it is run here,
as kubectl does: what it says on stderr is for the person who runs the command.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass

import httpx2
import msgspec
from lightkube.config.models import UserExec

from .failure import AccessError

PATIENCE = 60.0
"""Seconds that a plugin may take; who logs in by a browser meanwhile must be quick."""

_GROUP = "client.authentication.k8s.io"
_VERSIONS = frozenset(f"{_GROUP}/{version}" for version in ("v1", "v1beta1"))


class Credentials(msgspec.Struct, frozen=True, rename="camel"):
    """What a plugin brings: a token, or a certificate with its key, as PEM."""

    token: str | None = None
    client_certificate_data: str | None = None
    client_key_data: str | None = None

    @property
    def certificate(self) -> tuple[str, str] | None:
        """Certificate and key as a kubeconfig has them."""
        if not self.client_certificate_data or not self.client_key_data:
            return None
        return _coded(self.client_certificate_data), _coded(self.client_key_data)


class _Answer(msgspec.Struct):
    status: Credentials


@dataclass(frozen=True, slots=True)
class Plugin:
    """A program, and how it is run."""

    said: UserExec
    command: str
    """Its name in PATH, or its path."""

    env: Mapping[str, str]
    patience: float = PATIENCE

    def fetch(self) -> Credentials:
        """Run it.

        Raises:
            AccessError: it can't be run, takes too long, fails, or prints none.
        """
        version = self.said.apiVersion
        if version not in _VERSIONS:
            raise self._error(
                f"speaks {version}; known are {' and '.join(sorted(_VERSIONS))}:"
                " install a newer one, and let it write the kubeconfig again"
            )
        interactive = sys.stdin is not None and sys.stdin.isatty()
        printed = self._printed(interactive=interactive)
        try:
            found = msgspec.json.decode(printed, type=_Answer).status
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            found = Credentials()  # what it printed may hold a secret: not shown
        if not found.token and not found.certificate:
            raise self._error(
                "printed no credentials: an ExecCredential with a token, or with a"
                " certificate and its key, was expected; run it yourself to see"
            )
        return found

    def _printed(self, *, interactive: bool) -> bytes:
        try:
            done = self._run(interactive=interactive)
        except subprocess.TimeoutExpired as error:
            raise self._error(
                f"did not end within {self.patience:g} s: log in first, so that it need"
                " not ask; `kubectl get pods` runs it too"
            ) from error
        except (OSError, ValueError) as error:
            hint = f"; {self.said.installHint.strip()}" if self.said.installHint else ""
            raise self._error(
                f"can't be started: {error}: install it, or put it into PATH{hint}"
            ) from error
        if done.returncode:
            raise self._error(
                f"ended with status {done.returncode}: mend what it says above, or log"
                " in again"
            )
        return done.stdout

    def _run(self, *, interactive: bool) -> subprocess.CompletedProcess[bytes]:
        # a group of its own, or what a script has started would outlive it and keep
        # stderr open; but only the terminal's own group may ask a person
        group = None if interactive else 0
        with subprocess.Popen(  # noqa: S603  # the kubeconfig is the person's own
            [self.command, *(self.said.args or ())],
            env=self._environment(interactive=interactive),
            stdin=None if interactive else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            process_group=group,
        ) as process:
            try:
                printed, _ = process.communicate(timeout=self.patience)
            except BaseException:
                if group is None:
                    process.kill()
                else:
                    os.killpg(process.pid, signal.SIGKILL)
                raise
        return subprocess.CompletedProcess(process.args, process.returncode, printed)

    def _environment(self, *, interactive: bool) -> dict[str, str]:
        spoken = {
            "apiVersion": self.said.apiVersion,
            "kind": "ExecCredential",
            "spec": {"interactive": interactive},
        }
        own = {variable.name: variable.value for variable in self.said.env or ()}
        return {**self.env, **own, "KUBERNETES_EXEC_INFO": json.dumps(spoken)}

    def _error(self, what: str) -> AccessError:
        return AccessError(
            f"{self.command}, which the kubeconfig has fetch the credentials, {what}"
        )


class PluginAuth(httpx2.Auth):
    """A plugin's token on every request, and a new one when it has expired.

    Any thread may ask; the plugin runs once for all of them.
    """

    def __init__(self, fetch: Callable[[], Credentials], token: str) -> None:
        self._fetch = fetch
        self._token = token
        self._lock = threading.Lock()

    def auth_flow(
        self, request: httpx2.Request
    ) -> Generator[httpx2.Request, httpx2.Response]:
        """Send the request, once more if the token is not known any longer.

        Raises:
            AccessError: the plugin brings no other.
        """
        token = self._token
        request.headers["Authorization"] = f"Bearer {token}"
        response = yield request
        if response.status_code == 401:
            request.headers["Authorization"] = f"Bearer {self._instead_of(token)}"
            yield request

    def _instead_of(self, token: str) -> str:
        with self._lock:
            if token == self._token:
                self._token = self._fetch().token or token
            return self._token


def _coded(pem: str) -> str:
    return base64.b64encode(pem.encode()).decode()
