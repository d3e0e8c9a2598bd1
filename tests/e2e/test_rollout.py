"""ROLLOUT on a real cluster: its Role, its projected token, and real rollouts."""

from __future__ import annotations

import json

import pytest

from tests.e2e.cluster import PACE, Document, Namespace, Pod
from tests.waiting import wait_until

TWO = "edition two\n"


def deployment(namespace: Namespace) -> Document:
    """Return the Deployment as it is."""
    text = namespace.kubectl("get", "deployment", "web", "-o", "json")
    found: Document = json.loads(text)
    return found


def rollouts(namespace: Namespace) -> int:
    """Return how many templates the Deployment has had: the first is no rollout."""
    notes = deployment(namespace)["metadata"]["annotations"]
    return int(notes["deployment.kubernetes.io/revision"]) - 1


def config(namespace: Namespace) -> str:
    """Return what the pod template says of the configuration."""
    metadata = deployment(namespace)["spec"]["template"]["metadata"]
    notes = metadata.get("annotations", {})
    return str(notes.get("config-reload-sidecar/config", ""))


def all_serve(namespace: Namespace, text: str) -> bool:
    """Whether all replicas are there, serve it, and are fresh."""
    pods = namespace.pods()
    return len(pods) == 5 and all(
        pod.answer(8080) == text and pod.states() == {"rollout": "fresh"}
        for pod in pods
        if pod.answer(9533, "/readyz")
    )


def wait_until_rolled(namespace: Namespace, text: str) -> None:
    """Wait until all replicas are new and serve it, and it stays so."""
    wait_until(lambda: all_serve(namespace, text), f"all serve {text!r}", 2 * PACE)
    namespace.kubectl("rollout", "status", "deployment/web", "--timeout=120s")
    assert all_serve(namespace, text)


@pytest.fixture
def five(namespace: Namespace) -> list[Pod]:
    """Five replicas that read edition one."""
    namespace.apply("rollout", {})
    namespace.kubectl("rollout", "status", "deployment/web", "--timeout=120s")
    pods = namespace.pods()
    for pod in pods:
        pod.wait_until_fresh()
    return pods


def test_five_replicas_are_rolled_once(namespace: Namespace, five: list[Pod]) -> None:
    """All see the change within seconds, and one of them starts the rollout."""
    namespace.edit("web", "edition one", "edition two")
    for pod in five:
        pod.sync()

    wait_until_rolled(namespace, TWO)
    assert 1 == rollouts(namespace)
    assert config(namespace).endswith(".1")


def test_replicas_that_see_it_late_start_no_second_rollout(
    namespace: Namespace, five: list[Pod]
) -> None:
    """The others' kubelet brings it when it comes round."""
    namespace.edit("web", "edition one", "edition two")
    for pod in five[:2]:
        pod.sync()

    wait_until_rolled(namespace, TWO)
    assert 1 == rollouts(namespace)


def test_content_that_goes_there_and_back_ends_where_it_was(
    namespace: Namespace, five: list[Pod]
) -> None:
    """Whoever read what was there in between is replaced once more, and that is all."""
    namespace.edit("web", "edition one", "edition two")
    five[0].sync()
    wait_until(lambda: config(namespace), "the rollout has begun", PACE)
    namespace.edit("web", "edition two", "edition one")

    wait_until_rolled(namespace, "edition one\n")
    assert rollouts(namespace) in (1, 2)


def test_a_missing_role_is_named_and_the_change_waits_for_it(
    namespace: Namespace, five: list[Pod]
) -> None:
    """Nothing is lost: the rollout starts when somebody binds the Role."""
    binding = namespace.kubectl("get", "rolebinding", "web-config-reload", "-o", "json")
    namespace.kubectl("delete", "rolebinding", "web-config-reload")
    namespace.edit("web", "edition one", "edition two")
    five[0].sync()
    hint = wait_until(lambda: five[0].target("rollout")["hint"], "it says why", PACE)

    assert "get and patch on deployments of apps, resourceNames [web]" in hint
    assert "forbidden" in five[0].target("rollout")["last_error"]
    kept = {k: json.loads(binding)[k] for k in ("apiVersion", "kind", "roleRef")}
    subjects = json.loads(binding)["subjects"]
    namespace.create(
        kept | {"metadata": {"name": "web-config-reload"}, "subjects": subjects}
    )
    wait_until_rolled(namespace, TWO)
    assert 1 == rollouts(namespace)


def test_the_program_has_no_token(five: list[Pod]) -> None:
    """Who breaks into it must not be able to patch the Deployment."""
    with pytest.raises(RuntimeError, match="No such file"):
        five[0].exec("nginx", "ls", "/var/run/secrets/kubernetes.io")
