"""RELOAD_SIGNAL=SIGTERM: the kubelet restarts the container, and everything is new."""

from __future__ import annotations

from tests.e2e.cluster import PACE, Namespace, Pod
from tests.waiting import wait_until


def restarts(pods: list[Pod]) -> list[dict[str, int]]:
    """Return how often each container of each pod was started again."""
    return [pod.restarts() for pod in pods]


def test_a_restart_in_place_heals_subpath_and_env(namespace: Namespace) -> None:
    """Neither changes while a container runs; its next one has both."""
    namespace.apply("restart", {})
    namespace.kubectl("rollout", "status", "deployment/web", "--timeout=120s")
    pods = namespace.pods()
    for pod in pods:
        pod.wait_until_fresh()
        assert "edition one\n" == pod.get(8080)

    namespace.edit("web", "edition one", "edition two")
    for pod in pods:
        pod.sync()

    for pod in pods:
        pod.wait_until_served("edition two\n")
        assert "edition two\n" == pod.exec("nginx", "printenv", "EDITION")
        assert 1 == len(pod.events("signal_sent"))
    # the kubelet counts them a moment later
    once = [{"nginx": 1, "config-reload": 0}] * 2
    wait_until(lambda: restarts(pods) == once, "each restarted once")


def test_a_second_restart_waits_for_the_back_off(namespace: Namespace) -> None:
    """CrashLoopBackOff: it is late, and it is no rejection."""
    namespace.apply("restart", {})
    namespace.kubectl("rollout", "status", "deployment/web", "--timeout=120s")
    pod = namespace.pods()[0]
    pod.wait_until_fresh()
    pod.update("web", "edition one", "edition two")
    pod.wait_until_served("edition two\n")

    pod.update("web", "edition two", "edition three")

    def backs_off() -> bool:
        waiting = pod.containers()["nginx"]["state"].get("waiting", {})
        return bool("CrashLoopBackOff" == waiting.get("reason"))

    wait_until(backs_off, "the kubelet makes it wait", PACE)
    pod.wait_until_served("edition three\n")
    twice = {"nginx": 2, "config-reload": 0}
    wait_until(lambda: pod.restarts() == twice, "it restarted twice")
    assert [] == pod.events("reload_rejected")
