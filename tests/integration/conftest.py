"""What the integration tests share: a volume, and a program that reads it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

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
