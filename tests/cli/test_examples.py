"""The examples are what `inject` makes of plain applications, or a reason is given."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from sidecar.cli.identity import NAME
from sidecar.cli.injection import API_VOLUME, STATE_VOLUME
from tests.cli.command import call
from tests.cli.test_charts import documents, pod_specs
from tests.manifests.example import EXAMPLES, FILES, FOLDERS, kustomize

NO_SIDECAR = EXAMPLES / "immutable"
WITH_SIDECAR = [file for file in [*FILES, *FOLDERS] if file != NO_SIDECAR]

# what differs, and why
TRYING = {
    "imagePullPolicy": "it is the default, and said for who reads it",
    "readinessProbe.periodSeconds": "who tries an example waits 2 s, and not 10",
}
ONE_PROGRAM = {
    "env.PROCESS_CONTAINER": "inject names the program's container; here is only one"
}
ANY_DIRECTORY = {
    "env.WATCH_DIRS": "inject takes the program's directory, and any other does",
    "volumeMounts./etc/site": "the example takes this one",
    "volumeMounts./etc/nginx/conf.d": "inject takes this one",
}
WATCHED = {
    "env.WATCH_DIRS": "the component can't know the program's directory",
    "volumeMounts./watched": "so it takes this one",
    "volumeMounts./etc/web": "inject takes the program's",
}
SUB_PATH = {
    "env.WATCH_DIRS": "the program has a file there, for inject any could be meant",
    "volumeMounts./etc/web": "the example takes the directory above it",
    "volumeMounts./watched/web": "inject takes one that nobody has",
}
VERIFICATION = {
    "env.PRESET": "inject names the preset",
    "env.VERIFY_URL": "the example shows what it sets",
    "env.VERIFY_CHANGES": "this, too",
}
SAID_FOR_ALL = {
    "securityContext.seccompProfile.type": "the component can't know what the pod says",
    "securityContext.runAsNonRoot": "likewise",
    "securityContext.runAsUser": "likewise",
}

Explained = tuple[str, Mapping[str, str]]
EXPLAINED: Mapping[str, Explained] = MappingProxyType(
    {
        "nginx.yaml": ("--signal nginx", ONE_PROGRAM | ANY_DIRECTORY),
        "restricted.yaml": ("--signal nginx", ONE_PROGRAM),
        "native-sidecar.yaml": ("--signal nginx --native", ONE_PROGRAM),
        "tls-secret.yaml": ("--signal nginx", ONE_PROGRAM),
        "haproxy.yaml": ("--preset haproxy", ONE_PROGRAM),
        "postgresql.yaml": ("--signal postgres", ONE_PROGRAM),
        "prometheus.yaml": ("--webhook http://127.0.0.1:9090/-/reload", VERIFICATION),
        "projected.yaml": ("--webhook http://127.0.0.1:9090/-/reload", {}),
        "component": ("--signal nginx", ONE_PROGRAM | WATCHED | SAID_FOR_ALL),
        "restart": (
            "--signal nginx --env RELOAD_SIGNAL=SIGTERM",
            ONE_PROGRAM | SUB_PATH,
        ),
        "rollout": ("--env ROLLOUT=deployment/web --env RELOAD_JITTER=2s", {}),
    }
)
"""By example: the options that make it, and why what differs does."""

OWN = MappingProxyType({"state": STATE_VOLUME, "api": API_VOLUME})
"""The names that the examples give to the sidecar's own volumes."""

each = pytest.mark.parametrize("example", [*FILES, *FOLDERS], ids=lambda e: e.name)


def text_of(example: Path) -> str:
    """Return an example's manifests; kustomize puts those of a folder together."""
    if example.is_file():
        return example.read_text()
    return "\n---\n".join(map(json.dumps, kustomize(example)))


def spec_of(text: str) -> Any:  # a pod spec
    """Return the only pod spec of some manifests."""
    (spec,) = (spec for document in documents(text) for spec in pod_specs(document))
    return spec


@pytest.mark.parametrize("example", WITH_SIDECAR, ids=lambda e: e.name)
def test_inject_makes_the_example_of_its_plain_application(
    example: Path, tmp_path: Path
) -> None:
    """What is shown and what is made must not drift apart."""
    options, explained = EXPLAINED[example.name]
    shown, plain = tmp_path / "shown.yaml", tmp_path / "plain.yaml"
    shown.write_text(text_of(example))
    plain.write_text(call("inject", "--remove", shown).stdout)
    made = call("inject", *shlex.split(options), plain)

    assert (0, "") == (made.status, made.stderr)
    assert NAME not in [c["name"] for c in spec_of(plain.read_text())["containers"]]
    assert {*explained, *TRYING} == differences(
        facts(spec_of(shown.read_text())), facts(spec_of(made.stdout))
    )


def test_inject_has_nothing_to_do_where_each_content_is_a_new_pod(
    tmp_path: Path,
) -> None:
    """The example of immutable ConfigMaps has no sidecar, and needs none."""
    shown = tmp_path / "shown.yaml"
    shown.write_text(text_of(NO_SIDECAR))
    result = call("lint", shown)

    assert "1 pod template, 0 with the sidecar: 0 problems" in result.stderr


@each
def test_lint_finds_nothing_wrong_with_the_examples(
    example: Path, tmp_path: Path
) -> None:
    """They are copied, faults and all."""
    shown = tmp_path / "shown.yaml"
    shown.write_text(text_of(example))

    assert "" == call("lint", shown).stdout


def facts(spec: Any) -> dict[str, object]:  # a pod spec
    """Return what a pod spec says, as paths with values; the sidecar's for itself."""
    (found,) = (
        {"section": section, **container}
        for section in ("containers", "initContainers")
        for container in spec.get(section, [])
        if container["name"] == NAME
    )
    env = {v["name"]: v.get("value", v.get("valueFrom")) for v in found["env"]}
    mounts = {
        mount["mountPath"]: mount for mount in map(renamed, found["volumeMounts"])
    }
    rest = {
        **spec,
        "containers": [c for c in spec["containers"] if c["name"] != NAME],
        "initContainers": [],
        "volumes": {v["name"]: v for v in map(renamed, spec["volumes"])},
    }
    said = dict(flat({**found, "env": env}))
    said |= {f"volumeMounts.{path}": mount for path, mount in mounts.items()}
    return said | {f"pod.{key}": value for key, value in rest.items()}


def renamed(named: dict[str, Any]) -> dict[str, Any]:  # a volume, or its mount
    """Return it with inject's name."""
    return {**named, "name": OWN.get(named["name"], named["name"])}


def flat(value: dict[str, Any], path: str = "") -> Iterator[tuple[str, object]]:
    """Return the leaves by their paths."""
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from flat(inner, f"{path}{key}.")
        elif key != "volumeMounts":
            yield f"{path}{key}", inner


def differences(one: dict[str, object], other: dict[str, object]) -> set[str]:
    """Return the paths where two differ."""
    return {key for key in one | other if one.get(key) != other.get(key)}
