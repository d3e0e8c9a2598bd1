"""manifests/examples/prometheus.yaml: a webhook, and the proof that it worked."""

from __future__ import annotations

import json
import sys

import pytest

from tests.e2e.cluster import PACE, Namespace, Pod
from tests.waiting import wait_until


def edition(pod: Pod) -> str:
    """Return the line of the configuration that Prometheus works with."""
    config = json.loads(pod.get(9090, "/api/v1/status/config"))["data"]["yaml"]
    (line,) = (line for line in config.splitlines() if "edition:" in line)
    return str(line.strip())


def test_prometheus_takes_a_configmap_after_an_update(
    namespace: Namespace, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two containers that share nothing but the network and a volume."""
    pod = namespace.start("prometheus.yaml")
    assert "edition: one" == edition(pod)

    pod.update("prometheus", "edition: one", "edition: two")

    wait_until(lambda: edition(pod) == "edition: two", "Prometheus uses it", PACE)
    pod.wait_until_fresh()
    assert "succeeded" == pod.target("webhook:1")["last_result"]
    with capsys.disabled():
        sys.stdout.write(f"\nresident after a webhook: {pod.resident():.1f} MiB\n")


def test_prometheus_goes_on_with_what_it_has_until_the_configuration_is_mended(
    namespace: Namespace,
) -> None:
    """Who breaks it reads in /status what Prometheus said, and mends it."""
    pod = namespace.start("prometheus.yaml")
    pod.update("prometheus", "edition: one", "edition: [")

    wait_until(lambda: pod.target("webhook:1")["last_error"], "it says why", PACE)

    assert "500" in pod.target("webhook:1")["last_error"]
    assert "stale" == pod.target("webhook:1")["state"]
    assert "edition: one" == edition(pod)

    pod.update("prometheus", "edition: [", "edition: two")

    wait_until(lambda: edition(pod) == "edition: two", "Prometheus uses it", PACE)
    pod.wait_until_fresh()


def test_an_answer_of_200_is_not_enough_if_the_verification_does_not_agree(
    namespace: Namespace,
) -> None:
    """A program may answer before it has read anything."""
    never = [
        {"name": "VERIFY_CHANGES", "value": r"(?m)^process_start_time_seconds (\S+)"},
        {"name": "VERIFY_TIMEOUT", "value": "2s"},
    ]
    pod = namespace.start(
        "prometheus.yaml", {"containers": [{"name": "config-reload", "env": never}]}
    )

    pod.update("prometheus", "edition: one", "edition: two")

    reload = wait_until(lambda: pod.status()["reloads"], "the reload ended", PACE)[-1]
    assert ("rejected", "not_verified") == (reload["result"], reload["reason"])
    assert "stale" == pod.target("webhook:1")["state"]
