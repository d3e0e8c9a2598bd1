"""What the tests of the commands share: an API server and a shop of pods on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.api_server import ApiServer
from tests.cli.shop import Shop


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """An API server that KUBECONFIG leads to."""
    with ApiServer() as api:
        config = api.kubeconfig(tmp_path / "config")
        monkeypatch.setenv("KUBECONFIG", str(config))
        yield api


@pytest.fixture
def shop(api: ApiServer) -> Shop:
    """A ConfigMap `site`, changed a moment ago, and no pods yet."""
    return Shop(api)
