"""Who starts a rollout and what holds one up, decided on values."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any  # what JSON holds

import pytest

from sidecar.rollout import (
    ANNOTATION,
    STUCK_AFTER,
    Start,
    Workload,
    decide,
    digest_of,
    obstacle,
    parse,
)

UID = "the-uid"


def workload(**changes: Any) -> Workload:
    """Return a Deployment in the middle of a rollout."""
    chosen: dict[str, Any] = {"config": "b.2", "desired": 5, "updated": 2} | changes
    return Workload("deployment/web", UID, "42", **chosen)


@pytest.mark.parametrize(
    ("own", "current", "patched"),
    [
        (None, None, "d.1"),
        ("a.1", "a.1", "d.2"),
        ("d.9", "d.9", "d.10"),
        ("by hand", "by hand", "d.1"),
        ("1.1.99999999999999999999", "1.1.99999999999999999999", "d.1"),
    ],
)
def test_a_pod_of_the_newest_rollout_starts_the_next(
    own: str | None, current: str | None, patched: str
) -> None:
    """The number rises, so that A-B-A is three templates and not two."""
    assert Start(patched, "42") == decide(own, workload(config=current), "d")


@pytest.mark.parametrize(
    ("own", "current"), [(None, "a.1"), ("a.1", "b.2"), ("a.2", "a.1"), ("a.1", None)]
)
def test_any_other_pod_is_about_to_be_replaced(
    own: str | None, current: str | None
) -> None:
    """Whatever it sees: what it patched would undo what the newest pods hold."""
    assert None is decide(own, workload(config=current), "a")


def test_a_patch_is_for_the_workload_that_was_seen() -> None:
    """Of two pods that decide at once, one gets 409 and looks again."""
    assert {
        "metadata": {"resourceVersion": "42"},
        "spec": {"template": {"metadata": {"annotations": {ANNOTATION: "d.1"}}}},
    } == Start("d.1", "42").patch()


def test_the_digest_of_a_configmap_is_shown_as_it_is() -> None:
    """It is the one of `/status`, so that both can be compared."""
    assert "d1" == digest_of([("d1", "d1")], UID, "random")


def test_a_digest_with_a_key_is_keyed_with_the_workload_too() -> None:
    """Who may read two Deployments may not thereby compare their Secrets."""
    expected = hmac.new(UID.encode(), b"keyed", hashlib.sha256).hexdigest()

    assert expected == digest_of([("d1", "keyed")], UID, "random")
    assert expected != digest_of([("d1", "keyed")], "another", "random")


def test_where_nothing_may_be_shown_the_content_makes_no_difference() -> None:
    """The UID stands in the same object, so a PIN could be tried out in a second."""
    assert "random" == digest_of([("d1", None)], UID, "random")
    assert digest_of([("d1", None), ("d", "d")], UID, "random") == digest_of(
        [("d2", None), ("d", "d")], UID, "random"
    )


def test_several_volumes_have_one_digest() -> None:
    """Each of them changes it, and so does their order."""
    both = digest_of([("d1", "d1"), ("d2", "d2")], UID, "random")

    assert both != digest_of([("d2", "d2"), ("d1", "d1")], UID, "random")
    assert both != digest_of([("d1", "d1"), ("d3", "d3")], UID, "random")


def document(**changes: Any) -> dict[str, Any]:
    """Return a Deployment of five that is in the middle of a rollout."""
    found = {
        "metadata": {"uid": UID, "resourceVersion": "42", "generation": 7},
        "spec": {"replicas": 5, "template": {"metadata": {}}},
        "status": {"observedGeneration": 7, "replicas": 6, "updatedReplicas": 2},
    }
    for part, values in changes.items():
        found[part] |= values
    return found


def test_a_workload_is_read() -> None:
    """Of all its fields those that matter."""
    template = {"metadata": {"annotations": {ANNOTATION: "b.2", "other": "x"}}}

    assert workload() == parse("deployment/web", document(spec={"template": template}))


def test_a_daemonset_counts_by_other_names() -> None:
    """It has no replicas: its nodes decide."""
    status = {
        "observedGeneration": 7,
        "desiredNumberScheduled": 3,
        "currentNumberScheduled": 3,
        "updatedNumberScheduled": 1,
    }
    found = document()
    found["status"] = status
    del found["spec"]["replicas"]
    read = parse("daemonset/web", found)

    assert (3, 1, False) == (read.desired, read.updated, read.settled)
    found["status"] = status | {"updatedNumberScheduled": 3}
    assert parse("daemonset/web", found).settled


def test_a_status_of_an_older_template_says_nothing() -> None:
    """Right after the patch it still counts the pods of before as new."""
    done = {"replicas": 5, "updatedReplicas": 5}
    late = {"type": "Progressing", "reason": "ProgressDeadlineExceeded"}
    old = document(status=done | {"observedGeneration": 6, "conditions": [late]})
    new = document(status=done | {"observedGeneration": 7, "conditions": [late]})

    before, after = parse("deployment/web", old), parse("deployment/web", new)
    assert (0, False, False) == (before.updated, before.settled, before.past_deadline)
    assert (5, True, True) == (after.updated, after.settled, after.past_deadline)


@pytest.mark.parametrize(
    "wrong",
    [{}, {"metadata": {}}, {"metadata": [], "spec": 1}, {"metadata": 1, "spec": {}}],
)
def test_what_is_no_workload_is_refused(wrong: dict[str, Any]) -> None:
    """A proxy or another API may answer anything."""
    with pytest.raises(ValueError, match="this is no deployment/web"):
        parse("deployment/web", wrong)


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (workload(paused=True), "kubectl rollout resume deployment/web"),
        (workload(on_delete=True), "delete this pod"),
        (workload(partition=4), "below its partition 4"),
        (workload(settled=True), "ROLLOUT names another workload"),
        (workload(past_deadline=True), "stuck at 2 of 5 pods"),
    ],
)
def test_what_holds_a_rollout_up_is_named_with_its_mend(
    seen: Workload, words: str
) -> None:
    """Nothing here can mend it, so somebody must be told."""
    assert words in (obstacle(seen, None, 0.0) or "")


def test_nothing_holds_up_a_rollout_that_goes_on() -> None:
    """A hint that is always there is none."""
    assert None is obstacle(workload(), None, STUCK_AFTER - 1)


def test_a_rollout_without_a_deadline_is_stuck_when_no_pod_is_replaced() -> None:
    """StatefulSets and DaemonSets never say so themselves."""
    assert "stuck at 2 of 5 pods" in (obstacle(workload(), None, STUCK_AFTER) or "")


@pytest.mark.parametrize(("ordinal", "held"), [(3, True), (4, False), (5, False)])
def test_a_partition_concerns_the_pods_below_it(ordinal: int, held: bool) -> None:
    """Pods from the partition on are replaced as ever."""
    assert held == (obstacle(workload(partition=4), ordinal, 0.0) is not None)
