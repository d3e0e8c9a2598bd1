"""`check`, as README tells to call it in a pod."""

from __future__ import annotations

import json

from tests.e2e.cluster import Document, Namespace, Pod

CHECK = ("/usr/bin/python3.13", "-m", "sidecar", "check", "--json")


def check(pod: Pod) -> tuple[int, list[Document]]:
    """Return the exit status of `check`, and its findings."""
    in_sidecar = ("exec", pod.name, "-c", "config-reload", "--")
    result = pod.namespace.run(*in_sidecar, *CHECK)
    return result.returncode, json.loads(result.stdout)["findings"]


def test_check_has_nothing_against_an_example(namespace: Namespace) -> None:
    """Or who begins with one would begin with a problem."""
    status, findings = check(namespace.start("restricted.yaml"))

    assert [] == [found for found in findings if found["severity"] != "ok"]
    assert 0 == status


def test_check_finds_a_key_that_is_mounted_by_subpath(namespace: Namespace) -> None:
    """Such a file never changes, whoever is told: nothing else would explain it."""
    mount = {"name": "web", "mountPath": "/etc/single.conf", "subPath": "nginx.conf"}
    pod = namespace.start(
        "restricted.yaml", {"containers": [{"name": "nginx", "volumeMounts": [mount]}]}
    )

    status, findings = check(pod)

    (found,) = (found for found in findings if found["severity"] != "ok")
    assert 1 == status
    assert "sub-path" == found["code"]
    assert "/etc/single.conf" in found["text"]
    assert "without subPath" in found["mend"]
