"""What a mount table tells about volumes and containers. Parsing only, no I/O.

Source of the format: proc_pid_mountinfo(5). Field 4 is the root of the mount inside its
file system; for what the kubelet mounts it names the pod, the container or the volume.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_OCTAL = re.compile(r"\\([0-7]{3})")
_GENERATION = re.compile(r"/\.\.\d{4}_\d\d_\d\d_\d\d_\d\d_\d\d\.\d+/")
_TERMINATION_LOG = re.compile(r"/pods/([^/]+)/containers/([^/]+)/[^/]+$")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of mountinfo."""

    root: str
    point: str
    kind: str
    """The file system's type."""


@dataclass(frozen=True, slots=True)
class Container:
    """Which container of which pod a process runs in."""

    pod_uid: str
    name: str


def parse(text: str) -> tuple[Mount, ...]:
    """Read the lines of a mountinfo file; later mounts hide earlier ones."""
    mounts = []
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) >= 5 and after:
            root, point = (_unescaped(field) for field in fields[3:5])
            mounts.append(Mount(root, point, after.split(" ", 1)[0]))
    return tuple(mounts)


def container(mounts: tuple[Mount, ...]) -> Container | None:
    """Tell the container by the root of its termination log's mount.

    That is `/dev/termination-log`, unless the pod has a `terminationMessagePath`.
    """
    for mount in reversed(mounts):
        if match := _TERMINATION_LOG.search(mount.root):
            return Container(*match.groups())
    return None


def holding(mounts: tuple[Mount, ...], path: str) -> Mount | None:
    """Return the mount that a path lies on: the longest mount point above it."""
    best: Mount | None = None
    for mount in mounts:
        point = mount.point.rstrip("/")
        above = path == point or path.startswith(point + "/")
        if above and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best


def is_config_map(mounts: tuple[Mount, ...], path: str) -> bool:
    """Whether a path is (in) a mounted ConfigMap, whose content is no secret."""
    mount = holding(mounts, path)
    return mount is not None and "/kubernetes.io~configmap/" in mount.root + "/"


def sub_paths(mounts: tuple[Mount, ...], under: str) -> tuple[Mount, ...]:
    """Return the keys that are mounted by subPath at or below a path.

    The root of such a mount names a generation: on disk below the volume's directory,
    on tmpfs at once, and with `//deleted` behind it after a swap (measured). On a node
    itself the kubelet prepares such mounts for its containers; no program reads them.
    """
    below = under.rstrip("/") + "/"
    return tuple(
        mount
        for mount in mounts
        if _GENERATION.search(mount.root)
        and (mount.point + "/").startswith(below)
        and "/volume-subpaths/" not in mount.point
    )


def _unescaped(field: str) -> str:
    if "\\" not in field:
        return field
    return _OCTAL.sub(lambda match: chr(int(match.group(1), 8)), field)
