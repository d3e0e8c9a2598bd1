"""One pod on its way to the content: when to look, when to make its kubelet sync.

Pure: seconds come in as arguments, counted from whatever moment the caller likes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf

from .mounting import Member, Use
from .stage import Stage, Verdict
from .verdict import Answer, Before, verdict

AGAIN = (0.0, 3.0, 10.0, 30.0)
"""When a kubelet is told to sync, in seconds after the first time.

A sync may use an object that the kubelet keeps, and then it changes nothing.
"""

SOONEST = 0.25
"""How often a pod is looked at at most, in seconds."""

_SYNCED_WITHIN = 5.0
"""A kubelet that was told to sync has done so after as many seconds; 1.5 is usual."""

_HUSHED = 3
"""How often that time is doubled, once for each time that nobody answered."""

LOOKS = 80.0
"""How often all pods together are, each second."""


@dataclass(frozen=True, slots=True)
class Pursuit:
    """One pod that is followed; every change makes a new one."""

    member: Member
    verdicts: tuple[Verdict, ...]
    """One for each use, in their order."""

    began: float
    looks_at: float = 0.0
    """When it is looked at next."""

    annotated: tuple[float, ...] = ()
    looked: bool = False
    """Whether it was looked at, with an answer or without."""

    silences: int = 0
    """How often there was no answer, since the last one."""

    generations: Mapping[str, str | None] | None = None
    """By path, before the kubelet was told anything."""

    ended: float | None = None
    """When it was seen in its last stages; None if they are its first."""

    @classmethod
    def start(cls, member: Member, now: float) -> Pursuit:
        """Begin; what can be said without a look is said."""
        verdicts = tuple(
            use.obstacle or Verdict(Stage.WAITING, path=use.places[0].path)
            for use in member.uses
        )
        return cls(member, verdicts, now, now)

    @property
    def ports(self) -> frozenset[int]:
        """Where its sidecars listen."""
        return frozenset(use.port for use in self.member.uses if use.port is not None)

    @property
    def due(self) -> float:
        """When there is something to do next; infinity: it has come to its end.

        One look that finds it there is enough: `/status` shows targets as stale before
        it shows the volume that they don't hold yet.
        """
        is_open = any(verdict.stage.open for verdict in self.verdicts)
        return min(self.annotates_at, self.looks_at if is_open else inf)

    @property
    def annotates_at(self) -> float:
        """When its kubelet is to be told to sync; infinity: not again.

        First comes a look, for what was there before.
        """
        if not self.member.brought or len(self.annotated) == len(AGAIN):
            return inf
        stages = {verdict.stage for verdict in self.verdicts}
        lacks = bool(stages & {Stage.WAITING, Stage.SILENT}) and self.looked
        if not self.annotated:
            return self.began if lacks or Stage.ALONE in stages else inf
        return self.annotated[0] + AGAIN[len(self.annotated)] if lacks else inf

    def _rests(self, now: float) -> bool:
        """Whether a kubelet that is well has by now synced with what the API has.

        It watches its objects; one that is told to keep them for a time instead asks
        anew for a pod that was patched: objectStore.AddReference.
        """
        was_told = len(self.annotated) == len(AGAIN)
        return was_told and now - self.annotated[-1] >= _SYNCED_WITHIN

    def told(self, now: float) -> Pursuit:
        """Note that its kubelet was told to sync."""
        return replace(self, annotated=(*self.annotated, now), looks_at=now + SOONEST)

    def saw(
        self, answers: Mapping[int, Answer | Verdict], now: float, others: int
    ) -> Pursuit:
        """Note what the sidecars answered, by port; `others` are followed as well."""
        before = Before(
            self.generations or {},
            len(self.annotated),
            rests=self._rests(now),
            ready=self.member.ready,
        )
        verdicts = tuple(
            _judged(use, old, answers, before)
            for use, old in zip(self.member.uses, self.verdicts, strict=True)
        )
        settled = not any(verdict.stage.open for verdict in verdicts)
        silent = any(verdict.stage is Stage.SILENT for verdict in verdicts)
        silences = self.silences + 1 if silent else 0
        known = self.generations is not None or self.annotated
        return replace(
            self,
            verdicts=verdicts,
            looked=True,
            generations=self.generations if known else _generations(answers),
            ended=now if settled else None,
            silences=silences,
            looks_at=now + max(SOONEST * 2 ** min(silences, _HUSHED), others / LOOKS),
        )

    def over(self, stage: Stage, detail: str, now: float) -> Pursuit:
        """End it: what is open becomes `stage`."""
        verdicts = tuple(
            replace(verdict, stage=stage, detail=detail)
            if verdict.stage.open
            else verdict
            for verdict in self.verdicts
        )
        return replace(self, verdicts=verdicts, ended=now)


def _judged(
    use: Use, old: Verdict, answers: Mapping[int, Answer | Verdict], before: Before
) -> Verdict:
    if use.obstacle or use.port is None:
        return old
    answer = answers[use.port]
    if isinstance(answer, Verdict):
        # what was last seen stays in sight
        return replace(old, stage=answer.stage, detail=answer.detail)
    return verdict(use, answer, before)


def _generations(
    answers: Mapping[int, Answer | Verdict],
) -> Mapping[str, str | None] | None:
    seen = [answer for answer in answers.values() if isinstance(answer, Answer)]
    if not seen:
        return None
    return {volume.path: volume.generation for one in seen for volume in one.volumes}
