"""The image: its size, and what it uses while it runs in a container."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .contenders import SIDECAR, Command, Contender, Job, Work, settings
from .footprint import memory
from .ground import Ground
from .lane import BenchError, Load
from .table import Table, mebibytes

IMAGE = os.environ.get("IMAGE", "localhost/config-reload-sidecar:dev")
_PAUSE = 0.002
_JOBS: tuple[Job, ...] = ("signal", "post")


def footprint(ground: Ground) -> Iterator[Table]:
    """Size of the image, and memory of the container after many reloads."""
    size, missing = _size()
    rows: list[tuple[str, ...]] = []
    if size is None:
        rows.append((IMAGE, f"missing: {missing}"))
    else:
        rows.append(("size of the image", mebibytes(size)))
        for job in _JOBS:
            ground.say(f"image: {job}")
            try:
                rows.append((f"resident, {job} target", _resident(ground, job)))
            except BenchError as error:
                rows.append((f"{job} target", f"missing: {ground.failed(error)}"))
    yield Table(
        "The image (`image`)",
        f"MiB; resident (anonymous) after {ground.scale.reloads:,} reloads in a"
        " container with a read-only root. Python of the image, with its bytecode.",
        ("", "MiB"),
        tuple(rows),
    )


def _size() -> tuple[int | None, str]:
    if not shutil.which("podman"):
        return None, "podman is not installed"
    found = _podman(["image", "inspect", IMAGE])
    if found.returncode != 0:
        return None, "it was not built (make image)"
    document: list[dict[str, Any]] = json.loads(found.stdout)  # podman's own shape
    return int(document[0]["Size"]), ""


def _resident(ground: Ground, job: Job) -> str:
    lane = ground.lane(Contender(f"{SIDECAR}, image", (job,), _in_container), Load(job))
    with _removed(_container(lane.place)), lane:
        for _ in range(ground.scale.reloads):
            lane.update()
            time.sleep(_PAUSE)
        asked = ["inspect", "--format", "{{.State.Pid}}", _container(lane.place)]
        used = memory(int(_podman(asked).stdout))
    return f"{mebibytes(used.resident)} ({mebibytes(used.anonymous)})"


def _in_container(work: Work) -> Command:
    """Run the image; it sees our processes, and for a POST our loopback."""
    network = "none" if work.job == "signal" else "host"
    options = [
        f"--name={_container(work.volumes[0].parent)}",
        f"--network={network}",
        *("--rm", "--pull=never", "--pid=host", "--read-only", "--log-driver=none"),
        *("--user=0", "--cap-drop=ALL", "--security-opt=no-new-privileges"),
        *(f"--volume={directory}:{directory}:ro" for directory in work.directories),
        *(f"--env={name}={value}" for name, value in settings(work).items()),
    ]
    return Command(["podman", "run", *options, IMAGE])


def _container(place: Path) -> str:
    return f"bench-{os.getpid()}-{place.name}"


@contextmanager
def _removed(name: str) -> Iterator[None]:
    """Remove a container at the end: it outlives the command that started it."""
    try:
        yield
    finally:
        _podman(["rm", "--force", "--ignore", "--time=0", name])


def _podman(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["podman", *arguments], capture_output=True, text=True, check=False
    )
