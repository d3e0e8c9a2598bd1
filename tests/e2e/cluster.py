"""A namespace of a real cluster, through kubectl and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MANIFESTS = Path(__file__).parent.parent.parent / "manifests"


class Namespace:
    """Where one test lives; every method runs kubectl once."""

    def __init__(self, name: str) -> None:
        self.name = name

    def kubectl(self, *arguments: str) -> str:
        """Return what it prints. Raises CalledProcessError, with its stderr shown."""
        command = ["kubectl", "--namespace", self.name, *arguments]
        result = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=180
        )
        if result.returncode:
            raise RuntimeError(f"{' '.join(command)}: {result.stderr}")
        return result.stdout

    def apply(self, example: str, images: Mapping[str, str]) -> None:
        """Apply a manifest of the examples, with the images that the cluster has."""
        replaced = [new_image(old, new) for old, new in images.items()]
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": self.name,
            "resources": [example],
            "images": replaced,
        }
        with tempfile.TemporaryDirectory() as directory:
            shutil.copy(MANIFESTS / "examples" / example, directory)
            file = Path(directory, "kustomization.yaml")
            file.write_text(json.dumps(kustomization))
            self.kubectl("apply", "-k", directory)

    def wait_for_rollout(self, deployment: str) -> None:
        self.kubectl("rollout", "status", f"deployment/{deployment}", "--timeout=120s")

    def pod(self, selector: str) -> str:
        """Return the name of the one pod that the selector finds."""
        name = "jsonpath={.items[*].metadata.name}"
        return self.kubectl("get", "pods", "-l", selector, "-o", name)

    def get(self, pod: str, port: int, path: str = "/") -> str:
        """Return what the pod answers, through the API server's proxy."""
        pods = f"/api/v1/namespaces/{self.name}/pods"
        return self.kubectl("get", "--raw", f"{pods}/{pod}:{port}/proxy{path}")

    def status(self, pod: str) -> dict[str, Any]:  # any JSON, as the contract shapes it
        document: dict[str, Any] = json.loads(self.get(pod, 9533, "/status"))
        return document

    def patch(self, what: str, change: Mapping[str, object]) -> None:
        self.kubectl("patch", what, "--type=merge", "-p", json.dumps(change))

    def sync(self, pod: str) -> None:
        """Make the kubelet look at the pod now, instead of within 90 seconds.

        Any update of the pod does; measured at 0.5 to 1 s.
        """
        self.kubectl("annotate", "pod", pod, f"synced={os.urandom(4).hex()}")


def new_image(old: str, new: str) -> dict[str, str]:
    """Return a kustomize `images` entry; `new` is NAME:TAG."""
    name, _, tag = new.rpartition(":")
    return {"name": old, "newName": name, "newTag": tag}
