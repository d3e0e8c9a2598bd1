"""The digest of a volume, so that the same content has the same one wherever it is.

The sidecar makes it from the files it reads, `push` from the object in the API.
"""

from __future__ import annotations

from collections.abc import Mapping

try:  # as Python's `random` does: hashlib loads OpenSSL, and 2 MiB more stay resident
    from _sha2 import sha256  # type: ignore[import-not-found]  # typeshed leaves it out
except ImportError:  # Python 3.11, or one that was built without it
    from hashlib import sha256

__all__ = ["of_content", "of_volume", "sha256"]


def of_content(content: bytes) -> bytes:
    """Hash one key's content."""
    return bytes(sha256(content).digest())


def of_volume(keys: Mapping[bytes, bytes]) -> str:
    """Hash names and the contents' hashes; return hex.

    For each key in order: its name's length, its name, its content's SHA-256.
    """
    digest = sha256()
    for name in sorted(keys):
        digest.update(b"%d:" % len(name) + name + keys[name])
    return str(digest.hexdigest())
