"""What is to be told: the settled content of all volumes, and what is new in it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from .configuration import Content, VolumeChange
from .status import VolumeStatus


@dataclass(frozen=True, slots=True)
class Change:
    """One settled content, as it is told to every target."""

    number: int
    """Counts the changes of this run, so that two of equal content differ."""

    content: Content
    volumes: tuple[VolumeStatus, ...]
    differences: tuple[VolumeChange, ...]

    def as_json(self) -> bytes:
        """Write the body of `WEBHOOK_BODY=json`: names and digests, never content."""
        by_path = {difference.path: difference for difference in self.differences}
        volumes = []
        for volume in self.volumes:
            difference = by_path.get(volume.path)
            volumes.append(
                {
                    "path": volume.path,
                    "generation": volume.generation,
                    "digest": volume.digest,
                    "keys": list(volume.keys),
                    "added": list(difference.added) if difference else [],
                    "changed": list(difference.changed) if difference else [],
                    "removed": list(difference.removed) if difference else [],
                }
            )
        return json.dumps({"volumes": volumes}).encode()
