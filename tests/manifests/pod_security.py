"""The Pod Security Standards, as rules on the fields of a pod.

Source: the table in Kubernetes' documentation, "Pod Security Standards". What only
Windows or old alpha annotations need is left out; the examples have none.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.manifests.example import Document, Pod

_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
_BASELINE_CAPABILITIES = {
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
}


def against_baseline(pod: Pod) -> list[str]:
    """Say everything in which a pod breaks the baseline standard."""
    return [*_pod_baseline(pod), *_containers_baseline(pod)]


def against_restricted(pod: Pod) -> list[str]:
    """Say everything in which a pod breaks the restricted standard."""
    volumes = [
        f"volume {volume['name']} is none of the allowed kinds"
        for volume in pod.spec.get("volumes", ())
        if not (volume.keys() - {"name"}) <= _VOLUMES
    ]
    broken = [
        f"{container['name']}: {problem}"
        for container in pod.containers
        for problem in _restricted(_security(pod, container))
    ]
    return [*against_baseline(pod), *volumes, *broken]


def _security(pod: Pod, container: Document) -> Document:
    """Return what holds for a container: its own word, else the pod's."""
    shared = pod.spec.get("securityContext", {})
    return {**shared, **container.get("securityContext", {})}


def _pod_baseline(pod: Pod) -> Iterator[str]:
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.spec.get(field):
            yield f"{field} is set"
    for volume in pod.spec.get("volumes", ()):
        if "hostPath" in volume:
            yield f"volume {volume['name']} is a hostPath"


def _containers_baseline(pod: Pod) -> Iterator[str]:
    for container in pod.containers:
        name, security = container["name"], _security(pod, container)
        if security.get("privileged"):
            yield f"{name}: privileged"
        if security.get("procMount", "Default") != "Default":
            yield f"{name}: procMount"
        if security.get("seccompProfile", {}).get("type") == "Unconfined":
            yield f"{name}: seccompProfile"
        added = set(security.get("capabilities", {}).get("add", ()))
        if added - _BASELINE_CAPABILITIES:
            yield f"{name}: capabilities {sorted(added - _BASELINE_CAPABILITIES)}"
        if any(port.get("hostPort") for port in container.get("ports", ())):
            yield f"{name}: hostPort"


def _restricted(security: Document) -> Iterator[str]:
    capabilities = security.get("capabilities", {})
    if security.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if security.get("runAsNonRoot") is not True:
        yield "runAsNonRoot is not true"
    if security.get("runAsUser") == 0:
        yield "runAsUser is 0"
    if "ALL" not in capabilities.get("drop", ()):
        yield "capabilities are not dropped"
    if set(capabilities.get("add", ())) - {"NET_BIND_SERVICE"}:
        yield "capabilities are added"
    if security.get("seccompProfile", {}).get("type") not in (
        "RuntimeDefault",
        "Localhost",
    ):
        yield "seccompProfile is not RuntimeDefault"
