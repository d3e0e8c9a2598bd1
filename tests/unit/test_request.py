"""What can be told from a URL alone."""

from __future__ import annotations

import pytest

from sidecar.destination import is_loopback


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST.",
        "app.localhost",
        "127.0.0.1",
        "127.255.1.2",
        "::1",
        "[::1]",
        "::ffff:127.0.0.1",
        "0.0.0.0",  # noqa: S104 - a destination, nothing is bound
        "::",
    ],
)
def test_knows_loopback(host: str) -> None:
    """A proxy would take each of these for itself."""
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["localhost.test", "notlocalhost", "10.0.0.1", "128.0.0.1", "::2", "app", ""],
)
def test_knows_what_is_elsewhere(host: str) -> None:
    """These are asked as the environment's proxy variables say."""
    assert not is_loopback(host)
