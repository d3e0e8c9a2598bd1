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


@dataclass(frozen=True, slots=True)
class Code:
    """A kind of finding: how much it matters, what it means, and the usual mend."""

    severity: Severity
    meaning: str
    mend: str | None = None


CODES: Mapping[str, Code] = MappingProxyType(
    {
        "settings": Code(Severity.OK, "The settings are right."),
        "settings-wrong": Code(
            Severity.PROBLEM,
            "A setting is wrong, and nothing runs.",
            "Change the variable that the message names.",
        ),
        "settings-odd": Code(
            Severity.WARNING,
            "A setting has no effect or is suspicious.",
            "Correct its name, or remove it.",
        ),
        "volume": Code(Severity.OK, "A volume can be read."),
        "volume-unreadable": Code(
            Severity.PROBLEM,
            "A volume can't be read.",
            "Mount it in the sidecar, readable for its uid.",
        ),
        "volume-empty": Code(
            Severity.WARNING,
            "A volume has no selected key.",
            "Mind WATCH_INCLUDE; an optional object may not exist yet.",
        ),
        "volume-none": Code(
            Severity.PROBLEM,
            "There is no volume to watch.",
            "Mount the ConfigMap or Secret as a directory in the program.",
        ),
        "volume-unmounted": Code(
            Severity.PROBLEM,
            "A watched directory is no volume that the sidecar mounts.",
            "Mount the program's volume there, read-only.",
        ),
        "volume-writable": Code(
            Severity.WARNING,
            "A watched volume is mounted writable.",
            "Set readOnly: true: the sidecar only reads.",
        ),
        "key-unreadable": Code(
            Severity.WARNING,
            "A key can't be read.",
            "Set fsGroup or defaultMode, or exclude it with WATCH_EXCLUDE.",
        ),
        "sub-path": Code(
            Severity.PROBLEM,
            "A key is mounted by subPath and never changes while its container runs.",
            "Mount the whole volume as a directory, without subPath.",
        ),
        "immutable": Code(
            Severity.WARNING,
            "A watched object is immutable, so its content never changes.",
            "Make it mutable, or don't watch it: mount a new object instead.",
        ),
        "env-from": Code(
            Severity.WARNING,
            "A variable comes from a watched object, and changes only at a restart.",
            "Read it from the volume, or restart the pod for it.",
        ),
        "token-watched": Code(
            Severity.WARNING,
            "A token is watched, which changes every 50 minutes by itself.",
            "Exclude its key with WATCH_EXCLUDE.",
        ),
        "namespace": Code(Severity.OK, "The process namespace is shared."),
        "namespace-own": Code(
            Severity.WARNING,
            "The process namespace seems not to be shared.",
            "Set shareProcessNamespace: true in the pod spec.",
        ),
        "namespace-missing": Code(
            Severity.PROBLEM,
            "Signals are asked for, but the process namespace is not shared.",
            "Set shareProcessNamespace: true in the pod spec.",
        ),
        "namespace-needless": Code(
            Severity.WARNING,
            "The process namespace is shared, but nobody is signalled.",
            "Remove shareProcessNamespace, if nothing else needs it.",
        ),
        "process": Code(Severity.OK, "A process would be signalled."),
        "process-absent": Code(
            Severity.PROBLEM,
            "No process would be signalled.",
            "Correct the selector, or wait until the program runs.",
        ),
        "container-unknown": Code(
            Severity.PROBLEM,
            "A container is named that the pod does not have.",
            "Name one of the pod's containers.",
        ),
        "container-ambiguous": Code(
            Severity.PROBLEM,
            "Several containers could be the program.",
            "Choose one with --container.",
        ),
        "signal-refused": Code(
            Severity.PROBLEM,
            "The kernel would refuse the signal.",
            "Run the sidecar with the program's uid.",
        ),
        "signal-unhandled": Code(
            Severity.PROBLEM,
            "The process does not handle the signal, so it is not sent.",
            "Send a signal that it handles, or call its webhook.",
        ),
        "uid-unknown": Code(
            Severity.WARNING,
            "An image decides a uid, so nobody can tell if it may be signalled.",
            "Set one runAsUser for the program's container and the sidecar.",
        ),
        "uid-forbidden": Code(
            Severity.PROBLEM,
            "The sidecar would have to be root, which runAsNonRoot forbids.",
            "Set runAsUser of the program's container to the uid of its image.",
        ),
        "kill-root": Code(
            Severity.WARNING,
            "The sidecar runs as root with the capability KILL.",
            "Set one runAsUser for the program's container and the sidecar.",
        ),
        "kill-in-vain": Code(
            Severity.WARNING,
            "KILL is given to a container that is not root, and has no effect.",
            "Run the sidecar with the program's uid, and without KILL.",
        ),
        "restart-never": Code(
            Severity.PROBLEM,
            "The signal ends the program, and the kubelet would not start it again.",
            "Set restartPolicy: Always, or send a signal that reloads.",
        ),
        "endless": Code(
            Severity.PROBLEM,
            "The sidecar keeps the pod from starting or from completing.",
            "Make it an init container with restartPolicy: Always (inject --native).",
        ),
        "startup-none": Code(
            Severity.WARNING,
            "A native sidecar has no startup probe, so the program does not wait.",
            "Add a startupProbe on /healthz.",
        ),
        "startup-deadlock": Code(
            Severity.PROBLEM,
            "The startup probe waits for the program, which waits for the probe.",
            "Probe /healthz at the start, or set READY_WHEN=watching.",
        ),
        "readiness": Code(
            Severity.WARNING,
            "The sidecar's readiness can take the pod out of service.",
            "Set READY_WHEN=watching, or remove the readinessProbe.",
        ),
        "limits-none": Code(
            Severity.WARNING,
            "The sidecar has no memory limit.",
            "Set resources.limits.memory: 96Mi.",
        ),
        "image-latest": Code(
            Severity.WARNING,
            "The sidecar's image is whatever is the latest.",
            "Name a version or a digest.",
        ),
        "webhook": Code(Severity.OK, "A webhook's server accepts connections."),
        "webhook-unreachable": Code(
            Severity.PROBLEM,
            "A webhook's server can't be connected to.",
            "Look whether the program is up, and whether host, port and CA are right.",
        ),
        "inotify": Code(Severity.OK, "inotify is to be had."),
        "inotify-limit": Code(
            Severity.WARNING,
            "inotify is not to be had; volumes are polled every 2 s.",
            "Raise the limit on the node: sysctl fs.inotify.",
        ),
        "state": Code(Severity.OK, "What is known survives a restart of the sidecar."),
        "state-none": Code(
            Severity.WARNING,
            "Nothing survives a restart of the sidecar.",
            "Mount an emptyDir and name it in STATE_DIR.",
        ),
        "state-unwritable": Code(
            Severity.WARNING,
            "STATE_DIR can't be written.",
            "Mount a writable emptyDir there.",
        ),
        "port": Code(Severity.OK, "The endpoints can be served."),
        "port-taken": Code(
            Severity.PROBLEM,
            "The endpoints' port is taken.",
            "Set HTTP_LISTEN to a free port of the pod.",
        ),
        "injected-otherwise": Code(
            Severity.WARNING,
            "The pod has the sidecar already, and not as asked for; it stays so.",
            "Take it out first with inject --remove, or change it by hand.",
        ),
        "manifest-broken": Code(
            Severity.PROBLEM,
            "A manifest can't be read.",
            "Correct it; kubectl would refuse it, too.",
        ),
        "manifest-shared": Code(
            Severity.PROBLEM,
            "What would be changed is used elsewhere too, through an alias.",
            "Write it out there, without anchor and alias.",
        ),
        "manifest-none": Code(
            Severity.PROBLEM,
            "There is no pod template to put the sidecar into.",
            "Name the files with the workloads; mind --only.",
        ),
    }
)
"""Every code: one table for everything that looks at a pod."""


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
        return CODES[self.code].severity

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
