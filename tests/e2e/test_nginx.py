"""manifests/examples/nginx.yaml, as a user applies it."""

from __future__ import annotations

from collections.abc import Mapping

from tests.e2e.cluster import Namespace
from tests.waiting import wait_until

SELECTOR = "app.kubernetes.io/name=nginx"
# the kubelet's own pace, should it miss that the pod was touched
BOUND = 100.0


def test_nginx_serves_what_a_configmap_says_after_an_update(
    namespace: Namespace, images: Mapping[str, str]
) -> None:
    """Real kubelet, image, manifest and nginx: nothing between them is played."""
    namespace.apply("nginx.yaml", images)
    namespace.wait_for_rollout("nginx")
    pod = namespace.pod(SELECTOR)
    assert "edition one\n" == namespace.get(pod, 8080)

    site = 'server { listen 8080; default_type text/plain; return 200 "edition two"; }'
    namespace.patch("configmap/site", {"data": {"site.conf": site}})
    namespace.sync(pod)

    wait_until(
        lambda: namespace.get(pod, 8080) == "edition two", "nginx serves it", BOUND
    )
    wait_until(lambda: states(namespace, pod) == {"process": "fresh"}, "it is fresh")
    assert 0 == restarts(namespace, pod)


def states(namespace: Namespace, pod: str) -> dict[str, str]:
    """Return what the sidecar says of each target."""
    targets = namespace.status(pod)["targets"]
    return {target["name"]: target["state"] for target in targets}


def restarts(namespace: Namespace, pod: str) -> int:
    """Return how often any container of the pod was started again."""
    counts = "jsonpath={.status.containerStatuses[*].restartCount}"
    return sum(map(int, namespace.kubectl("get", "pod", pod, "-o", counts).split()))
