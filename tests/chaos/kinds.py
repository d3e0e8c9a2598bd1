"""The kinds of fault: what is done to the sidecar, its target and the machine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import namespace, probes
from .arena import Arena
from .stage import NOBODY, Stage
from .target import as_user
from .webhook import BAD, Manner

SOON = 0.35
"""A bit longer than an update takes from the swap to the last word, in seconds."""

STORM = 20_000
LARGE = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the table."""

    name: str
    run: Callable[[Stage], None]
    share: int = 10
    """Rounds of it in one of the campaign's."""

    missing: Callable[[], str | None] = lambda: None
    """Says what the machine lacks for it, if anything."""


def kubelet_slow(stage: Stage) -> None:
    """Halt the kubelet in the middle of an update, for longer than DEBOUNCE."""
    with Arena(stage) as arena:
        for number in range(stage.rounds):
            arena.fault()
            arena.volume.order = ("links-after", "links-before")[number % 2]
            arena.publish(longest=0.6)
            arena.settle()


def sidecar_killed(stage: Stage) -> None:
    """Kill it at any moment; nothing but the files' times tells the next one."""
    with Arena(stage) as arena:
        _kill_and_start(arena)


def sidecar_killed_with_state(stage: Stage) -> None:
    """Kill it at any moment; it remembers, and what it remembers must be true."""
    with Arena(stage, {"STATE_DIR": stage.place()}) as arena:
        _kill_and_start(arena)


def sidecar_killed_calling(stage: Stage) -> None:
    """Kill it while it calls a webhook, which has no start time to go by."""
    state = {"STATE_DIR": stage.place()}
    with Arena(stage, state, process=False, webhook=True) as arena:
        assert arena.hook
        for _ in range(stage.rounds):
            manner: Manner = arena.chance.choice(["well", "well", "slow", "error"])
            arena.hook.behave(manner)
            _kill_once(arena)
            arena.hook.behave("well")
            arena.settle()


def _kill_and_start(arena: Arena) -> None:
    for _ in range(arena.stage.rounds):
        _kill_once(arena)
        if arena.chance.random() < 0.3:  # as it starts, too
            arena.pause(1.0)
            arena.kill_sidecar()
            arena.start_sidecar()
        arena.settle()


def _kill_once(arena: Arena) -> None:
    if arena.chance.random() < 0.8:
        arena.update()
    arena.pause(SOON)
    arena.kill_sidecar()
    if arena.chance.random() < 0.5:
        arena.update()
    arena.start_sidecar()


def sidecar_ended(stage: Stage) -> None:
    """Send it SIGTERM at any moment: nobody is told again after it."""
    with Arena(stage, {"STATE_DIR": stage.place()}) as arena:
        for _ in range(stage.rounds):
            arena.update()
            arena.pause(SOON)
            arena.fault()
            arena.end_sidecar()
            if arena.chance.random() < 0.5:
                arena.update()
            arena.start_sidecar()
            arena.settle()


def program_killed(stage: Stage) -> None:
    """Kill the program around an update; it comes back when it comes back."""
    with Arena(stage) as arena:
        for _ in range(stage.rounds):
            first, second = arena.chance.sample([arena.update, arena.kill_program], 2)
            first()
            arena.pause(SOON)
            second()
            arena.pause(SOON)
            if arena.chance.random() < 0.3:
                arena.update()
            arena.start_program()
            if arena.chance.random() < 0.6:  # which it may have read, or half of it
                arena.pause(0.1)
                arena.update()
            arena.settle()


def sidecar_stopped(stage: Stage) -> None:
    """Stop it at any moment: it wakes up into another world."""
    with Arena(stage) as arena:
        for _ in range(stage.rounds):
            if arena.chance.random() < 0.7:
                arena.update()
            arena.pause(SOON)
            arena.stop_sidecar()
            for _ in range(arena.chance.randint(0, 3)):
                arena.update()
                arena.pause(0.1)
            arena.continue_sidecar()
            arena.settle()


def program_stopped(stage: Stage) -> None:
    """Stop the program while it is told: signals that wait become one."""
    with Arena(stage) as arena:
        for _ in range(stage.rounds):
            early = arena.chance.random() < 0.5
            if not early:
                arena.update()
                arena.pause(SOON)
            arena.fault()
            arena.program.signal(signal.SIGSTOP)
            for _ in range(arena.chance.randint(1, 3)):
                arena.update()
                arena.pause(SOON)
            arena.program.signal(signal.SIGCONT)
            arena.settle()


