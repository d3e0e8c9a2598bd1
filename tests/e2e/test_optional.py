"""An object that a pod may start without."""

from __future__ import annotations

from tests.e2e.cluster import Namespace

SITE = 'server { listen 8080; default_type text/plain; return 200 "edition one\n"; }'


def test_nginx_serves_an_optional_configmap_that_was_created_later(
    namespace: Namespace,
) -> None:
    """Its volume is there from the beginning, with a generation that is empty."""
    site = {"name": "site", "configMap": {"name": "later", "optional": True}}
    # nginx serves nothing yet, so nobody may ask it whether it is ready
    nginx = {"name": "nginx", "readinessProbe": None}
    pod = namespace.start("nginx.yaml", {"volumes": [site], "containers": [nginx]})
    assert None is pod.answer(8080)

    namespace.create(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "later"},
            "data": {"site.conf": SITE.replace("\n", "\\n")},
        }
    )
    pod.sync()

    pod.wait_until_served("edition one\n")
    assert {"nginx": 0, "config-reload": 0} == pod.restarts()
