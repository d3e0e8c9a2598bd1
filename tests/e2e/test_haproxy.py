"""manifests/examples/haproxy.yaml, as a user applies it."""

from __future__ import annotations

from tests.e2e.cluster import Namespace


def test_haproxy_serves_what_a_configmap_says_after_an_update(
    namespace: Namespace,
) -> None:
    """SIGUSR2, by the preset, to a master that executes itself again."""
    pod = namespace.start("haproxy.yaml")
    assert "edition one\n" == pod.get(8080)

    pod.update("haproxy", "edition one", "edition two")

    pod.wait_until_served("edition two\n")
    assert {"haproxy": 0, "config-reload": 0} == pod.restarts()
