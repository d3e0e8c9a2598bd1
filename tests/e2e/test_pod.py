"""What the pod notices of the sidecar: its probes, its end, its size."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.cluster import MEBI, PACE, Namespace, Pod
from tests.waiting import wait_until

READY = 'jsonpath={range .status.conditions[?(@.type=="Ready")]}{.status}{"\\n"}{end}'


@contextmanager
def readiness(pod: Pod) -> Iterator[Path]:
    """Have every word of the pod on whether it is ready written to a file."""
    command = ["kubectl", "-n", pod.namespace.name, "get", "pod", pod.name, "-w"]
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "ready")
        with (
            path.open("wb") as output,
            subprocess.Popen([*command, "-o", READY], stdout=output) as watch,
        ):
            try:
                yield path
            finally:
                watch.terminate()


def image_size(namespace: Namespace) -> float:
    """Return how large a node says that the image is, in MiB."""
    image = namespace.images["localhost/config-reload-sidecar"]
    nodes = json.loads(namespace.kubectl("get", "nodes", "-o", "json"))["items"]
    found = [
        i
        for n in nodes
        for i in n["status"]["images"]
        if image in (i.get("names") or ())
    ]
    return float(found[0]["sizeBytes"]) / MEBI


def test_a_pod_stays_ready_through_twenty_updates(
    namespace: Namespace, capsys: pytest.CaptureFixture[str]
) -> None:
    """Or the Service would take it out each time; and nothing piles up in memory."""
    pod = namespace.start("restricted.yaml")
    before = pod.resident()
    with readiness(pod) as words:
        wait_until(words.read_text, "the watch has begun")
        for number in range(20):
            old = f"edition {number}" if number else "edition one"
            pod.update("web", old, f"edition {number + 1}")
            pod.wait_until_served(f"edition {number + 1}\n")

        assert {"True"} == set(words.read_text().split())
    assert {"nginx": 0, "config-reload": 0} == pod.restarts()
    after = pod.resident()
    with capsys.disabled():
        sys.stdout.write(
            f"\nresident: {before:.1f} MiB at first, {after:.1f} MiB after 20 updates;"
            f" image: {image_size(namespace):.1f} MiB\n"
        )
    asked_for = 40.0
    assert after < asked_for
    assert after - before < 2.0


def test_the_sidecar_ends_with_its_pod(namespace: Namespace) -> None:
    """At once and with 0, or each rollout would take 30 s and look like a crash."""
    pod = namespace.start("restricted.yaml")
    # keeps the pod's last words after its end
    keep = json.dumps({"metadata": {"finalizers": ["config-reload.test/keep"]}})
    pod.namespace.kubectl("patch", "pod", pod.name, "--type=merge", "-p", keep)
    try:
        pod.namespace.kubectl("delete", "pod", pod.name, "--wait=false")
        ended = wait_until(
            lambda: pod.containers()["config-reload"]["state"].get("terminated"),
            "the sidecar has ended",
            PACE,
        )
    finally:
        release = json.dumps({"metadata": {"finalizers": None}})
        pod.namespace.kubectl("patch", "pod", pod.name, "--type=merge", "-p", release)
    assert (0, "Completed") == (ended["exitCode"], ended["reason"])
