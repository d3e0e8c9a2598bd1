"""Manifests in the shapes that public charts render, through `inject` and `lint`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from ruamel.yaml import YAML

from sidecar.cli.identity import NAME
from tests.cli.command import Run, call
from tests.cli.snapshots import CHARTS, injected, made, snapshot

WRITTEN = [chart for chart in CHARTS if injected(chart).stdout]
PLAIN = [chart for chart in WRITTEN if chart.name != "by-hand.yaml"]


def stem(chart: Path) -> str:
    """Name a test."""
    return chart.stem


every = pytest.mark.parametrize("chart", CHARTS, ids=stem)
every_written = pytest.mark.parametrize("chart", WRITTEN, ids=stem)
every_plain = pytest.mark.parametrize("chart", PLAIN, ids=stem)


@every
def test_inject_adds_the_sidecar_and_changes_nothing_else(chart: Path) -> None:
    """Whoever reads the difference must find our lines in it, and no others."""
    assert snapshot(chart).read_text() == made(chart)


@every_written
def test_inject_twice_is_inject_once(chart: Path, tmp_path: Path) -> None:
    """A pipeline runs it at every deployment."""
    once = injected(chart)

    assert once.stdout == injected(chart, written(once, tmp_path)).stdout


@every_plain
def test_remove_gives_the_manifest_back_byte_for_byte(
    chart: Path, tmp_path: Path
) -> None:
    """What can be undone can be tried."""
    file = written(injected(chart), tmp_path)

    assert chart.read_text() == kept(chart, call("inject", "--remove", file).stdout)


def kept(chart: Path, text: str) -> str:
    """Return a text without what `--remove` can't know: what was there before."""
    if chart.name == "uid-of-the-image.yaml":
        head, containers, tail = text.partition("      initContainers:\n")
        return f"{head}      shareProcessNamespace: false\n{containers}{tail}"
    if chart.name in ("several-containers.yaml", "anchors.yaml"):
        return text.replace("      shareProcessNamespace: true\n", "")
    return text


@every_plain
def test_another_parser_reads_the_same_but_for_the_sidecar(chart: Path) -> None:
    """The text is edited in place; nothing of it may mean something else now."""
    before, after = documents(chart.read_text()), documents(injected(chart).stdout)

    assert emptied(before) == emptied(after)
    assert [*map(without_sidecar, pod_specs(before))] == [
        *map(without_sidecar, pod_specs(after))
    ]


@every_plain
def test_kubernetes_knows_every_field_that_is_written(chart: Path) -> None:
    """A misspelt field is refused by some API servers, and dropped by others."""
    for document in documents(injected(chart).stdout):
        for item in document.get("items", [document]):
            if "." not in item["apiVersion"]:  # custom kinds have their own schemas
                kubernetes_validate.validate(item, "1.31", strict=True)


@every_plain
def test_lint_finds_no_problem_in_what_inject_writes(
    chart: Path, tmp_path: Path
) -> None:
    """One table of findings judges both."""
    file = written(injected(chart), tmp_path)
    found = json.loads(call("lint", "--output", "json", file).stdout)

    assert [] == [finding for finding in found if finding["severity"] == "problem"]


@every_plain
def test_lint_says_nothing_of_pods_without_the_sidecar(chart: Path) -> None:
    """It runs over whole clusters, and most pods are none of its business."""
    result = call("lint", chart)

    assert (0, "") == (result.status, result.stdout)


def written(result: Run, folder: Path) -> Path:
    """Keep what a command wrote in a file."""
    file = folder / "written.yaml"
    file.write_bytes(result.stdout.encode())
    return file


def documents(text: str) -> list[Any]:  # manifests of any kind
    """Read a stream as ruamel does it, with YAML 1.1 as in kubectl."""
    yaml = YAML(typ="safe", pure=True)
    yaml.version = (1, 1)
    return [plain for plain in yaml.load_all(text) if plain is not None]


def pod_specs(said: Any) -> list[Any]:  # manifests of any kind
    """Return every mapping that has containers."""
    inside = said.values() if isinstance(said, dict) else said
    found = [said] if isinstance(said, dict) and "containers" in said else []
    for value in inside if isinstance(said, dict | list) else []:
        found += pod_specs(value)
    return found


def emptied(said: Any) -> Any:  # manifests of any kind
    """Return manifests with nothing in their pod specs."""
    if isinstance(said, list):
        return [emptied(value) for value in said]
    if isinstance(said, dict):
        return {} if "containers" in said else {k: emptied(v) for k, v in said.items()}
    return said


def without_sidecar(spec: Any) -> Any:  # a pod spec
    """Return it without what `inject` adds, and without what stands for nothing."""
    rest = {key: value for key, value in spec.items() if key != "shareProcessNamespace"}
    for key in ("containers", "initContainers", "volumes"):
        items = spec.get(key) or []
        rest[key] = [item for item in items if not item["name"].startswith(NAME)]
    return rest
