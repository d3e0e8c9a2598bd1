"""Mount tables as real kubelets make them."""

from __future__ import annotations

from sidecar import mounts
from sidecar.mounts import Container

TABLE = r"""
22 1 8:1 / / rw,relatime - overlay overlay rw
30 22 8:1 /var/lib/kubelet/pods/9f/volumes/kubernetes.io~configmap/c /etc/c ro - ext4 /dev/sda1 rw
31 22 0:50 / /etc/secret ro - tmpfs tmpfs rw
32 22 8:1 /var/lib/kubelet/pods/9f/containers/web/1a2b /dev/termination-log rw - ext4 /dev/sda1 rw
33 22 8:1 /var/lib/x/with\040space /mnt/with\040space rw - ext4 /dev/sda1 rw
34 30 0:51 / /etc/c/inner ro - tmpfs tmpfs rw
"""  # noqa: E501  # lines of mountinfo are as long as they are
PARSED = mounts.parse(TABLE)


def test_the_container_is_known_by_its_termination_log() -> None:
    """The kubelet mounts it from the container's own directory."""
    assert Container("9f", "web") == mounts.container(PARSED)


def test_a_termination_log_may_be_anywhere() -> None:
    """`terminationMessagePath` is the pod's to choose."""
    moved = mounts.parse(TABLE.replace("/dev/termination-log", "/var/last-words"))

    assert Container("9f", "web") == mounts.container(moved)


def test_no_termination_log_is_no_container() -> None:
    """A process on the node itself belongs to no container."""
    assert mounts.container(PARSED[:2]) is None


def test_a_config_map_shows_in_the_root_of_its_mount() -> None:
    """Everything else may be secret."""
    assert mounts.is_config_map(PARSED, "/etc/c")
    assert mounts.is_config_map(PARSED, "/etc/c/nested")
    assert not mounts.is_config_map(PARSED, "/etc/secret")
    assert not mounts.is_config_map(PARSED, "/etc/cc")


def test_a_volume_mounted_inside_another_is_its_own() -> None:
    """The longest mount point above a path holds it."""
    assert not mounts.is_config_map(PARSED, "/etc/c/inner/key")


def test_escaped_characters_are_read() -> None:
    """A space in a path is written as an octal number."""
    assert "/mnt/with space" == PARSED[4].point


def test_a_torn_line_is_passed_over() -> None:
    """Nothing in a mount table is a reason to end."""
    assert () == mounts.parse("22 1 8:1 /\n\nnonsense - ")


def test_a_key_mounted_by_sub_path_shows_the_generation_in_its_root() -> None:
    """On disk and on tmpfs; what a kubelet prepares on its node is no key."""
    parsed = mounts.parse(
        "40 22 8:1 /9f/volumes/kubernetes.io~configmap/c/..2026_11_22_11_52_24.1/a"
        " /etc/sub/a ro - ext4 /dev/sda1 rw\n"
        "41 22 0:50 /..2026_11_22_11_52_24.1/b//deleted /etc/sub/b ro - tmpfs x rw\n"
        "42 22 8:1 /9f/volumes/kubernetes.io~configmap/c/..2026_11_22_11_52_24.1/a"
        " /var/lib/kubelet/pods/9f/volume-subpaths/c/web/0 ro - ext4 /dev/sda1 rw\n"
    )

    found = [mount.point for mount in mounts.sub_paths(parsed, "/")]

    assert ["/etc/sub/a", "/etc/sub/b"] == found
    assert () == mounts.sub_paths(parsed, "/etc/other")
