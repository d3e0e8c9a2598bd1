"""What the contract lets the sidecar do: who is known to hold what, kept independently.

It hears what happens in the world and what the sidecar does about it, and objects when
somebody is told who is known to hold the content, or when content is taken as settled
too early. Where the contract leaves a margin it takes the one that objects less; that
nobody is left out is not decided here but in the world, by what was really read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from math import inf

from .incarnation import Choices, Witness
from .world import TICK, Content, Hook, Program, Volume, World

GRACE = 0.05
PATIENCE = 120.0
LONGEST_DEBOUNCE = 5.0
TELLINGS = 4
COARSE = 0.01
"""How much later than its ctime a file may have changed."""

_SLACK = 1e-5

Who = Program | Hook


class Expectation(Witness):
    """The model. Times are CLOCK_BOOTTIME, in seconds."""

    def __init__(self, world: World, choices: Choices) -> None:
        self._world = world
        self._choices = choices
        self._contents: dict[str, Content] = {}
        self._generations: dict[str, str] = {}
        self._remembered: dict[str, str] = {}
        self._bounds: dict[str, float] = {}
        """At the latest then the newest swap of each volume was noticed."""

        self._voided_at = -inf
        self._void_at_start = False
        self._stepped = False
        """Whether the clock was set since the state was saved."""

        self._first_touch: float | None = None
        """Since when a volume may show what did not settle."""

        self._started_at = -inf
        self._changed_early = False
        """Whether a volume changed before every other one had settled once."""

        self._drained = -inf
        self._quiet_until: float | None = None
        """When events were taken the last time before those that did not settle."""

        self._noticed = -inf
        self._looks = (-inf, -inf)
        self._watch_doubtful = False
        self._confirmed: dict[Who, float] = {}
        self._tellings: defaultdict[Who, int] = defaultdict(int)
        self._rejections: defaultdict[str, int] = defaultdict(int)
        self._pending: defaultdict[str, list[Who]] = defaultdict(list)
        self.excused: set[Who] = set()
        """Who may be left stale: nobody could know better."""

        self.owed: set[Who] = set()
        """Who is to be told, fresh or not."""

        self._recalled: set[str] = set()
        """Targets that were being told when SIGHUP came."""

        self.told_count = 0
        world.told = self._told
        world.touched = self._touched

    # What happens in the world.

    def started(self, saved_offset: float | None) -> None:
        """A sidecar starts, with the state of the one before it or without (None)."""
        world = self._world
        catch_up = self._choices.catch_up
        remembers = saved_offset is not None
        self._stepped = saved_offset not in (None, world.offset)
        doubts = self._stepped and catch_up != "never"
        self._void_at_start = catch_up == "always" or doubts
        self._remembered = {}
        if remembers and not self._void_at_start:
            self._remembered = dict(self._generations)
        else:
            self._contents, self._bounds = {}, {}
            self._confirmed = {}
        self._generations = {}
        self._started_at = world.now
        self._changed_early = False
        self._drained, self._quiet_until = -inf, None
        self._noticed = -inf
        self._voided_at = -inf
        self._watch_doubtful = world.watching != "events"
        self._forgive()

    def ended(self) -> None:
        """The sidecar ended, and forgot what it was asked for.

        Who was told after an event that did not settle may have read more than what
        settled before; that is not remembered.
        """
        self.owed = set()
        self._recalled = set()
        quiet = inf if self._quiet_until is None else self._quiet_until
        self._confirmed = {w: at for w, at in self._confirmed.items() if at < quiet}

    def _forgive(self) -> None:
        """Let everybody who is not known to hold the content be told from anew."""
        self._tellings.clear()
        self._rejections.clear()
        self._pending.clear()

    def hangup(self, telling: Collection[str]) -> None:
        """SIGHUP to the sidecar: everybody who is there may be told.

        Who is being told just now may be told once more after that.
        """
        self._recalled = {*telling}
        self._confirmed = {}
        self._voided_at = self._world.now
        self.owed = {*self.programs(), *self._world.hooks}
        self._forgive()

    def _recall(self, target: str) -> None:
        """An attempt ended that was under way when SIGHUP came."""
        self._recalled.discard(target)
        everybody: list[Who] = [*self.programs(), *self._world.hooks]
        them = {who for who in everybody if self._name(who) == target}
        self._confirmed = {w: at for w, at in self._confirmed.items() if w not in them}
        self._voided_at = self._world.now
        self.owed |= them
        self._rejections[target] = 0
        self._pending[target].clear()
        for who in them:
            self._tellings[who] = 0

    @property
    def begun(self) -> bool:
        """Whether every volume has settled since the sidecar started."""
        return len(self._generations) == len(self._world.volumes)

    def watch_changed(self) -> None:
        self._watch_doubtful = True

    def _touched(self) -> None:
        if self._first_touch is None:
            self._first_touch = self._world.now

    # What the sidecar does.

    def drained(self, *, noticed: bool) -> None:
        if noticed:
            self._noticed = self._world.now
            if self._quiet_until is None:  # an event does not tell how old it is
                self._quiet_until = self._drained
        self._drained = self._world.now

    def settled(self, path: str, generation: str) -> None:
        if self._generations.get(path) != generation:
            volume = next(v for v in self._world.volumes if v.path == path)
            self._settled(volume, generation)
        if all(
            v.whole and self._generations.get(v.path) == v.kubelet.generation
            for v in self._world.volumes
        ):
            self._first_touch = self._quiet_until = None
            self._watch_doubtful = self._world.watching != "events"
            if self._world.now > self._looks[1]:
                self._looks = (self._looks[1], self._world.now)

    def _settled(self, volume: Volume, generation: str) -> None:
        first = volume.path not in self._generations
        self._check_not_early(volume, generation, first=first)
        bound = self._bound(volume, generation, first=first)
        before = self._contents.get(volume.path)
        content = volume.content[generation]
        unmoved = first and self._remembered.get(volume.path) == generation
        never = first and self._choices.catch_up == "never"
        if before != content and not never:
            self._confirmed = {}
            self.owed = set()
            self._forgive()
            if not first:
                self.excused = set()
                self._changed_early = self._changed_early or not self.begun
        elif not unmoved and not never:
            self._disturbed(by_start=not first)
        self._contents[volume.path] = content
        self._generations[volume.path] = generation
        self._bounds[volume.path] = bound
        if first:
            self._caught_up(volume, generation)

    def _check_not_early(self, volume: Volume, generation: str, *, first: bool) -> None:
        now = self._world.now + _SLACK
        debounce = self._choices.debounce
        assert volume.kubelet.generation == generation, "settled what is gone"
        # a link may have dangled since long before the start
        old = first and now >= volume.swapped[generation] + PATIENCE
        stepped = self._world.stepped_at >= volume.swapped[generation]
        old = old or (first and stepped)
        assert volume.whole or old, "settled in the middle of an update"
        if first:  # of events before the start only their traces are seen
            quiet = now - volume.swapped[generation] + COARSE
            patient = now >= self._started_at + LONGEST_DEBOUNCE
            assert stepped or patient or quiet >= debounce, f"{quiet:.3f} s is early"
        elif self._noticed >= volume.touched:
            since = self._first_touch or -inf
            quiet = now - volume.touched
            assert quiet >= debounce or now >= since + LONGEST_DEBOUNCE, (
                f"settled {quiet:.3f} s after the last event"
            )
        if not first and self._contents[volume.path] and not volume.shown():
            emptied = self._first_touch or inf
            assert now >= emptied + PATIENCE, "took emptiness for content"

    def _bound(self, volume: Volume, generation: str, *, first: bool) -> float:
        world = self._world
        if first and self._noticed == -inf and not self._watch_doubtful:
            if self._remembered.get(volume.path) == generation:
                return self._bounds[volume.path]
            return min(volume.changed[generation] - world.offset, world.now)
        if self._noticed >= volume.touched and not self._watch_doubtful:
            return self._noticed
        return world.now

    def _disturbed(self, *, by_start: bool) -> None:
        """Equal content was swapped in: who may have read something else is told.

        Who started with it and was not looked at before a restart of the sidecar is
        among them, because nothing was established of him.
        """
        touched = self._first_touch if self._first_touch is not None else -inf
        if self._watch_doubtful:  # it may have happened at any time since then
            before = self._looks[self._looks[1] < self._world.now]
            touched = min(touched, before)
        elif self._quiet_until is not None:
            touched = min(touched, self._quiet_until)
        kept = {who: at for who, at in self._confirmed.items() if at < touched}
        for program in self.programs():
            fresh = by_start and self._started_fresh(program)
            if fresh and program.born < touched - GRACE - TICK:
                kept[program] = program.born
        self._confirmed = kept
        self._forgive()

    def _caught_up(self, volume: Volume, generation: str) -> None:
        """Take note of what a start implies, by `CATCH_UP` and the files' times."""
        world = self._world
        everybody: list[Who] = [*self.programs(), *world.hooks]
        if self._stepped:  # then the files' times say nothing
            self._bounds[volume.path] = world.now
        if self._void_at_start:
            self._voided_at = world.now
            if self._choices.catch_up == "always":
                self.owed.update(everybody)
        elif self._choices.catch_up == "never" and not self._changed_early:
            self.excused.update(everybody)
            self._confirmed.update(dict.fromkeys(everybody, world.now))
        swapped = volume.swapped[generation]
        shown = volume.changed[generation] - world.offset
        if shown + GRACE < swapped and not self._void_at_start:
            self.excused.update(  # the clock was set since, and nothing tells it
                who
                for who in everybody
                if isinstance(who, Hook) or shown <= who.counts_from <= swapped + GRACE
            )

    def _told(self, who: Who) -> None:
        self.told_count += 1
        assert not self.knows(who), f"told {who}, who is known to hold the content"
        self._check_still(who)
        name = self._name(who)
        self._tellings[who] += 1
        allowed: float = 1 + self._rejections[name] if self._choices.verify else 1
        if isinstance(who, Hook):  # what was not confirmed may be asked again
            allowed = inf if self._rejections[name] < TELLINGS else 0
        times = self._tellings[who]
        assert times <= min(allowed, TELLINGS) or allowed == inf, f"told {who} again"
        self.excused.discard(who)
        self.owed.discard(who)
        self._pending[name].append(who)

    @staticmethod
    def _name(who: Who) -> str:
        return "process" if isinstance(who, Program) else who.name

    def _check_still(self, who: Who) -> None:
        """Nobody is told, not even once more, while something is being written."""
        now = self._world.now + _SLACK
        newest = max(volume.touched for volume in self._world.volumes)
        if self._first_touch is None or self._noticed < newest:
            return
        if now < self._first_touch + LONGEST_DEBOUNCE:
            still = now >= newest + self._choices.debounce
            assert still, f"told {who}, before the volumes were still"
            whole = all(volume.whole for volume in self._world.volumes)
            assert whole, f"told {who}, while a volume was not whole"

    def attempt_ended(self, target: str, result: str) -> None:
        told = self._pending[target]
        doubted = result == "rejected" and self._choices.verify
        if doubted:
            self._rejections[target] += 1
        elif result != "abandoned" and not (result == "failed" and target != "process"):
            took = [who for who in told if isinstance(who, Hook) or who.alive]
            self._confirmed.update(dict.fromkeys(took, self._world.now))
        if result != "failed" or not doubted:
            told.clear()
        if target in self._recalled:
            self._recall(target)

    # Verdicts.

    def knows(self, who: Who) -> bool:
        """Whether somebody is known to hold the settled content."""
        if who in self._confirmed:
            return True
        return isinstance(who, Program) and self._started_fresh(who)

    def _started_fresh(self, program: Program) -> bool:
        if len(self._bounds) < len(self._world.volumes):
            return False
        bound = max(self._voided_at, *self._bounds.values())
        return program.counts_from >= bound + GRACE + _SLACK

    def programs(self) -> list[Program]:
        """Return the processes that the selector means."""
        matching = [p for p in self._world.programs.values() if p.name == "app"]
        if not self._choices.processes:
            return []
        if self._choices.select == "all":
            return matching
        return [p for p in matching if not any(a.name == "app" for a in p.ancestors())]
