"""ROLLOUT on a real cluster: its Role, its projected token, and real rollouts."""

from __future__ import annotations

import json
import time

import pytest

from tests.e2e.cluster import PACE, Document, Namespace, Pod
from tests.e2e.test_restarts import end
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


def digest(pod: Pod) -> str:
    """Return the digest of what the pod has mounted, as its sidecar has seen it."""
    return str(pod.status()["volumes"][0]["digest"])


def holds(pod: Pod, text: str) -> bool:
    """Whether the program serves it and the sidecar knows that it is the newest."""
    status = pod.answer(9533, "/status") or '{"targets": []}'
    states = [target["state"] for target in json.loads(status)["targets"]]
    return pod.answer(8080) == text and states == ["fresh"]


def all_hold(namespace: Namespace, text: str) -> bool:
    """Whether all five replicas do, and no other pod is left."""
    pods = namespace.pods()
    return len(pods) == 5 and all(holds(pod, text) for pod in pods)


def wait_until_rolled(namespace: Namespace, text: str) -> None:
    """Wait until all replicas are new and hold it, and it stays so."""
    wait_until(lambda: all_hold(namespace, text), f"all hold {text!r}", 2 * PACE)
    namespace.kubectl("rollout", "status", "deployment/web", "--timeout=120s")
    assert all_hold(namespace, text)


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


def test_replicas_that_see_it_20_s_later_start_no_second_rollout(
    namespace: Namespace, five: list[Pod]
) -> None:
    """Kubelets differ by a minute; here it is seen to that three of five are late.

    The rollout is paused so long, or nobody would be left to see the change late.
    """
    early, late = five[:2], five[2:]
    old = digest(five[0])
    namespace.kubectl("rollout", "pause", "deployment/web")
    namespace.edit("web", "edition one", "edition two")
    for pod in early:
        pod.sync()
    wait_until(lambda: old not in map(digest, early), "two have seen it", PACE)
    seen = time.monotonic()
    wait_until(lambda: config(namespace), "one of them has begun", PACE)
    wait_until(lambda: time.monotonic() > seen + 20, "20 s have gone by", PACE)

    sooner = "it takes a cluster whose kubelets sync as by default, every 60 s or more"
    assert [old] * 3 == [digest(pod) for pod in late], sooner
    for pod in late:
        pod.sync()
    wait_until(lambda: old not in map(digest, late), "the others have, too", PACE)
    hints = wait_until(lambda: all_hints(late), "they say what they wait for", PACE)
    namespace.kubectl("rollout", "resume", "deployment/web")

    paused = "deployment/web is paused: kubectl rollout resume deployment/web"
    assert [paused] * 3 == hints
    wait_until_rolled(namespace, TWO)
    assert 1 == rollouts(namespace)
    assert config(namespace).endswith(".1")


def all_hints(pods: list[Pod]) -> list[str] | None:
    """Return what each pod says of its rollout, once all do."""
    hints = [pod.target("rollout")["hint"] for pod in pods]
    return hints if all(hints) else None


def test_content_that_goes_there_and_back_ends_where_it_was(
    namespace: Namespace, five: list[Pod]
) -> None:
    """A pod that started on what was there in between is replaced, too."""
    namespace.edit("web", "edition one", "edition two")
    five[0].sync()
    between = wait_until(lambda: serving(namespace, TWO), "a new pod serves it", PACE)
    namespace.edit("web", "edition two", "edition one")
    for pod in between:
        pod.sync()

    wait_until_rolled(namespace, "edition one\n")
    assert 2 == rollouts(namespace)
    assert config(namespace).endswith(".2")


def serving(namespace: Namespace, text: str) -> list[Pod]:
    """Return the pods that serve it."""
    return [pod for pod in namespace.pods() if pod.answer(8080) == text]


def test_a_sidecar_that_comes_back_starts_no_rollout(namespace: Namespace) -> None:
    """STATE_DIR says what the pod holds, though its volume was swapped since."""
    selected = {"name": "WATCH_INCLUDE", "value": "nginx.conf"}
    sidecar = {"name": "config-reload", "env": [selected]}
    namespace.apply("rollout", {"containers": [sidecar]})
    namespace.kubectl("scale", "deployment/web", "--replicas=1")
    namespace.kubectl("rollout", "status", "deployment/web", "--timeout=120s")
    pod = namespace.pod()
    (before,) = pod.status()["volumes"]
    change = json.dumps({"data": {"other": "not selected"}})
    namespace.kubectl("patch", "configmap", "web", "--type=merge", "-p", change)
    pod.sync()

    def swapped() -> bool:
        (now,) = pod.status()["volumes"]
        assert before["digest"] == now["digest"]
        return bool(before["generation"] != now["generation"])

    wait_until(swapped, "the volume was swapped", PACE)
    end(pod, "config-reload")
    wait_until(lambda: pod.restarts()["config-reload"] == 1, "it is back")
    wait_until(lambda: pod.answer(9533, "/readyz"), "it watches again", PACE)

    assert {"rollout": "fresh"} == pod.states()
    assert 0 == rollouts(namespace)


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
