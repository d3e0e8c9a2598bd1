"""What is shown of a volume that is really mounted."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kubelet import KubeletVolume

UNSHARE = ("unshare", "--user", "--map-root-user", "--mount")

LOOKS = """
import sys
from sidecar import volume
from sidecar.disclosure import Disclosure
from sidecar.selection import Selection
from tests.descriptors import no_descriptors

snapshot = volume.read(sys.argv[1], Selection("*"))
disclosure = Disclosure(None)
with no_descriptors():
    print(disclosure.volume(snapshot).digest)
print(disclosure.volume(snapshot).digest == snapshot.digest)
"""


@pytest.fixture
def mounting() -> tuple[str, ...]:
    """What runs a program in a mount namespace of its own, after a bind mount."""
    if (
        not shutil.which("unshare")
        or subprocess.run(
            [*UNSHARE, "true"], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("no user namespace can be made here (util-linux, and the right)")
    return (*UNSHARE, "sh", "-ec", 'mount --bind "$1" "$2"; shift 2; exec "$@"', "sh")


def test_a_config_map_is_known_again_once_there_are_descriptors(
    tmp_path: Path, mounting: tuple[str, ...]
) -> None:
    """Without any, what is mounted can't be known: then no digest is shown."""
    published = KubeletVolume(tmp_path / "kubernetes.io~configmap/c")
    published.write({"app": "1"})
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    python = [sys.executable, "-c", LOOKS, str(mounted)]
    shown = subprocess.run(
        [*mounting, str(published.path), str(mounted), *python],
        capture_output=True,
        check=False,
        text=True,
    )

    assert "None\nTrue\n" == shown.stdout, shown.stderr
