"""A sidecar as a pod of a workload runs it, as far as a machine can show it a pod.

In a mount namespace of its own it finds a ServiceAccount where the kubelet mounts it,
and an `/etc/hostname` that was written when it was started, as a runtime does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.api_server import ApiServer
from tests.kubelet import KubeletVolume
from tests.sidecar_process import SidecarProcess

_POD = """
mount -t tmpfs none /run && mkdir -p /run/secrets/kubernetes.io &&
ln -s "$0" /run/secrets/kubernetes.io/serviceaccount &&
cp /etc/hostname /run/hostname && mount --bind /run/hostname /etc/hostname && exec "$@"
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sidecar is a pod's."""

    volume: KubeletVolume
    env: dict[str, str]
    prefix: list[str]
    """The command that becomes the sidecar."""


def in_a_pod(api: ApiServer, place: Path, content: str = "1") -> Place:
    """Make a pod from the workload's template as it is now, with that content.

    `POD_ROLLOUT` is the template's annotation, as the downward API shows it.
    """
    place.mkdir()
    volume = KubeletVolume(place / "volume")
    volume.write({"app": content})
    account = api.write_account(place / "account")
    env = {
        "WATCH_DIRS": str(volume.path),
        "POD_NAME": place.name,
        "POD_NAMESPACE": "site",
        "POD_UID": f"uid-of-{place.name}",
        "POD_ROLLOUT": api.config or "",
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": str(api.port),
    }
    command = ["unshare", "--mount", "sh", "-c", _POD, str(account)]
    return Place(volume, env, command)


def pod(
    api: ApiServer,
    place: Path,
    content: str = "1",
    args: Iterable[str] = (),
    **env: str,
) -> tuple[SidecarProcess, KubeletVolume]:
    """Return the sidecar of a pod that is made now, and its volume."""
    made = in_a_pod(api, place, content)
    fast = {"RETRY_INITIAL": "50ms", "RETRY_MAX": "200ms"}
    sidecar = SidecarProcess(made.env | fast | env, args, prefix=made.prefix)
    return sidecar, made.volume
