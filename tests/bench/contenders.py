"""Who is measured, and how each is told what to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Job = Literal["signal", "post"]
HERE = Path(__file__).parent

SIDECAR = "this sidecar"
C_FLOOR = "C: inotify, kill"
PYTHON_FLOOR = "shortest Python"


@dataclass(frozen=True, slots=True)
class Work:
    """Watch these volumes, and tell this program."""

    job: Job
    volumes: Sequence[Path]
    pid: int
    name: str
    url: str
    waits: bool
    """With the contender's own defaults; or with every delay off that it has."""

    @property
    def directories(self) -> list[str]:
        return [str(volume) for volume in self.volumes]


@dataclass(frozen=True, slots=True)
class Command:
    """What to start."""

    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Contender:
    """One program that brings the news, or why there is none on this machine."""

    name: str
    jobs: Sequence[Job]
    command: Callable[[Work], Command]
    missing: str | None = None
    configurable: bool = True
    """Whether it has delays that can be turned off."""

    several_volumes: bool = True


def sidecar(python: str) -> Contender:
    """Describe this sidecar, as it runs from the checkout."""
    return Contender(
        SIDECAR,
        ("signal", "post"),
        lambda work: Command([python, "-m", "sidecar"], settings(work)),
    )


def shortest_python(python: str) -> Contender:
    """Describe the shortest Python programs, one for each job."""

    def command(work: Work) -> Command:
        script = HERE / f"shortest_{work.job}.py"
        told = str(work.pid) if work.job == "signal" else work.url
        return Command([python, str(script), told, *work.directories])

    return Contender(PYTHON_FLOOR, ("signal", "post"), command, configurable=False)


def c_floor(program: Path | None) -> Contender:
    """Describe the C program, which may not have been compiled."""
    return Contender(
        C_FLOOR,
        ("signal",),
        lambda work: Command([str(program), str(work.pid), *work.directories]),
        None if program else "there is no C compiler (cc)",
        configurable=False,
    )


def settings(work: Work) -> dict[str, str]:
    """Return the sidecar's environment for some work."""
    chosen = {"WATCH_DIRS": ",".join(work.directories), "HTTP_LISTEN": "127.0.0.1:0"}
    if work.job == "signal":
        chosen["PROCESS_NAME"] = work.name
    else:
        chosen["WEBHOOK_URL"] = work.url
    if not work.waits:
        chosen |= {"DEBOUNCE": "0", "VERIFY_ALIVE": "0"}
    return chosen


def config_reloader(work: Work) -> Command:
    """Tell prometheus-config-reloader."""
    how = {
        "signal": [
            "--reload-method=signal",
            f"--process-executable-name={work.name}",
            f"--runtimeinfo-url={work.url}",
        ],
        "post": [f"--reload-url={work.url}"],
    }[work.job]
    watched = [f"--watched-dir={directory}" for directory in work.directories]
    waits = [] if work.waits else ["--delay-interval=0s"]
    return Command(["--listen-address=127.0.0.1:0", *how, *watched, *waits])


def configmap_reload(work: Work) -> Command:
    """Tell configmap-reload."""
    watched = [f"--volume-dir={directory}" for directory in work.directories]
    listen = "--web.listen-address=127.0.0.1:0"
    return Command([listen, f"--webhook-url={work.url}", *watched])


def config_reloader_sidecar(work: Work) -> Command:
    """Tell config-reloader-sidecar, which watches one directory."""
    return Command([], {"CONFIG_DIR": work.directories[0], "PROCESS_NAME": work.name})
