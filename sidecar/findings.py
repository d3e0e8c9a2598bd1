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
            "change the variable that the message names",
        ),
        "settings-odd": Code(
            Severity.WARNING,
            "A setting has no effect or is suspicious.",
            "correct its name, or remove it",
        ),
        "volume": Code(Severity.OK, "A volume can be read."),
        "volume-unreadable": Code(
            Severity.PROBLEM,
            "A volume can't be read.",
            "mount it in the sidecar, readable for its uid",
        ),
        "volume-empty": Code(
            Severity.WARNING,
            "A volume has no selected key.",
            "mind WATCH_INCLUDE; an optional object may not exist yet",
        ),
        "volume-none": Code(
            Severity.PROBLEM,
            "There is no volume to watch.",
            "mount the ConfigMap or Secret as a directory in the program",
        ),
        "volume-taken": Code(
            Severity.PROBLEM,
            "The pod has another volume of the name of the sidecar's own.",
            "give the pod's volume another name",
        ),
        "volume-unmounted": Code(
            Severity.PROBLEM,
            "A watched directory is no volume that the sidecar mounts.",
            "mount the program's volume there, read-only",
        ),
        "volume-writable": Code(
            Severity.WARNING,
            "A watched volume is mounted writable.",
            "set readOnly: true: the sidecar only reads",
        ),
        "key-unreadable": Code(
            Severity.WARNING,
            "A key can't be read.",
            "set fsGroup or defaultMode, or exclude it with WATCH_EXCLUDE",
        ),
        "sub-path": Code(
            Severity.PROBLEM,
            "A key is mounted by subPath and never changes while its container runs.",
            "mount the whole volume as a directory, without subPath",
        ),
        "sub-path-beside": Code(
            Severity.WARNING,
            "A container beside the program mounts a watched volume by subPath.",
            "mount the whole volume as a directory there, if it should see changes",
        ),
        "sub-path-unwatched": Code(
            Severity.WARNING,
            "The program mounts configuration by subPath that nobody watches.",
            "mount the whole volume as a directory; or restart the program: "
            "RELOAD_SIGNAL=SIGTERM, or ROLLOUT=KIND/NAME",
        ),
        "immutable": Code(
            Severity.WARNING,
            "A watched object is immutable, so its content never changes.",
            "make it mutable, or don't watch it: mount a new object instead",
        ),
        "env-from": Code(
            Severity.WARNING,
            "A variable comes from a watched object, and changes only at a restart.",
            "read it from the volume, or restart the pod for it",
        ),
        "token-watched": Code(
            Severity.WARNING,
            "A token is watched, which changes every 50 minutes by itself.",
            "exclude its key with WATCH_EXCLUDE",
        ),
        "namespace": Code(Severity.OK, "The process namespace is shared."),
        "namespace-own": Code(
            Severity.WARNING,
            "The process namespace is not shared, and nobody to signal is visible.",
            "set shareProcessNamespace: true in the pod spec",
        ),
        "namespace-missing": Code(
            Severity.PROBLEM,
            "Signals are asked for, but the process namespace is not shared.",
            "set shareProcessNamespace: true in the pod spec",
        ),
        "namespace-opened": Code(
            Severity.WARNING,
            "The pod refused to share its process namespace, and now shares it.",
            "tell the program by --webhook, if it was refused on purpose",
        ),
        "namespace-needless": Code(
            Severity.WARNING,
            "The process namespace is shared, but nobody is signalled.",
            "remove shareProcessNamespace, if nothing else needs it",
        ),
        "process": Code(Severity.OK, "A process would be signalled."),
        "process-absent": Code(
            Severity.PROBLEM,
            "No process would be signalled.",
            "correct the selector, or wait until the program runs",
        ),
        "container-unknown": Code(
            Severity.PROBLEM,
            "A container is named that the pod does not have.",
            "name one of the pod's containers",
        ),
        "container-ambiguous": Code(
            Severity.PROBLEM,
            "Several containers could be the program.",
            "choose one with --container",
        ),
        "signal-refused": Code(
            Severity.PROBLEM,
            "The kernel would refuse the signal.",
            "run the sidecar with the program's uid",
        ),
        "signal-unhandled": Code(
            Severity.PROBLEM,
            "The process does not handle the signal, so it is not sent.",
            "send a signal that it handles, or call its webhook",
        ),
        "uid-unknown": Code(
            Severity.WARNING,
            "An image decides a uid, so nobody can tell if it may be signalled.",
            "set one runAsUser for the program's container and the sidecar",
        ),
        "uid-forbidden": Code(
            Severity.PROBLEM,
            "The sidecar would be root, which runAsNonRoot forbids.",
            "set runAsUser of the program's container to the uid of its image",
        ),
        "kill-root": Code(
            Severity.WARNING,
            "The sidecar runs as root with the capability KILL.",
            "set one runAsUser for the program's container and the sidecar",
        ),
        "kill-node": Code(
            Severity.PROBLEM,
            "With hostPID and KILL the sidecar could signal the whole node.",
            "set one runAsUser for the program's container and the sidecar, no KILL",
        ),
        "kill-in-vain": Code(
            Severity.WARNING,
            "KILL is given to a container that is not root, and has no effect.",
            "run the sidecar with the program's uid, and without KILL",
        ),
        "restart-never": Code(
            Severity.PROBLEM,
            "The signal ends the program, and the kubelet would not start it again.",
            "set restartPolicy: Always, or send a signal that reloads",
        ),
        "rollout-other": Code(
            Severity.PROBLEM,
            "ROLLOUT names another workload, whose pods these are not.",
            "set ROLLOUT to the workload of the pod template",
        ),
        "endless": Code(
            Severity.PROBLEM,
            "The sidecar keeps the pod from starting or from completing.",
            "make it an init container with restartPolicy: Always (inject --native)",
        ),
        "startup-none": Code(
            Severity.WARNING,
            "A native sidecar has no startup probe, so the program does not wait.",
            "add a startupProbe on /healthz",
        ),
        "startup-deadlock": Code(
            Severity.PROBLEM,
            "The startup probe waits for the program, which waits for the probe.",
            "probe /healthz at the start, or set READY_WHEN=watching",
        ),
        "readiness": Code(
            Severity.WARNING,
            "The sidecar's readiness can take the pod out of service.",
            "set READY_WHEN=watching, or remove the readinessProbe",
        ),
        "limits-none": Code(
            Severity.WARNING,
            "The sidecar has no memory limit.",
            "set resources.limits.memory: 96Mi",
        ),
        "image-latest": Code(
            Severity.WARNING,
            "The sidecar's image is whatever is the latest.",
            "name a version or a digest",
        ),
        "webhook": Code(Severity.OK, "A webhook's server accepts connections."),
        "webhook-unreachable": Code(
            Severity.PROBLEM,
            "A webhook's server can't be connected to.",
            "look whether the program is up, and whether host, port and CA are right",
        ),
        "workload": Code(Severity.OK, "The workload of ROLLOUT can be read."),
        "workload-unknown": Code(
            Severity.PROBLEM,
            "The workload of ROLLOUT can't be read, so it can't be rolled.",
            "bind the Role of manifests/examples/rollout, and mend ROLLOUT",
        ),
        "inotify": Code(Severity.OK, "inotify is to be had."),
        "inotify-limit": Code(
            Severity.WARNING,
            "inotify is not to be had; volumes are polled every 2 s.",
            "raise the limit on the node: sysctl fs.inotify",
        ),
        "state": Code(Severity.OK, "What is known survives a restart of the sidecar."),
        "state-none": Code(
            Severity.WARNING,
            "Nothing survives a restart of the sidecar.",
            "mount an emptyDir and name it in STATE_DIR",
        ),
        "state-unwritable": Code(
            Severity.WARNING,
            "STATE_DIR can't be written.",
            "mount a writable emptyDir there",
        ),
        "port": Code(Severity.OK, "The endpoints can be served."),
        "port-taken": Code(
            Severity.PROBLEM,
            "The endpoints' port is taken.",
            "set HTTP_LISTEN to a free port of the pod",
        ),
        "port-of-node": Code(
            Severity.WARNING,
            "With hostNetwork the endpoints take a port of each node.",
            "set HTTP_LISTEN to a port that is free there; a NetworkPolicy guards none",
        ),
        "probe-unserved": Code(
            Severity.PROBLEM,
            "A probe asks where the sidecar does not listen, and fails for ever.",
            "let it ask HTTP_LISTEN's port, or remove it",
        ),
        "injected-otherwise": Code(
            Severity.WARNING,
            "The pod has the sidecar already, and not as asked for; it stays so.",
            "take it out first, with inject --remove or by hand; or, if it is the "
            "program, name it with --container",
        ),
        "sidecar-unnamed": Code(
            Severity.WARNING,
            "What may be a sidecar bears another name, and --remove leaves it.",
            "take it out by hand, unless it is the program",
        ),
        "manifest-broken": Code(
            Severity.PROBLEM,
            "A manifest can't be read.",
            "correct it, or leave it out",
        ),
        "manifest-shared": Code(
            Severity.PROBLEM,
            "What would be changed is used elsewhere too, through an alias.",
            "write it out there, without anchor and alias",
        ),
        "manifest-none": Code(
            Severity.PROBLEM,
            "There is no pod template to put the sidecar into.",
            "name the files with the workloads; mind --only",
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
    """None for the usual one."""

    @property
    def severity(self) -> Severity:
        """How much it matters."""
        return CODES[self.code].severity

    @property
    def remedy(self) -> str | None:
        """What to change: the finding's own mend, else the usual one of its code."""
        return self.mend or CODES[self.code].mend

    @property
    def sentence(self) -> str:
        """What is found and what to change, for a person."""
        return f"{self.text} → {self.remedy}" if self.remedy else self.text

    def as_json(self) -> dict[str, str | None]:
        """Return what `check --json` prints for it."""
        return {
            "code": self.code,
            "severity": self.severity,
            "subject": self.subject,
            "text": self.text,
            "mend": self.remedy,
        }

    def as_line(self) -> str:
        """Write it for a person, on one line."""
        return f"{self.severity:<8}{self.subject}: {self.sentence}"


def status(findings: Iterable[Finding]) -> int:
    """Return the exit status: 1 if anything is a problem, else 0."""
    return int(any(f.severity is Severity.PROBLEM for f in findings))
