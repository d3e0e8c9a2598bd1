"""Random histories of a pod: nothing is lost, nobody is harmed, nobody is told twice.

The world is simulated, the decisions are the sidecar's own. A history is a row of
updates, faults and waits; now and then everything is mended and given time, and then
every live target must run the newest content, or be stale with a reason that the
contract allows.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import currently_in_test_context, note, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
)

from sidecar.status import State
from tests.kubelet import Order

from .expectation import Expectation
from .incarnation import Choices, Incarnation
from .world import BAD, Hook, Mood, Program, Volume, Watching, World, is_bad

LONG_ENOUGH = 600.0
QUIET = 300.0
MOST_PROGRAMS = 10
"""PIDs are few, so that they are soon used again."""

files = st.dictionaries(
    st.sampled_from(["a", "b", "c"]), st.sampled_from(["1", "2"]), min_size=1
)
choices = st.builds(
    Choices,
    processes=st.sampled_from([True, True, True, False]),
    select=st.sampled_from(["root", "all"]),
    verify=st.booleans(),
    state=st.booleans(),
    catch_up=st.sampled_from([*["auto"] * 6, "always", "never"]),
    debounce=st.sampled_from([0.2, 0.0]),
    poll_interval=st.sampled_from([30.0, 7.0]),
    min_interval=st.sampled_from([0.0, 5.0]),
    jitter=st.sampled_from([0.0, 2.0]),
    pidfds=st.booleans(),
)
number = st.integers(0, 7)
short = st.sampled_from([0.0, 0.03, 0.1, 0.19, 0.21, 0.3, 1.0])
step = st.sampled_from([-3600.0, -1.0, 1.0, 3600.0])
seldom = st.sampled_from([*[0.0] * 8, -3600.0, -1.0, 1.0, 3600.0])
gap = st.sampled_from([0.0, 0.0, 0.1, 0.5, 6.0])


class Pod(RuleBasedStateMachine):
    """One history."""

    def __init__(self) -> None:
        super().__init__()
        memory = Path("/dev/shm")  # noqa: S108  # where it is quick, if it is there
        self.directory = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
        self.patch = pytest.MonkeyPatch()
        self.sidecar: Incarnation | None = None
        self.logs: list[str] = []

    @initialize(
        choices=choices,
        volumes=st.integers(1, 2),
        hooks=st.integers(0, 2),
        order=st.sampled_from(["links-after", "links-before"]),
        under_shell=st.booleans(),
        content=files,
        beforehand=st.booleans(),
    )
    def begin(
        self,
        choices: Choices,
        volumes: int,
        hooks: int,
        order: str,
        under_shell: bool,
        content: Mapping[str, str],
        beforehand: bool,
    ) -> None:
        """A pod starts: its volumes, its sandbox, its programs, the sidecar."""
        self.choices = choices
        self.state = self.directory / "state" if choices.state else None
        if self.state:
            self.state.mkdir()
        order_of_links: Order = (
            "links-after" if order == "links-after" else "links-before"
        )
        self.world = world = World(self.directory, volumes, order_of_links)
        world.refuses_quietly = choices.verify
        world.masters_renew = choices.select == "root"
        self.expectation = Expectation(world, choices)
        for volume in world.volumes:
            world.update(volume, content)
        world.advance(1.0)
        world.add_hooks(max(hooks, 0 if choices.processes else 1))
        if beforehand:
            shell = world.start("sh") if under_shell else None
            world.start("app", shell)
        self.start_sidecar()

    # The volumes.

    @rule(which=number, content=files, between=gap, after=short)
    def update(
        self, which: int, content: Mapping[str, str], between: float, after: float
    ) -> None:
        self.world.update(self._volume(which), content, between)
        self.world.advance(after)

    @rule(which=number, key=st.sampled_from(["a", "b"]), after=short)
    def break_it(self, which: int, key: str, after: float) -> None:
        volume = self._volume(which)
        self.world.update(volume, dict(volume.shown()) | {key: BAD})
        self.world.advance(after)

    @rule(
        which=number,
        content=files,
        start=st.booleans(),
        parent=st.none() | number,
        between=short,
        after=short,
    )
    def there_and_back(
        self,
        which: int,
        content: Mapping[str, str],
        start: bool,
        parent: int | None,
        between: float,
        after: float,
    ) -> None:
        """A-B-A; a program may start when B is there."""
        volume = self._volume(which)
        before = dict(volume.shown())
        self.world.update(volume, content)
        self.world.advance(between)
        if start:
            self._start(parent)
        self.world.update(volume, before)
        self.world.advance(after)

    @rule(
        which=number,
        content=files,
        parent=st.none() | number,
        orphan=st.booleans(),
        between=st.sampled_from([0.06, 0.1, 0.15, 0.3]),
        after=short,
    )
    def start_just_after_an_update(
        self,
        which: int,
        content: Mapping[str, str],
        parent: int | None,
        orphan: bool,
        between: float,
        after: float,
    ) -> None:
        """A program reads the new content by itself, a worker has its master's."""
        self.world.update(self._volume(which), content)
        self.world.advance(between)
        program = self._start(parent)
        if orphan and program and program.parent:
            self.world.end(program.parent, orphans=True)
        self.world.advance(after)

    @precondition(lambda self: len(self.world.volumes) > 1)
    @rule(
        which=number,
        content=files | st.just({}),
        other=files,
        between=short | st.just(50.0),
        after=short,
    )
    def there_and_back_beside_another(
        self,
        which: int,
        content: Mapping[str, str],
        other: Mapping[str, str],
        between: float,
        after: float,
    ) -> None:
        """One volume is not settled while another one's content is told."""
        volume = self._volume(which)
        before = dict(volume.shown())
        self.world.update(volume, content)
        self.world.advance(between)
        self.world.update(self._volume(which + 1), other)
        self.world.advance(between)
        self.world.update(volume, before)
        self.world.advance(after)

    @rule(which=number, after=short)
    def update_with_equal_content(self, which: int, after: float) -> None:
        volume = self._volume(which)
        self.world.update(volume, dict(volume.shown()))
        self.world.advance(after)

    @rule(which=number, after=short)
    def delete_the_object(self, which: int, after: float) -> None:
        self.world.update(self._volume(which), {})
        self.world.advance(after)

    # The targets.

    @precondition(lambda self: len(self.world.programs) < MOST_PROGRAMS)
    @rule(
        parent=st.none() | number,
        shell=st.booleans(),
        handler_after=st.sampled_from([0.0, 0.0, 0.5, 40.0]),
        ignores=st.sampled_from([False, False, False, False, True]),
        delay=st.sampled_from([0.0, 0.0, 0.1]),
        after=short,
    )
    def start_program(
        self,
        parent: int | None,
        shell: bool,
        handler_after: float,
        ignores: bool,
        delay: float,
        after: float,
    ) -> None:
        above = None
        if parent is not None:
            above = self._program(parent)
        elif shell:
            above = self.world.start("sh")
        self.world.start(
            "app", above, handler_after=handler_after, ignores=ignores, delay=delay
        )
        self.world.advance(after)

    @rule(which=number, orphans=st.booleans(), after=short)
    def end_program(self, which: int, orphans: bool, after: float) -> None:
        if program := self._program(which):
            self.world.end(program, orphans=orphans)
        self.world.advance(after)

    @rule(which=number, after=short)
    def restart_program(self, which: int, after: float) -> None:
        if program := self._program(which):
            self.world.end(program)
            self.world.advance(after)
            parent = program.parent
            self.world.start(program.name, parent if parent and parent.alive else None)

    @precondition(lambda self: self.world.hooks)
    @rule(
        which=number,
        mood=st.sampled_from(["well", "slow", "refusing", "silent", "forgetful"]),
    )
    def change_hook(self, which: int, mood: Mood) -> None:
        hooks = self.world.hooks
        hooks[which % len(hooks)].mood = mood

    # The sidecar.

    @precondition(lambda self: self.sidecar is None)
    @rule(after=short)
    def start_again(self, after: float) -> None:
        self.start_sidecar()
        self.world.advance(after)

    @precondition(lambda self: self.sidecar)
    @rule(after=short)
    def kill(self, after: float) -> None:
        self._end_sidecar()
        self.world.advance(after)

    @precondition(lambda self: self.sidecar)
    @rule(which=number, content=files, step=seldom, after=short)
    def miss_an_update(
        self, which: int, content: Mapping[str, str], step: float, after: float
    ) -> None:
        """The sidecar is killed, and another one finds what it did not see."""
        self._end_sidecar()
        self.world.update(self._volume(which), content)
        self.world.advance(after)
        if step:
            self.world.step_clock(step)
        self.start_sidecar()
        self.world.advance(after)

    @precondition(lambda self: self.sidecar)
    @rule(which=number, content=files, back=st.booleans(), after=short)
    def die_while_telling(
        self, which: int, content: Mapping[str, str], back: bool, after: float
    ) -> None:
        """Somebody was told, and nobody lives to remember it."""
        assert self.sidecar
        volume = self._volume(which)
        before = dict(volume.shown())
        self.sidecar.die_when_telling()
        self.world.update(volume, content)
        self.world.advance(6.0)
        self._end_sidecar()
        if back:
            self.world.update(volume, before)
        self.world.advance(after)
        self.start_sidecar()

    @precondition(lambda self: self.sidecar)
    @rule()
    def terminate(self) -> None:
        assert self.sidecar
        self.sidecar.stop()
        self.world.advance(6.0)
        if not self.sidecar.frozen:
            assert self.sidecar.over, "SIGTERM took longer than SHUTDOWN_TIMEOUT"
        self._end_sidecar()

    @precondition(
        lambda self: self.sidecar and self.expectation.begun and not self.sidecar.frozen
    )
    @rule(after=short)
    def hangup(self, after: float) -> None:
        assert self.sidecar
        self.expectation.hangup(self.sidecar.telling())
        self.sidecar.hangup()
        self.world.advance(after)

    @precondition(lambda self: self.sidecar)
    @rule(seconds=st.sampled_from([0.1, 1.0, 20.0]))
    def freeze(self, seconds: float) -> None:
        assert self.sidecar
        self.sidecar.freeze(seconds)

    @precondition(lambda self: self.sidecar is None and self.state)
    @rule(damage=st.booleans())
    def lose_state(self, damage: bool) -> None:
        assert self.state
        file = self.state / "state.json"
        if damage:
            file.write_text('{"version": 1')
        else:
            file.unlink(missing_ok=True)

    # The machine.

    @rule(seconds=st.sampled_from([0.01, 0.05, 0.2, 1.0, 5.0, 31.0, 130.0]))
    def wait(self, seconds: float) -> None:
        self.world.advance(seconds)

    @precondition(lambda self: self.sidecar)
    @rule(before=st.sampled_from([0.0, 0.02, 0.1, 0.25]))
    def wait_until_just_before_it_is_due(self, before: float) -> None:
        assert self.sidecar
        wait = self.sidecar.due - self.world.now - before
        if 0 < wait <= 130:
            self.world.advance(wait)

    @rule(seconds=step)
    def step_clock(self, seconds: float) -> None:
        self.world.step_clock(seconds)

    @rule(watching=st.sampled_from(["events", "overflow", "limit", "blind"]))
    def change_watching(self, watching: Watching) -> None:
        if watching == "blind" and not self.choices.poll_interval:
            return  # then nobody could know
        self._watch(watching)

    # What must hold.

    @rule()
    def mend_everything(self) -> None:
        """Let everything come to rest; nobody is stale without a reason."""
        self._mend()
        self.world.advance(LONG_ENOUGH)
        self._check_nothing_lost()
        self._check_quiet()

    def teardown(self) -> None:
        try:
            # hypothesis calls this after a failure too, whose word comes first
            if sys.exc_info()[0] is None and hasattr(self, "expectation"):
                self.mend_everything()
        finally:
            self._show_logs()
            if self.sidecar:
                self.sidecar.kill()
            self.patch.undo()
            shutil.rmtree(self.directory)

    def _show_logs(self) -> None:
        if self.sidecar:
            self.logs.append(self.sidecar.log())
        for log in self.logs if currently_in_test_context() else ():
            note("\n".join(line[:150] for line in log.splitlines()[-40:]))

    def _mend(self) -> None:
        for hook in self.world.hooks:
            hook.mood = "well"
        if self.sidecar is None:
            self.start_sidecar()

    def _check_nothing_lost(self) -> None:
        assert [] == self.world.harmed
        view = self.world.view()
        if self.world.refuses_quietly and is_bad(view):
            return  # all of them rejected it
        reachable = True
        everybody: list[Program | Hook]
        everybody = [*self.expectation.programs(), *self.world.hooks]
        for who in everybody:
            if isinstance(who, Program) and (
                who.ignores or self.world.now < who.handles_from
            ):
                reachable = False
            elif who not in self.expectation.excused:
                assert view == who.holds, f"{who} is stale"
                assert who not in self.expectation.owed, f"{who} was not told"
        self._check_honest(reachable)

    def _check_honest(self, reachable: bool) -> None:
        assert self.sidecar
        for target in self.sidecar.status().targets:
            if target.name != "process":
                assert State.FRESH == target.state, target
            elif not self.expectation.programs():
                assert State.UNKNOWN == target.state, target
            elif reachable:
                assert State.FRESH == target.state, target

    def _check_quiet(self) -> None:
        """When nothing happens nobody is told, and the sidecar sleeps."""
        assert self.sidecar
        told, turns = self.expectation.told_count, self.sidecar.turns
        self.world.advance(QUIET)
        assert told == self.expectation.told_count
        if self.world.watching != "limit" and self._all_reachable():
            polls = QUIET / self.choices.poll_interval
            assert self.sidecar.turns <= turns + polls + 5, "it does not sleep"

    def _all_reachable(self) -> bool:
        programs = self.expectation.programs()
        return bool(programs or not self.choices.processes) and not any(
            p.ignores or self.world.now < p.handles_from for p in programs
        )

    # What the rules share.

    def start_sidecar(self) -> None:
        self.expectation.started(self._saved_offset())
        self.sidecar = Incarnation(
            self.world, self.expectation, self.choices, self.state, self.patch
        )
        self.world.observer = self.sidecar

    def _saved_offset(self) -> float | None:
        """Return the clocks' offset when a state was saved; None: there is none."""
        if self.state is None:
            return None
        try:
            return float(json.loads((self.state / "state.json").read_text())["offset"])
        except (FileNotFoundError, ValueError):
            return None

    def _end_sidecar(self) -> None:
        assert self.sidecar
        self.logs.append(self.sidecar.log())
        self.sidecar.kill()
        self.world.observer = None
        self.expectation.ended()
        self.sidecar = None

    def _watch(self, watching: Watching) -> None:
        lost = "limit" in (watching, self.world.watching)
        self.world.watching = watching
        self.expectation.watch_changed()
        if lost and self.sidecar:
            self.sidecar.watch_lost()

    def _start(self, parent: int | None) -> Program | None:
        if len(self.world.programs) >= MOST_PROGRAMS:
            return None
        above = None if parent is None else self._program(parent)
        return self.world.start("app", above)

    def _volume(self, number: int) -> Volume:
        return self.world.volumes[number % len(self.world.volumes)]

    def _program(self, number: int) -> Program | None:
        programs = [p for p in self.world.programs.values() if p.name == "app"]
        return programs[number % len(programs)] if programs else None


TestPod = Pod.TestCase
