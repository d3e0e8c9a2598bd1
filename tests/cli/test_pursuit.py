"""When a pod is looked at, and when its kubelet is told to sync: numbers only."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest

from sidecar.cli.mounting import Member, Place, Use
from sidecar.cli.objects import Kind, Reference, Source
from sidecar.cli.pursuit import AGAIN, SOONEST, Pursuit
from sidecar.cli.stage import Stage, Verdict
from sidecar.cli.verdict import Answer, Target, Volume
from sidecar.status import State

SOURCE = Source(Reference(Kind.CONFIG_MAP, "site"), 0.0, frozenset(), {})
FOLLOWED = Use(SOURCE, 9533, (Place("/etc/site", "new"),))
SILENT = Verdict(Stage.SILENT, "no answer")


def pursuit(*uses: Use) -> Pursuit:
    """Return a pod of which nothing is known yet, at the time 0."""
    return Pursuit.start(Member("web-0", "uid", "node1", uses or (FOLLOWED,)), 0.0)


def holding(digest: str, state: State = State.FRESH) -> Answer:
    """Return what its sidecar says of a digest."""
    target = Target("process", state, 0, None, None, None)
    volume = Volume("/etc/site", "..1", None, digest, frozenset())
    return Answer("1", (volume,), (target,))


def saw(pod: Pursuit, said: Answer | Verdict, now: float, others: int = 0) -> Pursuit:
    """Let its one sidecar have answered."""
    return pod.saw({9533: said}, now, others)


def test_the_first_look_comes_before_the_first_sync() -> None:
    """What was there before can't be asked for afterwards."""
    begun = pursuit()
    looked = saw(begun, holding("old"), 0.1)

    assert (inf, 0.0) == (begun.annotates_at, looked.annotates_at)


def test_who_holds_it_already_is_left_alone() -> None:
    """No noise."""
    assert inf == saw(pursuit(), holding("new"), 0.1).annotates_at


def test_a_pod_without_a_swap_is_told_to_sync_again() -> None:
    """The kubelet may have synced with the object that it kept."""
    pod, told = saw(pursuit(), holding("old"), 5.0), []
    while pod.annotates_at < inf:
        at = max(pod.annotates_at, 5.0)
        told.append(at - 5.0)
        pod = saw(pod.told(at), holding("old"), at)

    assert list(AGAIN) == told


SECRET = replace(SOURCE, reference=Reference(Kind.SECRET, "tls"), changed=1000.0)
BY_TIME = Use(SECRET, 9533, (Place("/etc/site"),))


def pushed(*, ready: bool) -> Pursuit:
    """Return a pod that was told to sync as often as any, and made no swap."""
    member = Member("web-0", "uid", "node1", (BY_TIME,), ready)
    pod = saw(Pursuit.start(member, 0.0), holding("hidden"), 0.0)
    while pod.annotates_at < inf:
        at = pod.annotates_at
        pod = saw(pod.told(at), holding("hidden"), at)
    return pod


def test_who_makes_no_swap_has_nothing_to_swap() -> None:
    """Known some seconds after the last sync, and not while that is under way."""
    pod, last = pushed(ready=True), AGAIN[-1]
    early, late = saw(pod, holding(""), last + 4.0), saw(pod, holding(""), last + 5.0)

    assert [Stage.WAITING, Stage.UNCHANGED] == [
        one.verdicts[0].stage for one in (early, late)
    ]


def test_a_kubelet_that_is_perhaps_silent_proves_nothing() -> None:
    """Its node's pods are not ready then, and it brings nothing to them."""
    pod = saw(pushed(ready=False), holding(""), AGAIN[-1] + 60.0)

    assert Stage.WAITING == pod.verdicts[0].stage


def test_who_has_the_content_is_not_told_to_sync_again() -> None:
    """From then on it is the sidecar's work."""
    told = saw(pursuit(), holding("old"), 0.1).told(0.2)

    assert inf == saw(told, holding("new", State.STALE), 0.5).annotates_at


def test_a_silent_sidecar_keeps_no_kubelet_from_syncing() -> None:
    """The content must come all the same."""
    assert 0.0 == saw(pursuit(), SILENT, 0.1).annotates_at


def test_a_fresh_pod_is_looked_at_no_more() -> None:
    """Its sidecar shows nobody as fresh beside content that he never held."""
    fresh, stale = (
        saw(pursuit(), holding("new", state), 1.0)
        for state in (State.FRESH, State.STALE)
    )

    assert [(inf, 1.0), (1.0 + SOONEST, None)] == [
        (one.due, one.ended) for one in (fresh, stale)
    ]


def test_many_pods_are_looked_at_less_often_each() -> None:
    """The API server has others to serve."""
    assert [SOONEST, 6.25] == [
        saw(pursuit(), holding("old"), 0.0, others).looks_at for others in (1, 500)
    ]


def test_who_does_not_answer_is_asked_less_and_less_often() -> None:
    """An API server that is busy needs no more requests; at most 2 s, for a start."""
    pod, waits = pursuit(), []
    for _ in range(5):
        pod = saw(pod, SILENT, 10.0)
        waits.append(pod.looks_at - 10.0)
    answered = saw(pod, holding("old"), 10.0)

    assert ([0.5, 1.0, 2.0, 2.0, 2.0], SOONEST) == (waits, answered.looks_at - 10.0)


def test_what_can_be_said_at_once_is_not_waited_for() -> None:
    """A pod that needs a restart blocks nobody."""
    stuck = pursuit(Use(SOURCE, brought=False, obstacle=Verdict(Stage.RESTART)))

    assert (inf, None) == (stuck.due, stuck.ended)


def test_a_pod_without_a_sidecar_gets_its_files_all_the_same() -> None:
    """Nobody can confirm it, but nothing speaks against it."""
    alone = pursuit(Use(SOURCE, obstacle=Verdict(Stage.ALONE)))

    assert [0.0, inf] == [alone.due, alone.told(0.1).due]


def test_silence_keeps_what_was_seen_before() -> None:
    """A container that restarts is silent for a moment."""
    [verdict] = saw(saw(pursuit(), holding("old"), 0.1), SILENT, 0.2).verdicts

    assert (Stage.SILENT, "old") == (verdict.stage, verdict.digest)


@pytest.mark.parametrize("stage", [Stage.GONE, Stage.SKIPPED])
def test_the_end_leaves_alone_what_is_settled(stage: Stage) -> None:
    """One object may be fresh when the pod goes."""
    stuck = Use(SOURCE, brought=False, obstacle=Verdict(Stage.RESTART))
    over = pursuit(FOLLOWED, stuck).over(stage, "", 1.0)

    assert [stage, Stage.RESTART] == [verdict.stage for verdict in over.verdicts]
    assert inf == over.due
