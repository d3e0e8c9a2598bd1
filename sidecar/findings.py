"""What can be wrong with a pod, by code: one table for everything that looks for it.

Pure: who looks brings the facts, and gets a sentence and the mend.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Severity(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


CODES: Mapping[str, tuple[Severity, str]] = MappingProxyType(
    {
        "settings": (Severity.OK, "The settings are right."),
        "settings-wrong": (Severity.PROBLEM, "A setting is wrong, and nothing runs."),
        "settings-odd": (Severity.WARNING, "A setting has no effect or is suspicious."),
        "volume": (Severity.OK, "A volume can be read."),
        "volume-unreadable": (Severity.PROBLEM, "A volume can't be read."),
        "volume-empty": (Severity.WARNING, "A volume has no selected key."),
        "key-unreadable": (Severity.WARNING, "A key can't be read."),
        "sub-path": (
            Severity.PROBLEM,
            "A key is mounted by subPath and stays as it was when its container began.",
        ),
        "namespace": (Severity.OK, "The process namespace is shared."),
        "namespace-own": (
            Severity.WARNING,
            "The process namespace is not shared, and nobody to signal is visible.",
        ),
        "process": (Severity.OK, "A process would be signalled."),
        "process-absent": (Severity.PROBLEM, "No process would be signalled."),
        "signal-refused": (Severity.PROBLEM, "The kernel would refuse the signal."),
        "signal-unhandled": (
            Severity.PROBLEM,
            "The process does not handle the signal, so it is not sent.",
        ),
        "webhook": (Severity.OK, "A webhook's server accepts connections."),
        "webhook-unreachable": (
            Severity.PROBLEM,
            "A webhook's server can't be connected to.",
        ),
        "inotify": (Severity.OK, "inotify is to be had."),
        "inotify-limit": (
            Severity.WARNING,
            "inotify is not to be had; volumes are polled every 2 s.",
        ),
        "state": (Severity.OK, "What is known survives a restart of the sidecar."),
        "state-none": (
            Severity.WARNING,
            "Nothing survives a restart of the sidecar.",
        ),
        "state-unwritable": (Severity.WARNING, "STATE_DIR can't be written."),
        "port": (Severity.OK, "The endpoints can be served."),
        "port-taken": (Severity.PROBLEM, "The endpoints' port is taken."),
    }
)
"""Every code with its severity and what it means, in a sentence."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found, about one subject."""

    code: str
    subject: str
    text: str
    mend: str | None = None

    @property
    def severity(self) -> Severity:
        """How much it matters."""
        return CODES[self.code][0]

    def as_json(self) -> dict[str, str | None]:
        """Return what `check --json` prints for it."""
        return {
            "code": self.code,
            "severity": self.severity,
            "subject": self.subject,
            "text": self.text,
            "mend": self.mend,
        }

    def as_line(self) -> str:
        """Write it for a person, on one line."""
        mend = f" → {self.mend}" if self.mend else ""
        return f"{self.severity:<8}{self.subject}: {self.text}{mend}"


def status(findings: Iterable[Finding]) -> int:
    """Return the exit status: 1 if anything is a problem, else 0."""
    return int(any(f.severity is Severity.PROBLEM for f in findings))
