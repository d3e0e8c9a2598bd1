"""What every test of a real program begins with."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubelet import KubeletVolume


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A directory with a path short enough for a socket, open to another user."""
    with tempfile.TemporaryDirectory(prefix="reload-", dir="/tmp") as path:
        Path(path).chmod(0o755)
        yield Path(path)


@pytest.fixture
def volume(scratch: Path) -> KubeletVolume:
    """An empty volume, as a ConfigMap mount."""
    return KubeletVolume(scratch / "volume")
