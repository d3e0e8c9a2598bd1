"""manifests/examples/projected.yaml, as a user applies it."""

from __future__ import annotations

import json

from tests.e2e.cluster import PACE, Namespace
from tests.e2e.test_prometheus import edition
from tests.waiting import wait_until


def test_a_projected_volume_changes_with_each_of_its_sources(
    namespace: Namespace,
) -> None:
    """A ConfigMap and a Secret in one directory are one configuration.

    The token beside them is none. It changes by itself only after 50 minutes; that a
    swap which changes nothing selected tells nobody is proved on the volume itself.
    """
    namespace.kubectl(
        "create", "secret", "generic", "prometheus-web", "--from-literal=password=one"
    )
    pod = namespace.start("projected.yaml")
    (volume,) = pod.status()["volumes"]
    assert ["ca.crt", "password", "prometheus.yml"] == volume["keys"]
    assert "token" in pod.exec("prometheus", "ls", "/etc/prometheus").split()

    pod.update("prometheus", "edition: one", "edition: two")

    wait_until(lambda: edition(pod) == "edition: two", "Prometheus uses it", PACE)
    pod.wait_until_fresh()

    change = json.dumps({"stringData": {"password": "two"}})
    namespace.kubectl("patch", "secret", "prometheus-web", "-p", change)
    pod.sync()

    wait_until(
        lambda: len(pod.events("reload_succeeded")) == 2, "a second reload", PACE
    )
    changed = [event["changed"] for event in pod.events("change_detected")]
    assert [["prometheus.yml"], ["password"]] == changed
