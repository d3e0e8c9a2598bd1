"""A volume on this machine's file system, written the way the kubelet writes it.

Source: kubernetes pkg/volume/util/atomic_writer.go, `Write`; the order of its steps
was also measured on a kubelet. Standard library only: the demo uses it too.
"""

from __future__ import annotations

import itertools
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

Order = Literal["links-after", "links-before"]
"""When links of new keys appear: after the rename (current kubelets) or before it."""


class KubeletVolume:
    """A mounted ConfigMap or Secret; each `write` is one update of the object.

    Keys may be nested (`conf.d/site.conf`): then the first path element is the link.
    `between` is called in the middle of an update, where the volume is not whole.
    """

    def __init__(self, path: Path, order: Order = "links-after") -> None:
        self.path = path
        self.order = order
        self._numbers = itertools.count(1)
        path.mkdir(parents=True, exist_ok=True)

    @property
    def data(self) -> Path:
        return self.path / "..data"

    @property
    def generation(self) -> str:
        return str(self.data.readlink())

    def write(
        self,
        files: Mapping[str, str | bytes],
        between: Callable[[], None] = lambda: None,
    ) -> float:
        """Publish `files`; return CLOCK_MONOTONIC at the rename, in seconds."""
        old = self.path / self.generation if self.data.is_symlink() else None
        new = self._make_generation(files)
        before = self._first_elements(old)
        after = self._first_elements(new)
        if self.order == "links-before":
            self._link(after - before)
            between()
        (self.path / "..data_tmp").symlink_to(new.name)
        renamed = time.monotonic()
        (self.path / "..data_tmp").rename(self.data)
        if self.order == "links-after":
            between()
            self._link(after)
        for name in before - after:
            (self.path / name).unlink()
        if old:
            shutil.rmtree(old)
        return renamed

    def _make_generation(self, files: Mapping[str, str | bytes]) -> Path:
        stamp = time.strftime("..%Y_%m_%d_%H_%M_%S", time.gmtime())
        new = self.path / f"{stamp}.{os.getpid()}{next(self._numbers):04}"
        new.mkdir()
        for name, content in files.items():
            file = new / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content.encode() if isinstance(content, str) else content)
        new.chmod(0o755)
        return new

    @staticmethod
    def _first_elements(generation: Path | None) -> set[str]:
        return {path.name for path in generation.iterdir()} if generation else set()

    def _link(self, names: set[str]) -> None:
        for name in sorted(names):
            link = self.path / name
            if not link.is_symlink():
                link.symlink_to(f"..data/{name}")
