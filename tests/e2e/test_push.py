"""`push` on a real cluster: ten pods, with it and without."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import Namespace, Pod
from tests.waiting import wait_until

CHECKOUT = Path(__file__).parent.parent.parent
PODS = 10
# a kubelet syncs each pod every 60 to 90 s, and the program takes a second
BOUND = 120.0


def test_a_push_takes_seconds_where_the_kubelets_pace_takes_a_minute(
    namespace: Namespace, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same change twice; the seconds of each pod are printed.

    How much a push saves depends on the kubelet's sync frequency, which is the
    cluster's: so only the push is held to a number of seconds.
    """
    start(namespace, PODS)

    namespace.edit("site", "edition one", "edition two")
    status, pushed = command(namespace, "push", "configmap/site")
    assert 0 == status
    assert PODS == len(pushed["pods"])
    assert {"fresh"} == {row["state"] for row in pushed["pods"]}
    with_push = {row["pod"]: row["seconds"] for row in pushed["pods"]}

    namespace.edit("site", "edition two", "edition three")
    without_push = seconds_by_themselves(namespace)

    with capsys.disabled():
        for pod, seconds in sorted(with_push.items()):
            sys.stdout.write(
                f"\n{pod}: {seconds:.1f} s with push, {without_push[pod]:.1f} s without"
            )
        sys.stdout.write("\n")
    assert max(with_push.values()) < 15
    assert max(with_push.values()) < min(without_push.values())
    for pod in with_push:
        assert "edition three\n" == Pod(namespace, pod).get(8080)


def test_a_batch_that_rejects_the_content_stops_the_rest(
    namespace: Namespace,
) -> None:
    """One pod of three takes the harm, and the command says which and why."""
    verify = {"VERIFY_URL": "http://127.0.0.1:8080", "VERIFY_BODY": "edition"}
    start(namespace, 3, **verify, VERIFY_TIMEOUT="2s")

    namespace.edit("site", "edition one", "a mistake")
    status, pushed = command(namespace, "push", "configmap/site", "--batch", "1")

    assert 1 == status
    states = [row["state"] for row in pushed["pods"]]
    assert ["not pushed", "not pushed", "rejected"] == sorted(states)
    assert [True] == [
        "VERIFY_BODY" in r["detail"] for r in pushed["pods"] if r["detail"]
    ]


def start(namespace: Namespace, replicas: int, **env: str) -> None:
    """Start so many pods, and wait until each runs the content."""
    variables = [{"name": name, "value": value} for name, value in env.items()]
    pod = {"containers": [{"name": "config-reload", "env": variables}]}
    namespace.apply("nginx.yaml", pod)
    namespace.kubectl("scale", "deployment/nginx", f"--replicas={replicas}")
    namespace.kubectl("rollout", "status", "deployment/nginx", "--timeout=120s")
    wait_until(lambda: fresh(namespace) == replicas, "all are fresh at first", BOUND)


def command(
    namespace: Namespace, *arguments: str
) -> tuple[int, dict[str, Any]]:  # any JSON, as README shows it
    """Run one of the commands for people; return its status and what it printed."""
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "sidecar",
            *arguments,
            "-n",
            namespace.name,
            "-o",
            "json",
        ],
        cwd=CHECKOUT,
        check=False,
        capture_output=True,
        text=True,
        timeout=BOUND + 60,
    )
    if not result.stdout:
        raise RuntimeError(f"exit status {result.returncode}: {result.stderr}")
    document: dict[str, Any] = json.loads(result.stdout)
    return result.returncode, document


def fresh(namespace: Namespace) -> int:
    """Count the pods that run the object's content."""
    return sum(row["state"] == "fresh" for row in rows(namespace))


def rows(namespace: Namespace) -> list[dict[str, Any]]:  # as above
    """Return what is shown of each pod, with a status that agrees with it."""
    status, document = command(namespace, "status", "configmap/site")
    shown: list[dict[str, Any]] = document["pods"]
    if all(row["state"] == "fresh" for row in shown):
        assert 0 == status
    if any(row["state"] == "stale" for row in shown):
        assert 1 == status
    return shown


def seconds_by_themselves(namespace: Namespace) -> dict[str, float]:
    """Look until every pod has the change; return after how many seconds each had."""
    began = time.monotonic()
    seconds: dict[str, float] = {}

    def all_have_it() -> bool:
        for row in rows(namespace):
            if row["state"] == "fresh":
                seconds.setdefault(row["pod"], time.monotonic() - began)
        return len(seconds) == PODS

    wait_until(all_have_it, "every kubelet synced by itself", BOUND)
    return seconds
