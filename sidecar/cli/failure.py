"""What ends `push` and `status` with exit status 2."""

from __future__ import annotations

from sidecar.errors import SidecarError


class AccessError(SidecarError):
    """The command can't do its work with what it was given; the message mends it."""
