"""nginx, told by SIGHUP: as root, as anybody, and with the component."""

from __future__ import annotations

import pytest

from tests.e2e.cluster import Namespace


@pytest.mark.parametrize("example", ["nginx.yaml", "restricted.yaml", "component"])
def test_nginx_serves_what_a_configmap_says_after_an_update(
    example: str, namespace: Namespace
) -> None:
    """Real kubelet, image, manifest and nginx: nothing between them is played.

    In the first both run as root, in the others as one uid without any right.
    """
    pod = namespace.start(example)
    assert "edition one\n" == pod.get(8080)
    configmap = "site" if example == "nginx.yaml" else "web"

    pod.update(configmap, "edition one", "edition two")

    pod.wait_until_served("edition two\n")
    assert {"nginx": 0, "config-reload": 0} == pod.restarts()
    assert 1 == len(pod.events("signal_sent"))
