"""Every failure this program names, and who acts on each.

* `SettingsError`: the operator. Raised before anything starts; exit status 2.
* `WatchError`:    another way. The kernel will not tell us about a volume now;
  polling takes over and the watch is tried again.
* `VolumeError`:   time. A volume cannot be read at this moment; it is read again.
* `StateError`:    nobody. What was remembered is ignored, and somebody told once more.
* `ReloadError`:   the schedule. One attempt did not reach the target, or reached it
  and was not taken; it is tried again as the retry settings say.

Anything else that escapes is a bug: it is logged with its traceback, exit status 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType


class SidecarError(Exception):
    """Base of the errors raised on purpose."""


class SettingsError(SidecarError):
    """The environment cannot be turned into settings."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class WatchError(SidecarError):
    """inotify cannot be had. `reason` is a label of `watch_errors_total`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class VolumeError(SidecarError):
    """A volume cannot be read now; the message says which and why, and `mend` how."""

    def __init__(self, detail: str, mend: str | None = None) -> None:
        super().__init__(f"{detail}: {mend}" if mend else detail)
        self.detail = detail
        self.mend = mend


class Interrupted(SidecarError):  # noqa: N818  # no error: somebody asked us to end
    """Long work was broken off, because the sidecar is to end."""


class StateError(SidecarError):
    """What was remembered is of no use, or can't be written; the message says why."""


class ReloadError(SidecarError):
    """An attempt did not reach the target.

    `reason` is a log field and comes from the closed set in `docs/REASONS.md`;
    `detail` says what happened, `hint` what to change to mend it, if that is known.
    """

    def __init__(self, reason: str, detail: str, hint: str | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.hint = hint


class StatusError(ReloadError):
    """The answer's status is not an expected one; what it means, its reader decides."""

    def __init__(self, status: int, detail: str, hint: str | None = None) -> None:
        super().__init__("status", detail, hint)
        self.status = status


REASONS: Mapping[str, str] = MappingProxyType(
    {
        "not_found": "No process matches the selectors, or not every name was found.",
        "pid_file": "The PID file is missing, holds no PID, or means nobody to tell.",
        "files": "Processes can't be looked at: no file descriptors are left, mostly.",
        "gone": "The process ended before it was signalled.",
        "permission": "The kernel does not let this container signal that process.",
        "unhandled": "The process does not handle the signal and would die of it.",
        "ignored": "The process ignores the signal, so sending it would do nothing.",
        "died": "The process ended within VERIFY_ALIVE of the signal.",
        "not_restarted": "The process did not end, or nothing took its place.",
        "not_verified": "VERIFY_URL did not agree within VERIFY_TIMEOUT.",
        "refused": "Nothing listens on the address and port of the URL.",
        "unreachable": "The network has no way to the address.",
        "dns": "The name in the URL could not be resolved.",
        "socket": "The unix socket is missing, may not be opened, or has no room.",
        "proxy": "The proxy named by the environment is wrong or refused the request.",
        "tls": "The TLS handshake failed: a certificate, or no TLS on that port.",
        "tls_files": "The CA, the client certificate or its key could not be read.",
        "credentials": "The file with the token or the password could not be used.",
        "status": "The answer's status is not one of the expected ones.",
        "protocol": "What was sent or answered is not the HTTP that was asked for.",
        "closed": "The connection was closed before the whole answer was there.",
        "timeout": "There was no answer within the time for one request.",
        "forbidden": "The API server does not let this pod's ServiceAccount do it.",
        "conflict": "The workload changed while it was patched, again and again.",
        "threads": "No thread could be had for the request.",
        "bug": "The request ended in a way nobody foresaw; the log has the traceback.",
        "shutdown": "The sidecar was told to stop before the reload came to an end.",
    }
)
"""Every `reason` of a `ReloadError`, in a sentence; `docs/REASONS.md` shows them."""
