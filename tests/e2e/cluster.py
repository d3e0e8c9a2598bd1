"""A namespace of a real cluster, and a pod in it, through kubectl and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.sidecar_process import CHECKOUT
from tests.waiting import wait_until

# Any JSON, as Kubernetes and the contract shape it
Document = dict[str, Any]

WORKLOADS = ("deployment.apps/", "statefulset.apps/", "daemonset.apps/")
# the kubelet's own pace, should it miss that the pod was touched
PACE = 100.0


class Namespace:
    """Where one test lives. `images` says which image stands in for which."""

    def __init__(self, name: str, images: Mapping[str, str]) -> None:
        self.name = name
        self.images = images

    def kubectl(self, *arguments: str) -> str:
        """Return what it prints. Raises RuntimeError with what it complains of."""
        result = self.run(*arguments)
        if result.returncode:
            raise RuntimeError(f"kubectl {' '.join(arguments)}: {result.stderr}")
        return result.stdout

    def run(
        self, *arguments: str, sent: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl to its end, whatever that is; `sent` is its standard input."""
        return subprocess.run(
            ["kubectl", "--namespace", self.name, *arguments],
            check=False,
            input=sent,
            capture_output=True,
            text=True,
            timeout=180,
        )

    def start(self, example: str, pod: Mapping[str, object] | None = None) -> Pod:
        """Apply an example, and return its pod once it is ready.

        `pod` is merged into the pod's spec as kustomize merges: lists of named things
        by their names, and None takes a field away.
        """
        applied = self.apply(example, pod or {})
        for workload in applied:
            if workload.startswith(WORKLOADS):
                self.kubectl("rollout", "status", workload, "--timeout=120s")
        return self.pod()

    def apply(self, example: str, pod: Mapping[str, object]) -> list[str]:
        """Apply an example, with the images that the cluster has; return the names."""
        template = {"spec": {"template": {"spec": pod}}}
        # kustomize puts kind and name of what it finds in place of these
        any_workload = {"apiVersion": "apps/v1", "kind": "Deployment"}
        patch = {**any_workload, "metadata": {"name": "any"}, **template}
        kustomization = {
            "namespace": self.name,
            "resources": [example],
            "images": [new_image(old, new) for old, new in self.images.items()],
            "patches": [
                {
                    "target": {"kind": "Deployment|StatefulSet|DaemonSet"},
                    "patch": json.dumps(patch),
                }
            ],
        }
        with tempfile.TemporaryDirectory() as directory:
            # kustomize reads nothing above its own folder, but for other folders
            copy = shutil.copytree(CHECKOUT / "manifests", Path(directory, "manifests"))
            file = copy / "examples" / "kustomization.yaml"
            file.write_text(json.dumps(kustomization))
            return self.kubectl("apply", "-o", "name", "-k", str(file.parent)).split()

    def pods(self) -> list[Pod]:
        """Return the pods that are here and are to stay."""
        return [
            Pod(self, pod["metadata"]["name"])
            for pod in json.loads(self.kubectl("get", "pods", "-o", "json"))["items"]
            if "deletionTimestamp" not in pod["metadata"]
        ]

    def pod(self) -> Pod:
        """Return the one pod that is here and is to stay."""
        (found,) = self.pods()
        return found

    def create(self, document: Document) -> None:
        result = self.run("create", "-f", "-", sent=json.dumps(document))
        assert not result.returncode, result.stderr

    def edit(self, configmap: str, old: str, new: str) -> None:
        """Replace a text in every key of a ConfigMap, as who edits it does."""
        found = json.loads(self.kubectl("get", "configmap", configmap, "-o", "json"))
        data = {key: text.replace(old, new) for key, text in found["data"].items()}
        assert data != found["data"], f"{old!r} is not in {configmap}"
        change = json.dumps({"data": data})
        self.kubectl("patch", "configmap", configmap, "--type=merge", "-p", change)


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod with the sidecar in it."""

    namespace: Namespace
    name: str

    def get(self, port: int, path: str = "/") -> str:
        """Return what the pod answers, through the API server's proxy."""
        pods = f"/api/v1/namespaces/{self.namespace.name}/pods"
        path = f"{pods}/{self.name}:{port}/proxy{path}"
        return self.namespace.kubectl("get", "--raw", path)

    def answer(self, port: int, path: str = "/") -> str | None:
        """Return what the pod answers; None if nothing does."""
        try:
            return self.get(port, path)
        except RuntimeError:
            return None

    def status(self) -> Document:
        """Return what the sidecar says of everything."""
        document: Document = json.loads(self.get(9533, "/status"))
        return document

    def target(self, name: str) -> Document:
        """Return what the sidecar says of a target."""
        (found,) = (t for t in self.status()["targets"] if t["name"] == name)
        return dict(found)

    def states(self) -> dict[str, str]:
        """Return what the sidecar says of each target, in a word."""
        return {target["name"]: target["state"] for target in self.status()["targets"]}

    def sync(self) -> None:
        """Make the kubelet look at the pod now, instead of within 90 seconds.

        Any update of the pod does; measured at 0.5 to 1 s.
        """
        note = f"synced={os.urandom(4).hex()}"
        self.namespace.kubectl("annotate", "--overwrite", "pod", self.name, note)

    def update(self, configmap: str, old: str, new: str) -> None:
        """Edit a ConfigMap of the pod, and have the kubelet bring it."""
        self.namespace.edit(configmap, old, new)
        self.sync()

    def exec(self, container: str, *command: str) -> str:
        """Return what a command prints in one of the containers."""
        return self.namespace.kubectl(
            "exec", self.name, "-c", container, "--", *command
        )

    def log(self, container: str, *options: str) -> str:
        return self.namespace.kubectl("logs", self.name, "-c", container, *options)

    def events(self, name: str) -> list[Document]:
        """Return the events of that name in the log of the sidecar that runs now."""
        lines = self.log("config-reload").splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [event for event in found if event["event"] == name]

    def containers(self) -> dict[str, Document]:
        """Return what the kubelet says of each container."""
        pod = self.namespace.kubectl("get", "pod", self.name, "-o", "json")
        statuses = json.loads(pod)["status"]["containerStatuses"]
        return {status["name"]: status for status in statuses}

    def restarts(self) -> dict[str, int]:
        """Return how often each container was started again."""
        return {name: c["restartCount"] for name, c in self.containers().items()}

    def wait_until_served(self, text: str, port: int = 8080) -> None:
        """Wait until the program serves a text, and the sidecar knows that it does."""
        wait_until(lambda: self.answer(port) == text, f"it serves {text!r}", PACE)
        self.wait_until_fresh()

    def wait_until_fresh(self) -> None:
        """Wait until every target is; one that was absent is looked for again."""
        fresh = {"fresh"}
        wait_until(lambda: set(self.states().values()) == fresh, "all are fresh", PACE)


def new_image(old: str, new: str) -> dict[str, str]:
    """Return a kustomize `images` entry; `new` is NAME:TAG."""
    name, _, tag = new.rpartition(":")
    return {"name": old, "newName": name, "newTag": tag}
