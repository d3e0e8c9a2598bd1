"""Who may signal whom, by a real kubelet's idea of uids and capabilities."""

from __future__ import annotations

from tests.e2e.cluster import PACE, Namespace
from tests.waiting import wait_until


def sidecar(**security: object) -> dict[str, object]:
    """Return a change of the sidecar's `securityContext`, beside nginx of uid 101."""
    container = {"name": "config-reload", "securityContext": security}
    return {"containers": [container]}


def test_root_with_kill_may_signal_any_uid(namespace: Namespace) -> None:
    """For a pod whose containers can't have one uid."""
    pod = namespace.start(
        "restricted.yaml",
        sidecar(
            runAsUser=0,
            runAsGroup=0,
            runAsNonRoot=False,
            capabilities={"drop": ["ALL"], "add": ["KILL"]},
        ),
    )

    pod.update("web", "edition one", "edition two")

    pod.wait_until_served("edition two\n")
    assert [101] == [each["uid"] for each in pod.target("process")["processes"]]


def test_the_status_explains_that_kill_does_nothing_for_who_is_not_root(
    namespace: Namespace,
) -> None:
    """Kubernetes accepts the capability, and gives it no effect: nobody says so."""
    pod = namespace.start(
        "restricted.yaml",
        sidecar(runAsUser=65532, capabilities={"drop": ["ALL"], "add": ["KILL"]}),
    )

    pod.update("web", "edition one", "edition two")

    wait_until(lambda: pod.target("process")["last_error"], "it is refused", PACE)
    target = pod.target("process")
    assert "stale" == target["state"]
    assert "was refused: this container runs as uid 65532" in target["last_error"]
    assert "set runAsUser: 101 for this container" in target["hint"]
    assert "KILL does nothing for a container that is not root" in target["hint"]
    assert "edition one\n" == pod.get(8080)
    assert {"nginx": 0, "config-reload": 0} == pod.restarts()


def test_the_status_explains_that_the_process_namespace_is_not_shared(
    namespace: Namespace,
) -> None:
    """The most frequent mistake, and the one that looks like a wrong name."""
    pod = namespace.start("restricted.yaml", {"shareProcessNamespace": None})

    pod.update("web", "edition one", "edition two")

    wait_until(lambda: pod.target("process")["last_error"], "nobody is found", PACE)
    assert "set shareProcessNamespace: true" in pod.target("process")["hint"]
    assert "edition one\n" == pod.get(8080)
