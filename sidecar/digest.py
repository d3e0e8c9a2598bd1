"""The digest of a volume, so that the same content has the same one wherever it is.

The sidecar makes it from the files it reads, `push` from the object in the API.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping


def of_content(content: bytes) -> bytes:
    """Hash one key's content."""
    return hashlib.sha256(content).digest()


def of_volume(keys: Mapping[bytes, bytes]) -> str:
    """Hash names and the contents' hashes; return hex.

    For each key in order: its name's length, its name, its content's SHA-256.
    """
    digest = hashlib.sha256()
    for name in sorted(keys):
        digest.update(b"%d:" % len(name) + name + keys[name])
    return digest.hexdigest()