def inotify_exhausted(stage: Stage) -> None:
    """Take every inotify instance of its uid: it polls, and recovers."""
    with Arena(stage, {"STATE_DIR": _owned(stage)}, uid=NOBODY) as arena:
        for _ in range(stage.rounds):
            arena.end_sidecar()
            with _hoarder():
                arena.fault()
                arena.start_sidecar()
                arena.wait_for_event("watch_degraded")
                for _ in range(arena.chance.randint(0, 2)):
                    arena.update()
                    arena.settle()
                arena.update()
                arena.pause(0.5)
            arena.settle()
            arena.wait_for_event("watch_restored")
            arena.update()
            arena.settle()


def event_storm(stage: Stage) -> None:
    """Make 20,000 events around an update; in every other round they overflow."""
    with Arena(stage) as arena:
        noise = arena.volume.path / "..noise"
        for number in range(stage.rounds):
            arena.fault()
            if number % 2:  # nobody takes them from the queue, which holds 16,384
                arena.stop_sidecar()
            updates = set(arena.chance.sample(range(STORM), 2))
            for event in range(0, STORM, 2):
                noise.touch()
                noise.unlink()
                if {event, event + 1} & updates:
                    arena.publish(longest=0.05)
            if number % 2:
                arena.continue_sidecar()
            arena.settle()


def there_and_back(stage: Stage) -> None:
    """Swap other content in for a moment, while the targets are being told."""
    with Arena(stage, webhook=True, mode="slow") as arena:
        assert arena.hook
        for _ in range(stage.rounds):
            arena.fault()
            arena.hook.behave(arena.chance.choice(["well", "slow"]))
            with arena.followed_by("reload_started", target="webhook:1"):
                arena.publish()
            arena.pause(arena.chance.choice([0.03, 0.3]))
            arena.there_and_back()
            arena.settle()


def webhook_failing(stage: Stage) -> None:
    """Refuse, reset, cut, answer 500, be slow or hang; the process goes on."""
    with Arena(stage, webhook=True) as arena:
        assert arena.hook
        manners: list[Manner] = []
        for _ in range(stage.rounds):
            manners = manners or arena.chance.sample(BAD, len(BAD))
            arena.fault()
            arena.hook.behave(manners.pop())
            with arena.followed_by("reload_started", target="webhook:1"):
                arena.publish()
            arena.pause(0.5)
            for _ in range(arena.chance.randint(0, 2)):
                arena.update()
                arena.pause(0.3)
            arena.wait_for(arena.program_read_newest, "the process is told meanwhile")
            arena.hook.behave("well")
            arena.settle()


def swapped_while_read(stage: Stage) -> None:
    """Swap large keys again and again, faster than they can be read."""
    with Arena(stage) as arena:
        for _ in range(stage.rounds):
            arena.volume.size = LARGE
            for _ in range(arena.chance.randint(5, 25)):
                arena.fault()
                arena.publish(longest=0.03)
                arena.pause(0.08)
            arena.volume.size = None
            arena.settle()


def keys_unreadable(stage: Stage) -> None:
    """Publish keys that it may not read: each swap counts."""
    with Arena(stage, uid=NOBODY) as arena:
        for _ in range(stage.rounds):
            arena.fault()
            arena.volume.unreadable = frozenset(
                arena.chance.sample(["app.conf", "number"], arena.chance.randint(1, 2))
            )
            arena.publish()
            if arena.chance.random() < 0.7:
                arena.settle()
            arena.volume.unreadable = frozenset()
            arena.publish()
            arena.settle()


def state_unwritable(stage: Stage) -> None:
    """Fill STATE_DIR, or make it read-only, and kill it: no old state may lie."""
    with (
        _small_disk(stage) as disk,
        Arena(stage, {"STATE_DIR": disk}) as arena,
    ):
        for _ in range(stage.rounds):
            arena.fault()
            spoiled = arena.chance.choice([_full, _read_only])
            with spoiled(disk):
                arena.update()
                arena.pause(SOON)
                if arena.chance.random() < 0.5:
                    arena.settle()
                if arena.chance.random() < 0.5:
                    arena.remembers = False
                    arena.kill_sidecar()
                    if arena.chance.random() < 0.5:
                        arena.update()
                    arena.start_sidecar()
                    arena.settle()
            arena.remembers = False  # until the next state is written
            arena.publish()
            arena.settle()
            arena.remembers = True


