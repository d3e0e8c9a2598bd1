"""The examples are what `inject` makes of plain applications, or a reason is given."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from sidecar.cli.identity import NAME
from sidecar.cli.injection import STATE_VOLUME
from tests.cli.command import call
from tests.cli.test_charts import documents, pod_specs

FOLDER = Path(__file__).parent.parent.parent / "manifests" / "examples"
EXAMPLES = sorted(FOLDER.glob("*.yaml"))
# kustomize's own files and patches are no manifests before it has put them together
EVERY = sorted(set(FOLDER.rglob("*.yaml")) - set(FOLDER.glob("component/[ck]*.yaml")))

# what differs, and why
READING = {
    "imagePullPolicy": "the default, said for whoever reads",
    "readinessProbe.periodSeconds": "so that the example is ready sooner",
}
CONTAINER = {
    "env.PROCESS_CONTAINER": "inject always names it; the example has only one program"
}
DIRECTORY = {
    "env.WATCH_DIRS": "any directory does, and the example shows that",
    "volumeMounts./etc/site.name": "so it is mounted there",
    "volumeMounts./etc/site.readOnly": "and likewise",
    "volumeMounts./etc/nginx/conf.d.name": "inject takes the program's own",
    "volumeMounts./etc/nginx/conf.d.readOnly": "and likewise",
}
VERIFICATION = {
    "env.PRESET": "inject names the preset",
    "env.VERIFY_URL": "and the example shows what it sets",
    "env.VERIFY_CHANGES": "likewise",
}

EXPLAINED = {
    "nginx.yaml": ("--signal nginx", READING | CONTAINER | DIRECTORY),
    "restricted.yaml": ("--signal nginx", READING | CONTAINER),
    "native-sidecar.yaml": ("--signal nginx --native", READING | CONTAINER),
    "tls-secret.yaml": ("--signal nginx", READING | CONTAINER),
    "haproxy.yaml": ("--preset haproxy", READING | CONTAINER),
    "postgresql.yaml": ("--signal postgres", READING | CONTAINER),
    "prometheus.yaml": (
        "--webhook http://127.0.0.1:9090/-/reload",
        READING | VERIFICATION,
    ),
    "projected.yaml": ("--webhook http://127.0.0.1:9090/-/reload", READING),
}
"""By example: the options, and why what differs does."""


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda f: f.name)
def test_inject_makes_the_example_of_its_plain_application(
    file: Path, tmp_path: Path
) -> None:
    """What is shown and what is made must not drift apart."""
    options, explained = EXPLAINED[file.name]
    plain = tmp_path / "plain.yaml"
    plain.write_text(call("inject", "--remove", file).stdout)
    made = call("inject", *shlex.split(options), plain).stdout

    (example,) = (s for d in documents(file.read_text()) for s in pod_specs(d))
    (injected,) = (s for d in documents(made) for s in pod_specs(d))
    assert example.get("shareProcessNamespace") == injected.get("shareProcessNamespace")
    assert set(explained) == differences(facts(example), facts(injected))


@pytest.mark.parametrize("file", EVERY, ids=lambda f: str(f.relative_to(FOLDER)))
def test_lint_finds_nothing_wrong_with_the_examples(file: Path) -> None:
    """They are copied, faults and all."""
    assert "" == call("lint", file).stdout


def facts(spec: Any) -> dict[str, object]:  # a pod spec
    """Return what is said of the sidecar, as paths with values."""
    (found,) = (
        {"section": section, **container}
        for section in ("containers", "initContainers")
        for container in spec.get(section, [])
        if container["name"] == NAME
    )
    env = {variable["name"]: variable["value"] for variable in found["env"]}
    mounts = {
        mount.pop("mountPath"): mount
        for mount in ({**mount} for mount in found["volumeMounts"])
    }
    for mount in mounts.values():
        if mount["name"] == "state":  # any name does
            mount["name"] = STATE_VOLUME
    return flat({**found, "env": env, "volumeMounts": mounts})


def flat(value: object, path: str = "") -> dict[str, object]:
    """Return the leaves by their paths."""
    if not isinstance(value, dict):
        return {path: value}
    parts = [flat(inner, f"{path}.{key}".strip(".")) for key, inner in value.items()]
    return {key: leaf for part in parts for key, leaf in part.items()}


def differences(one: dict[str, object], other: dict[str, object]) -> set[str]:
    """Return the paths where two differ."""
    return {key for key in one | other if one.get(key) != other.get(key)}
