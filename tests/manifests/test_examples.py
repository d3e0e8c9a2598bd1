"""What can be said of the manifests without a cluster: tests/e2e applies them."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import kubernetes_validate
import pytest

from sidecar import settings
from sidecar.variables import VARIABLES
from tests.cli.command import call
from tests.manifests.example import (
    COMPONENT,
    EXAMPLES,
    FILES,
    FOLDERS,
    Document,
    Pod,
    documents,
    fragments,
    kustomize,
    pods,
    rendered,
)
from tests.manifests.pod_security import against_baseline, against_restricted
from tests.sidecar_process import CHECKOUT

OLDEST, *_, NEWEST = kubernetes_validate.utils.all_versions()
NATIVE = EXAMPLES / "native-sidecar.yaml"
# a container's `restartPolicy`, and ValidatingAdmissionPolicy
CAME_WITH = {NATIVE: "1.28.0", EXAMPLES / "rollout": "1.30.0"}
# it needs none
WITHOUT_SIDECAR = EXAMPLES / "immutable"
# stock nginx's master is uid 0, and only uid 0 may signal it
ROOT = EXAMPLES / "nginx.yaml"

each_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
each_example = pytest.mark.parametrize(
    "example", [*FILES, *FOLDERS], ids=lambda example: example.name
)
each_with_sidecar = pytest.mark.parametrize(
    "example",
    [example for example in [*FILES, *FOLDERS] if example != WITHOUT_SIDECAR],
    ids=lambda example: example.name,
)
# What is left out on purpose: it heals subPath, and it is replaced with all it knows.
LEFT_OUT = {EXAMPLES / "restart": ["nothing is mounted by subPath"]}


def documents_of(example: Path) -> list[Document]:
    """Return what an example applies; a folder is one for kustomize."""
    return kustomize(example) if example.is_dir() else documents(example.read_text())


def pod_of(example: Path) -> Pod:
    """Return the one pod template of an example."""
    (pod,) = pods(documents_of(example))
    return pod


def refused(document: Document, version: str) -> str | None:
    """Say what a version of Kubernetes has against a document, unknown fields too."""
    try:
        kubernetes_validate.validate(dict(document), version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return str(error)
    return None


@each_file
def test_an_example_is_what_kustomize_makes_of_it(file: Path) -> None:
    """Who applies it through kustomize gets what who reads it expects."""

    def order(document: Document) -> tuple[str, str]:
        return document["kind"], document["metadata"]["name"]

    written = documents(file.read_text())

    assert sorted(written, key=order) == sorted(rendered(file), key=order)


@each_example
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_an_example_fits_the_schema_of(version: str, example: Path) -> None:
    """A field that a version does not know is dropped there, or refused."""
    if version == OLDEST:
        version = CAME_WITH.get(example, OLDEST)
    found = documents_of(example)

    assert [None] * len(found) == [refused(document, version) for document in found]


def test_the_native_sidecar_needs_the_version_that_it_names() -> None:
    """1.27 would run it as an ordinary init container, and wait for ever."""
    assert "1.28" in NATIVE.read_text()
    _, deployment = documents(NATIVE.read_text())

    assert "restartPolicy" in str(refused(deployment, "1.27.0"))


@each_with_sidecar
def test_the_sidecar_takes_every_variable_of_an_example(
    example: Path, tmp_path: Path
) -> None:
    """A misspelt one would be ignored, with a warning in a log that nobody reads."""
    env = pod_of(example).env
    assert [] == sorted(env.keys() - VARIABLES.keys())

    # as the sidecar reads them, but for where its directories lie
    env["KUBERNETES_SERVICE_HOST"] = "10.96.0.1"
    for name in env.keys() & {"WATCH_DIRS", "STATE_DIR"}:
        paths = [Path(f"{tmp_path}{path}") for path in env[name].split(",")]
        for path in paths:
            path.mkdir(parents=True)
        env[name] = ",".join(map(str, paths))
    # a token that only a kubelet mounts
    absent = "can't be read yet"
    warnings = settings.from_env(env).warnings
    assert [] == [warning for warning in warnings if absent not in warning]


def test_every_variable_in_a_fragment_of_readme_exists() -> None:
    """It is what people paste."""
    text = "\n".join(fragments((CHECKOUT / "README.md").read_text()))
    found = set(re.findall(r"name: ([A-Z_]+)\b", text))

    assert found
    assert set() == found - VARIABLES.keys()


@each_with_sidecar
def test_an_example_is_complete(example: Path) -> None:
    """What is missing here is missing in a thousand copies."""
    assert LEFT_OUT.get(example, []) == gaps(pod_of(example))


def gaps(pod: Pod) -> list[str]:
    """Say what a pod leaves out that we tell others to have."""
    sidecar, watched = pod.sidecar, pod.env["WATCH_DIRS"].split(",")
    mounts = {mount["mountPath"]: mount for mount in sidecar["volumeMounts"]}
    everywhere = [m for c in pod.containers for m in c.get("volumeMounts", ())]
    signals = "PROCESS_NAME" in pod.env or (
        "PRESET" in pod.env and "WEBHOOK_URL" not in pod.env
    )
    facts = {
        "the state lies on an emptyDir": "STATE_DIR" in pod.env
        and "emptyDir" in pod.volume(pod.env["STATE_DIR"]),
        "the watched volumes are mounted, read-only": all(
            mounts.get(path, {}).get("readOnly") for path in watched
        ),
        "nothing is mounted by subPath": not any("subPath" in m for m in everywhere),
        "no token comes by itself": pod.spec.get("automountServiceAccountToken")
        is False,
        "it is asked whether it lives": sidecar["livenessProbe"]["httpGet"]["path"]
        == "/healthz",
        "it is asked whether it is ready": sidecar["readinessProbe"]["httpGet"]["path"]
        == "/readyz",
        "its port has the name that the PodMonitor scrapes": [
            port["name"] for port in sidecar["ports"]
        ]
        == ["reload"],
        "memory and CPU are asked for": sidecar["resources"]["requests"].keys()
        == {"cpu", "memory"},
        "memory is bounded, and CPU is not": sidecar["resources"]["limits"].keys()
        == {"memory"},
        "the root file system is read-only": sidecar["securityContext"].get(
            "readOnlyRootFilesystem"
        ),
        "processes are shared if and only if one is signalled": signals
        == pod.spec.get("shareProcessNamespace", False),
        "every image has a tag, and none is latest": all(
            ":" in c["image"].rpartition("/")[2] and not c["image"].endswith(":latest")
            for c in pod.containers
        ),
    }
    return [fact for fact, holds in facts.items() if not holds]


@each_example
def test_an_example_passes_the_restricted_standard(example: Path) -> None:
    """Many clusters enforce it. Stock nginx can't: its master is uid 0."""
    pod = pod_of(example)
    root = [
        "nginx: runAsNonRoot is not true",
        "nginx: capabilities are added",
        "config-reload: runAsNonRoot is not true",
        "config-reload: runAsUser is 0",
    ]

    assert [] == against_baseline(pod)
    assert (root if example == ROOT else []) == against_restricted(pod)


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet"])
def test_the_component_adds_the_sidecar_to_a(kind: str, tmp_path: Path) -> None:
    """One patch for all three kinds, and for no workload that did not ask."""
    for name, label in (("asked", "enabled"), ("silent", "disabled")):
        write(tmp_path / f"{name}.json", workload(kind, name, label))
    kustomization = {
        "resources": ["asked.json", "silent.json"],
        "components": [os.path.relpath(COMPONENT, tmp_path)],
    }
    write(tmp_path / "kustomization.yaml", kustomization)

    containers = {
        document["metadata"]["name"]: [
            c["name"] for c in document["spec"]["template"]["spec"]["containers"]
        ]
        for document in kustomize(tmp_path)
    }

    assert {"asked": ["config-reload", "app"], "silent": ["app"]} == containers