def handler_late(stage: Stage) -> None:
    """Run a program that the signal would kill: it is spared, and told later."""
    with Arena(stage, mode="late") as arena:
        for _ in range(stage.rounds):
            arena.kill_program()
            arena.start_program()
            arena.settle()
            if arena.chance.random() < 0.5:
                arena.pause(0.3)
            with arena.followed_by("reload_failed", reason="unhandled"):
                arena.publish()
            if arena.chance.random() < 0.5:
                arena.update()
            arena.pause(0.5)
            arena.program.signal(signal.SIGUSR1)
            arena.settle()
            arena.update()
            arena.settle()


def volume_away(stage: Stage) -> None:
    """Take the volume's directory away and bring it back, changed or not."""
    with Arena(stage) as arena:
        here, away = arena.volume.path, arena.place / "away"
        for number in range(stage.rounds):
            arena.fault()
            here.rename(away)
            if number % 3 == 0:
                arena.pause(3.0)
            else:
                arena.pause(0.1)
            back = away
            if arena.chance.random() < 0.5:  # in another directory
                back = arena.place / "copy"
                shutil.copytree(away, back, symlinks=True)
                shutil.rmtree(away)
            arena.volume.path = back
            if arena.chance.random() < 0.7:
                arena.publish()
            arena.volume.path = here
            arena.come_back(back)
            if arena.chance.random() < 0.5:
                arena.pause(0.2)
                arena.update()
            arena.settle()


def volume_replaced(stage: Stage) -> None:
    """Put another directory in the volume's place, as a remount does."""
    with Arena(stage) as arena:
        here, there = arena.volume.path, arena.place / "there"
        for _ in range(stage.rounds):
            arena.fault()
            shutil.copytree(here, there, symlinks=True)
            arena.volume.path = there
            if arena.chance.random() < 0.7:
                arena.publish()
            arena.volume.path = here
            here.rename(arena.place / "old")
            arena.come_back(there)
            shutil.rmtree(arena.place / "old")
            arena.pause(0.2)
            arena.update()
            arena.settle()


@contextmanager
def _hoarder() -> Iterator[None]:
    """Hold every inotify instance of the uid."""
    script = Path(__file__).parent / "hoarder.py"
    with subprocess.Popen(
        [*as_user(NOBODY), sys.executable, "-I", "-S", str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as hoarder:
        assert hoarder.stdout
        hoarder.stdout.readline()
        yield
        hoarder.communicate()


def _owned(stage: Stage) -> Path:
    place = stage.place()
    os.chown(place, NOBODY, NOBODY)
    return place


@contextmanager
def _small_disk(stage: Stage) -> Iterator[Path]:
    place = stage.place()
    size = "size=64k"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "chaos", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@contextmanager
def _full(disk: Path) -> Iterator[None]:
    filler = disk / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
    except OSError:
        yield
    finally:
        filler.unlink()


@contextmanager
def _read_only(disk: Path) -> Iterator[None]:
    _remount(disk, "ro")
    try:
        yield
    finally:
        _remount(disk, "rw")


def _remount(disk: Path, how: str) -> None:
    deadline = time.monotonic() + 5
    command = ["mount", "-o", f"remount,{how}", str(disk)]
    # busy while a state is being written
    while subprocess.run(command, check=False, capture_output=True).returncode:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{disk} can't be mounted {how}")
        time.sleep(0.01)


KINDS = (
    Kind("kubelet-slow", kubelet_slow),
    Kind("sidecar-killed", sidecar_killed),
    Kind("sidecar-killed-with-state", sidecar_killed_with_state),
    Kind("sidecar-killed-calling", sidecar_killed_calling),
    Kind("sidecar-ended", sidecar_ended),
    Kind("sidecar-stopped", sidecar_stopped),
    Kind("program-killed", program_killed),
    Kind("program-stopped", program_stopped),
    Kind("handler-late", handler_late, share=6),
    Kind("pid-reused", namespace.pid_reused, missing=probes.pids),
    Kind("there-and-back", there_and_back),
    Kind("webhook-failing", webhook_failing),
    Kind("inotify-exhausted", inotify_exhausted, share=2, missing=probes.user),
    Kind("event-storm", event_storm, share=4),
    Kind("swapped-while-read", swapped_while_read, share=4),
    Kind("keys-unreadable", keys_unreadable, missing=probes.user),
    Kind("volume-away", volume_away, share=6),
    Kind("volume-replaced", volume_replaced),
    Kind("state-unwritable", state_unwritable, share=6, missing=probes.mounts),
)
