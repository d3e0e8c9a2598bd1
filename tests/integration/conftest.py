"""What the integration tests share: a volume, and a program that reads it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api_server import ApiServer
from tests.kubelet import KubeletVolume
from tests.witness import Witness


@pytest.fixture
def volume(tmp_path: Path) -> KubeletVolume:
    """A mounted ConfigMap with one key, `app=1`."""
    volume = KubeletVolume(tmp_path / "volume")
    volume.write({"app": "1"})
    return volume


@pytest.fixture
def witness(volume: KubeletVolume) -> Iterator[Witness]:
    """A running program that read `app=1` at its start."""
    with Witness(volume.path) as witness:
        yield witness


@pytest.fixture
def own_mounts() -> list[str]:
    """What starts a program in a mount namespace of its own."""
    if (
        not shutil.which("unshare")
        or subprocess.run(
            ["unshare", "--mount", "true"], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("no mount namespace can be made here (util-linux, and the right)")
    return ["unshare", "--mount", "sh", "-c"]


@pytest.fixture
def api(own_mounts: list[str]) -> Iterator[ApiServer]:
    """An API server with `deployment/web`, which also takes events.

    A sidecar finds its token where the kubelet mounts it: in a mount namespace.
    """
    assert own_mounts
    with ApiServer() as api:
        yield api
