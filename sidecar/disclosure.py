"""What may be shown of a volume: names always, a digest where it gives nothing away.

A bare hash of a short secret can be guessed, so bare digests are shown of ConfigMap
mounts only. Of everything else it is HMAC-SHA-256 with `DIGEST_KEY_FILE`, or nothing.
"""

from __future__ import annotations

import os
from pathlib import Path

from . import mounts, proc
from .files import read_regular
from .status import VolumeStatus
from .volume import Snapshot

_KEY_LIMIT = 4096


class Disclosure:
    """Turns snapshots into what `/status` shows."""

    def __init__(self, key_file: Path | None) -> None:
        """`key_file` is read when it is needed, because it may be rotated."""
        self._key_file = key_file
        self._config_maps: dict[str, tuple[tuple[int, int] | None, bool]] = {}

    def volume(self, snapshot: Snapshot) -> VolumeStatus:
        """Describe a settled volume."""
        return VolumeStatus(
            path=snapshot.path,
            kind=snapshot.kind,
            generation=snapshot.generation,
            published=snapshot.changed or None,
            digest=self._shown(snapshot),
            keys=tuple(sorted(snapshot.keys, key=os.fsencode)),
        )

    def _is_config_map(self, snapshot: Snapshot) -> bool:
        """Whether a ConfigMap is mounted there: so for as long as the directory is."""
        path, root = snapshot.path, snapshot.root
        identity = (root.device, root.inode) if root else None
        known = self._config_maps.get(path)
        if known is None or known[0] != identity:
            try:
                mounted = mounts.parse(proc.mountinfo("self"))
            except OSError:
                mounted = ()
            if not mounted:  # no descriptor is left: it is asked again next time
                return False
            is_one = mounts.is_config_map(mounted, os.path.realpath(path))
            known = self._config_maps[path] = (identity, is_one)
        return known[1]

    def _shown(self, snapshot: Snapshot) -> str | None:
        if self._is_config_map(snapshot):
            return snapshot.digest
        if self._key_file is None:
            return None
        try:
            key = read_regular(self._key_file, _KEY_LIMIT)[0].strip()
        except OSError:
            return None
        if not key:
            return None
        import hmac  # it loads OpenSSL: 2 MiB

        return hmac.new(key, snapshot.digest.encode(), "sha256").hexdigest()
