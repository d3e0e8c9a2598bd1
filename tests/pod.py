"""A sidecar as a pod of a workload runs it, as far as a machine can show it a pod.

In a mount namespace of its own it finds a ServiceAccount where the kubelet mounts it,
and an `/etc/hostname` that was written after the volumes were, as a runtime writes it
when it makes the pod's sandbox.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.api_server import ApiServer
from tests.kubelet import KubeletVolume
from tests.sidecar_process import SidecarProcess
from tests.waiting import wait_until

_POD = """
mount -t tmpfs none /run && mkdir -p /run/secrets/kubernetes.io &&
ln -s "$0/account" /run/secrets/kubernetes.io/serviceaccount &&
mount --bind "$0/hostname" /etc/hostname && exec "$@"
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sidecar is a pod's."""

    volume: KubeletVolume
    hostname: Path
    """What is mounted over /etc/hostname."""

    env: dict[str, str]
    prefix: list[str]
    """The command that becomes the sidecar."""

    def sidecar(self, args: Iterable[str] = (), **env: str) -> SidecarProcess:
        """Return the sidecar that is started there next, the first or another one."""
        fast = {"RETRY_INITIAL": "50ms", "RETRY_MAX": "200ms"}
        return SidecarProcess(self.env | fast | env, args, prefix=self.prefix)


def in_a_pod(api: ApiServer, place: Path, content: str = "1") -> Place:
    """Make a pod from the workload's template as it is now, with that content.

    `POD_ROLLOUT` is the template's annotation, as the downward API shows it.
    """
    place.mkdir()
    volume = KubeletVolume(place / "volume")
    volume.write({"app": content})
    api.write_account(place / "account")
    hostname = place / "hostname"
    wait_until(lambda: _is_newer(hostname, volume), "its sandbox is made")
    env = {
        "WATCH_DIRS": str(volume.path),
        "POD_NAME": place.name,
        "POD_NAMESPACE": "site",
        "POD_UID": f"uid-of-{place.name}",
        "POD_ROLLOUT": api.config or "",
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": str(api.port),
    }
    command = ["unshare", "--mount", "sh", "-c", _POD, str(place)]
    return Place(volume, hostname, env, command)


def pod(
    api: ApiServer,
    place: Path,
    content: str = "1",
    args: Iterable[str] = (),
    **env: str,
) -> tuple[SidecarProcess, KubeletVolume]:
    """Return the sidecar of a pod that is made now, and its volume."""
    made = in_a_pod(api, place, content)
    return made.sidecar(args, **env), made.volume


def _is_newer(hostname: Path, volume: KubeletVolume) -> bool:
    """Write it; its time is of a coarse clock, so it may take a tick to be newer."""
    hostname.write_text("web")
    return hostname.stat().st_mtime_ns > volume.data.lstat().st_ctime_ns
