"""Peers, built from source by Go, each at one version."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from . import contenders
from .contenders import Command, Contender, Job, Work

_SECONDS_TO_FETCH = 180
_SECONDS_TO_BUILD = 900


@dataclass(frozen=True, slots=True)
class Peer:
    """A program in a Go module."""

    package: str
    version: str
    jobs: Sequence[Job]
    command: Callable[[Work], Command]
    """Without the program itself."""

    configurable: bool = False
    several_volumes: bool = True

    @property
    def name(self) -> str:
        return f"{Path(self.package).name} {self.version}"


PEERS = (
    Peer(
        "github.com/prometheus-operator/prometheus-operator/cmd/prometheus-config-reloader",
        "v0.85.0",
        ("signal", "post"),
        contenders.config_reloader,
        configurable=True,
    ),
    Peer(
        "github.com/jimmidyson/configmap-reload",
        "v0.15.0",
        ("post",),
        contenders.configmap_reload,
    ),
    Peer(
        "github.com/Pluies/config-reloader-sidecar",
        "v0.0.1",
        ("signal",),
        contenders.config_reloader_sidecar,
        several_volumes=False,
    ),
)


def build(cache: Path, say: Callable[[str], None]) -> list[Contender]:
    """Build what is not in the cache yet; say of each that can't be had why."""
    return [_contender(peer, cache, say) for peer in PEERS]


def _contender(peer: Peer, cache: Path, say: Callable[[str], None]) -> Contender:
    program = cache / f"{Path(peer.package).name}-{peer.version}"
    missing = None
    if not program.exists():
        say(f"building {peer.name}")
        missing = _build(peer, program)

    def command(work: Work) -> Command:
        told = peer.command(work)
        return replace(told, arguments=[str(program), *told.arguments])

    return Contender(
        peer.name,
        peer.jobs,
        command,
        missing,
        peer.configurable,
        peer.several_volumes,
    )


def _build(peer: Peer, program: Path) -> str | None:
    """Build one program; return why it can't be had, if so.

    In a module of our own, because `go install` refuses one with `replace` directives.
    """
    if not shutil.which("go"):
        return "Go is not installed"
    with tempfile.TemporaryDirectory(dir=program.parent) as directory:
        place = Path(directory)
        (place / "go.mod").write_text("module bench\n")
        for arguments, seconds in (
            (["get", f"{peer.package}@{peer.version}"], _SECONDS_TO_FETCH),
            (["build", "-o", str(place / "program"), peer.package], _SECONDS_TO_BUILD),
        ):
            problem = _go(arguments, place, seconds)
            if problem:
                return problem
        (place / "program").rename(program)
    return None


def _go(arguments: Sequence[str], place: Path, seconds: float) -> str | None:
    # its caches go with the directory, and must not be read-only for that
    own = {
        "GOPATH": str(place / "path"),
        "GOCACHE": str(place / "cache"),
        "GOFLAGS": "-modcacherw",
        "CGO_ENABLED": "0",
    }
    try:
        done = subprocess.run(
            ["go", *arguments],
            cwd=place,
            env=os.environ | own,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"go {arguments[0]} took longer than {seconds:.0f} s"
    if done.returncode == 0:
        return None
    words = done.stderr.split("\n")
    return f"go {arguments[0]} failed: {_first_telling(words)}"


def _first_telling(lines: Sequence[str]) -> str:
    """Return what the server answered, or the first line: enough for a table."""
    told = [line.strip() for line in lines if line.strip()]
    answers = [line for line in told if line.startswith("server response:")]
    return (answers or told or ["no reason given"])[0].removeprefix("server response: ")