def workload(kind: str, name: str, label: str) -> Document:
    """Return the least that has a pod template."""
    container = {"name": "app", "image": "docker.io/library/nginx:1.28"}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "labels": {"config-reload": label}},
        "spec": {"template": {"spec": {"containers": [container]}}},
    }


def write(path: Path, document: Document) -> None:
    """Write it as JSON, which is YAML."""
    path.write_text(json.dumps(document))


POLICY = EXAMPLES / "rollout/policy.yaml"
EVENTS = CHECKOUT / "manifests/events/role.yaml"


# the component's example is half a pod, and kustomize adds the other half
WHOLE = [it for it in (*FILES, *FOLDERS) if it.name != "component"]


@pytest.mark.parametrize("example", WHOLE, ids=lambda it: it.name)
def test_lint_has_nothing_to_say_of_an_example(example: Path) -> None:
    """Its variables are read as the sidecar reads them, and its mounts looked at."""
    found = json.loads(call("lint", "--output", "json", example).stdout)

    assert [] == found


def test_the_policy_fits_the_first_version_that_has_it() -> None:
    """1.30, as it says: the kinds were there before, but not as v1."""
    found = documents(POLICY.read_text())

    assert "1.30" in POLICY.read_text()
    assert [None] * 2 == [refused(document, "1.30.0") for document in found]
    assert [None] * 2 == [refused(document, NEWEST) for document in found]
    for document in found:
        with pytest.raises(kubernetes_validate.SchemaNotFoundError):
            refused(document, "1.29.0")


def test_the_role_for_events_allows_nothing_else() -> None:
    """A token that is stolen from the pod must be of no use."""
    found = documents(EVENTS.read_text())
    (role,) = (document for document in found if document["kind"] == "Role")

    assert [None] * len(found) == [refused(document, OLDEST) for document in found]
    assert [{"apiGroups": [""], "resources": ["events"], "verbs": ["create"]}] == (
        role["rules"]
    )


def test_the_role_for_a_rollout_allows_two_verbs_on_one_object() -> None:
    """And only the sidecar gets the token for it."""
    found = kustomize(EXAMPLES / "rollout")
    (role,) = (document for document in found if document["kind"] == "Role")
    (pod,) = pods(found)
    (account,) = (v["name"] for v in pod.spec["volumes"] if "projected" in v)
    holders = [
        container["name"]
        for container in pod.containers
        if account in [mount["name"] for mount in container["volumeMounts"]]
    ]

    assert [
        {
            "apiGroups": ["apps"],
            "resources": ["deployments"],
            "resourceNames": ["web"],
            "verbs": ["get", "patch"],
        }
    ] == role["rules"]
    assert ["config-reload"] == holders
    assert pod.spec["automountServiceAccountToken"] is False
