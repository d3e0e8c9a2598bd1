"""manifests/examples/immutable: new content is a new ConfigMap and a rolling update."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from pathlib import Path

from tests.e2e.cluster import PACE, Namespace, new_image
from tests.sidecar_process import CHECKOUT
from tests.waiting import wait_until


def test_old_pods_keep_the_old_content_and_somebody_always_answers(
    namespace: Namespace, tmp_path: Path
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
    [first] = namespace.kubectl("get", "configmap", "-o", "name", "-l", "!x").split()[
        -1:
    ]

    file = copy / "nginx.conf"
    file.write_text(file.read_text().replace("edition one", "edition two"))
    namespace.kubectl("apply", "-k", str(tmp_path))

    served: dict[str, set[str]] = defaultdict(set)

    def rolled() -> bool:
        answers = {pod.name: pod.answer(8080) for pod in namespace.pods()}
        for name, answer in answers.items():
            served[name] |= {answer} if answer else set()
        assert any(answers.values()), "nobody answered"
        return list(answers.values()) == ["edition two\n"] * 3

    wait_until(rolled, "all pods are new", PACE)
    assert [1] * 6 == [len(texts) for texts in served.values()]
    assert {"edition one\n", "edition two\n"} == set.union(*served.values())
    change = json.dumps({"data": {"nginx.conf": "x"}})
    refused = namespace.run("patch", first, "--type=merge", "-p", change)
    assert "immutable" in refused.stderr
