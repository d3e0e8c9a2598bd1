"""manifests/examples/immutable: new content is a new ConfigMap and a rolling update."""

from __future__ import annotations

import json
import shutil
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from tests.e2e.cluster import PACE, Namespace, new_image
from tests.e2e.visitor import Visitor
from tests.sidecar_process import CHECKOUT
from tests.waiting import wait_until

ONE, TWO = "edition one\n", "edition two\n"


def test_old_pods_keep_the_old_content_and_somebody_always_answers(
    namespace: Namespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """That is the point of it: a pod's configuration never changes under it."""
    copy = Path(
        shutil.copytree(CHECKOUT / "manifests/examples/immutable", tmp_path / "x")
    )
    kustomization = {
        "namespace": namespace.name,
        "resources": ["x"],
        "images": [new_image(old, new) for old, new in namespace.images.items()],
    }
    (tmp_path / "kustomization.yaml").write_text(json.dumps(kustomization))
    namespace.kubectl("apply", "-k", str(tmp_path))
    namespace.kubectl("rollout", "status", "deployment/web", "--timeout=120s")
    namespace.kubectl("expose", "deployment/web", "--port=8080")
    [first] = config_maps(namespace)
    served: dict[str, set[str]] = defaultdict(set)

    def rolled() -> bool:
        answers = {pod.name: pod.answer(8080) for pod in namespace.pods()}
        for name, answer in answers.items():
            served[name] |= {answer} if answer else set()
        return list(answers.values()) == [TWO] * 3

    with Visitor(namespace, "web:8080") as visitor:
        wait_until(lambda: visitor.answers[ONE] >= 50, "it is answered", PACE)
        assert not rolled()
        file = copy / "nginx.conf"
        file.write_text(file.read_text().replace("edition one", "edition two"))
        namespace.kubectl("apply", "-k", str(tmp_path))
        wait_until(rolled, "all pods are new", PACE)
        namespace.kubectl("rollout", "status", "deployment/web", "--timeout=120s")
        after = visitor.answers[TWO]
        wait_until(lambda: visitor.answers[TWO] >= after + 50, "they answer", PACE)

    with capsys.disabled():
        count = visitor.answers.total()
        sys.stdout.write(f"\n{count} answers, {len(visitor.failures)} failures\n")
    assert [] == visitor.failures
    assert {ONE, TWO} == set(visitor.answers)
    assert [1] * 6 == [len(texts) for texts in served.values()]
    change = json.dumps({"data": {"nginx.conf": "x"}})
    refused = namespace.run("patch", first, "--type=merge", "-p", change)
    assert "immutable" in refused.stderr
    assert first in config_maps(namespace)


def config_maps(namespace: Namespace) -> list[str]:
    """Return those of the example."""
    names = namespace.kubectl("get", "configmap", "-o", "name").split()
    return [name for name in names if name.startswith("configmap/web-")]
