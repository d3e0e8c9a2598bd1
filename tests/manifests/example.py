"""The manifests under `manifests/`, as values."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.programs.program import require
from tests.sidecar_process import CHECKOUT

Document = Mapping[str, Any]  # any YAML, as Kubernetes' schemas shape it

EXAMPLES = CHECKOUT / "manifests/examples"
COMPONENT = CHECKOUT / "manifests/component"
FILES = sorted(EXAMPLES.glob("*.yaml"))
FOLDERS = sorted(file.parent for file in EXAMPLES.glob("*/kustomization.yaml"))
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod template, and what the tests ask of one."""

    spec: Document

    @property
    def containers(self) -> list[Document]:
        return [*self.spec.get("initContainers", ()), *self.spec["containers"]]

    @property
    def sidecar(self) -> Document:
        """The one container that is ours, as monitoring and docs know it: by name."""
        (found,) = (c for c in self.containers if c["name"] == "config-reload")
        return found

    @property
    def env(self) -> dict[str, str]:
        """Its variables; `web` stands for what the pod's own fields say."""
        return {i["name"]: i.get("value", "web") for i in self.sidecar["env"]}

    def volume(self, path: str) -> Document:
        """Return the volume that is mounted at a path in the sidecar."""
        mounts = self.sidecar["volumeMounts"]
        (name,) = (m["name"] for m in mounts if m["mountPath"] == path)
        (volume,) = (v for v in self.spec["volumes"] if v["name"] == name)
        return dict(volume)


def documents(text: str) -> list[Document]:
    """Read all documents of a YAML text."""
    return list(YAML(typ="safe").load_all(text))


def pods(found: Iterable[Document]) -> list[Pod]:
    """Return the pod template of each workload."""
    return [
        Pod(document["spec"]["template"]["spec"])
        for document in found
        if document["kind"] in WORKLOADS
    ]


def kustomize(directory: Path) -> list[Document]:
    """Return what `kubectl kustomize` prints."""
    command = [require("kubectl", "kubernetes-client"), "kustomize", str(directory)]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    assert not result.returncode, result.stderr
    return documents(result.stdout)


def rendered(file: Path) -> list[Document]:
    """Return what kustomize makes of a file."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, file.name).write_text(file.read_text())
        kustomization = Path(directory, "kustomization.yaml")
        kustomization.write_text(json.dumps({"resources": [file.name]}))
        return kustomize(Path(directory))


def fragments(markdown: str) -> Iterator[str]:
    """Return the YAML blocks of a document."""
    yield from re.findall(r"^```yaml\n(.*?)^```", markdown, re.MULTILINE | re.DOTALL)
