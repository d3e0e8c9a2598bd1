"""What `lint` prints: for people, for machines, and for GitHub."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from sidecar.findings import CODES
from tests.cli.command import Run, call, run
from tests.unit.test_documentation import ROOT, rows

BY_HAND = Path(__file__).parent / "charts" / "by-hand.yaml"
SPEC = "spec.template.spec"


def linted(output: str) -> Run:
    """Lint a sidecar that was written by hand, and not well."""
    return call("lint", "--output", output, BY_HAND)


def test_text_begins_with_the_place_as_compilers_write_it() -> None:
    """Editors and terminals make links of it."""
    result = linted("text")

    assert result.stdout.startswith(
        f"{BY_HAND}:19: warning volume-writable: deployment/web "
        f"{SPEC}.containers[1].volumeMounts[0]: /etc/site is watched, and mounted "
        "writable → set readOnly: true: the sidecar only reads\n"
    )
    assert (
        "1 pod template, 1 with the sidecar: 2 problems, 3 warnings\n" == result.stderr
    )
    assert 1 == result.status


def test_json_has_the_fields_of_check_and_the_place() -> None:
    """Who reads the one reads the other."""
    found = json.loads(linted("json").stdout)

    assert {
        "file": str(BY_HAND),
        "line": 7,
        "path": SPEC,
        "code": "namespace-missing",
        "severity": "problem",
        "subject": "deployment/web",
        "text": "the sidecar can neither see nor signal processes of other containers",
        "mend": "set shareProcessNamespace: true in the pod spec",
    } in found


def test_github_annotates_the_line_of_the_change() -> None:
    """A workflow command: `::error file=...,line=...,title=...::message`."""
    assert (
        f"::error file={BY_HAND},line=7,title=deployment/web namespace-missing::"
        "the sidecar can neither see nor signal processes of other containers → set "
        "shareProcessNamespace: true in the pod spec"
    ) in linted("github").stdout.splitlines()


def test_github_gets_no_command_from_a_manifest(tmp_path: Path) -> None:
    """A name in it may hold line ends, and what follows would be obeyed."""
    text = BY_HAND.read_text().replace("name: web", 'name: "a\\n::set-env name=b::c"')
    file = tmp_path / "a,b:c%.yaml"
    file.write_text(text.replace("value: nginx", 'value: "a/\\n::error ::x"'))
    lines = call("lint", "--output", "github", file).stdout.splitlines()

    assert {"::error", "::warning"} == {line.partition(" ")[0] for line in lines}
    assert all("a%2Cb%3Ac%25.yaml,line=" in line for line in lines)
    assert not any("set-env name=b::c" in line for line in lines)


def test_text_gets_no_line_from_a_manifest(tmp_path: Path) -> None:
    """Nor a terminal's command: what is in a manifest stays in its sentence."""
    file = tmp_path / "web.yaml"
    text = BY_HAND.read_text()
    file.write_text(text.replace("name: web", r'name: "a\n\e[31mb"'))
    told = call("lint", file).stdout

    assert "deployment/a\\n\\x1b[31mb " in told
    assert all(line.startswith(f"{file}:") for line in told.splitlines())


@pytest.mark.parametrize("output", ["text", "json", "github"])
def test_the_exit_status_tells_of_problems_in_every_format(output: str) -> None:
    """CI goes by it."""
    assert 1 == linted(output).status


def test_the_document_lists_every_finding() -> None:
    """With the mend: `lint --codes` writes it, and nobody by hand."""
    document = (ROOT / "docs" / "LINT.md").read_text()

    assert document == call("lint", "--codes").stdout
    assert "problem" == rows(document, "# Findings")["sub-path"].split(" | ")[0]


def test_every_code_of_the_table_is_found_by_somebody() -> None:
    """`check`, `lint` and `inject` share it; a code that nobody finds is a promise."""
    files = (ROOT / "sidecar").rglob("*.py")
    found = {
        code
        for file in files
        for code in re.findall(r'(?:Finding|Flaw)\(\s*"([a-z-]+)"', file.read_text())
    }

    assert set(CODES) == found


def test_readme_lists_every_option_of_inject() -> None:
    """It is where a stranger looks for them."""
    listed = rows(ROOT.joinpath("README.md").read_text(), "### With one command")
    known = run("inject", "--help").stdout

    assert set(re.findall(r"^  (--[a-z]+)", known, re.MULTILINE)) == {
        option.partition(" ")[0] for option in listed
    }
