"""Manifests in every way that YAML can be written, through `inject` and back."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings, strategies as st

from tests.cli.command import call
from tests.cli.test_charts import documents, emptied, pod_specs, without_sidecar

APP = {
    "name": "app",
    "image": "registry.example/app:1",
    "volumeMounts": [{"name": "config", "mountPath": "/etc/app"}],
}
OTHER = {"name": "other", "image": "b:2", "args": ["# no comment", "two\nlines\n\n"]}
OUTER = ("spec", "template")
CONFIG = {"name": "config", "configMap": {"name": "app"}}
SCRATCH = {"name": "scratch", "emptyDir": {}}


@dataclass(frozen=True)
class Writer:
    """Writes a value as YAML, in a style that is drawn."""

    data: st.DataObject
    step: int
    offset: int

    def chosen(self, *ways: Any) -> Any:  # whatever there is to choose from
        return self.data.draw(st.sampled_from(ways))

    def document(self, value: dict[str, Any]) -> str:
        return "".join(f"{line}\n" for line in self.pairs(value, 0))

    def pairs(self, value: dict[str, Any], column: int) -> list[str]:
        lines = []
        for key, inner in value.items():
            lines += self.noise(column)
            name = self.chosen(key, key, f'"{key}"')
            head, *rest = self.value(inner, column, always=key in OUTER)
            lines += [f"{' ' * column}{name}:{head}", *rest]
        return lines

    def value(self, value: Any, column: int, *, always: bool) -> list[str]:
        """Return what follows the colon, and the lines below; a block, or maybe one."""
        block = value and (always or self.chosen(True, True, True, False))
        if isinstance(value, dict) and block:
            return [self.remark(""), *self.pairs(value, column + self.step)]
        if isinstance(value, list) and block:
            lines = [self.remark("")]
            for item in value:
                lines += self.noise(column + self.offset)
                lines += self.item(item, column + self.offset)
            return lines
        if isinstance(value, str) and "\n" in value and block:
            inner = " " * (column + self.step)
            return [" |+", *(f"{inner}{line}" for line in value.splitlines())]
        return [self.remark(f" {self.flow(value)}")]

    def item(self, value: Any, column: int) -> list[str]:
        dash = f"{' ' * column}-{self.chosen(' ', '   ')}"
        if isinstance(value, dict) and self.chosen(True, True, False):
            first, *rest = self.pairs_without_noise_above(value, len(dash))
            return [dash + first[len(dash) :], *rest]
        if isinstance(value, str) and "\n" in value:
            inner = " " * (column + 2)
            return [
                f"{' ' * column}- {self.chosen('|', '|+')}",
                *(f"{inner}{line}" if line else "" for line in value.splitlines()),
            ]
        return [self.remark(dash + self.flow(value))]

    def pairs_without_noise_above(
        self, value: dict[str, Any], column: int
    ) -> list[str]:
        lines = self.pairs(value, column)
        while lines[0].strip().startswith("#") or not lines[0].strip():
            del lines[0]
        return lines

    def flow(self, value: Any) -> str:
        if isinstance(value, str) and value.isalpha():
            return str(self.chosen(value, f"'{value}'", f'"{value}"'))
        if isinstance(value, list):
            return f"[{self.chosen('', ' ')}{', '.join(map(self.flow, value))}]"
        if isinstance(value, dict):
            pairs = (f"{key}: {self.flow(inner)}" for key, inner in value.items())
            return f"{{{self.chosen('', ' ')}{', '.join(pairs)}}}"
        return json.dumps(value)

    def remark(self, line: str) -> str:
        return f"{line}{self.chosen('', '', '', '   # said - here')}"

    def noise(self, column: int) -> list[str]:
        """Return a comment, an empty line, or nothing."""
        deeper = " " * (column + self.step)
        return list(
            self.chosen(
                *[[]] * 6, [""], [f"{' ' * column}# - name: old"], [f"{deeper}# in"]
            )
        )


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Return the text of a Deployment."""
    containers = draw(st.sampled_from([[APP], [APP, OTHER], [OTHER, APP]]))
    volumes = draw(st.sampled_from([[CONFIG], [CONFIG, SCRATCH], [SCRATCH, CONFIG]]))
    spec = draw(
        st.permutations(
            [
                ("containers", containers),
                ("volumes", volumes),
                ("hostname", "app"),
                ("tolerations", []),
            ]
        )
    )
    template = {"metadata": {"labels": {"app": "app"}}, "spec": dict(spec)}
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "app"},
        "spec": {"template": template, "replicas": 1},
    }
    writer = Writer(
        draw(st.data()), draw(st.sampled_from([2, 4])), draw(st.sampled_from([0, 2]))
    )
    text = writer.document(manifest)
    after = draw(st.sampled_from(["", "# the end\n", "---\n# nothing\n", "...\n"]))
    text = draw(st.sampled_from([text, text.rstrip("\n"), f"{text}{after}"]))
    return text.replace("\n", draw(st.sampled_from(["\n", "\n", "\r\n"])))


def line_ends(text: str) -> set[str]:
    """Return the ways in which lines end."""
    return set(re.findall(r"\r?\n", text))


@settings(
    deadline=None,
    derandomize=True,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(text=texts(), native=st.booleans())
def test_whatever_the_style_the_sidecar_is_all_that_comes_and_goes(
    text: str, native: bool, tmp_path: Path
) -> None:
    """Three parsers agree: ours, ruamel's, and whoever compares bytes."""
    plain, once = tmp_path / "plain.yaml", tmp_path / "once.yaml"
    plain.write_bytes(text.encode())
    options = ["--webhook=http://127.0.0.1/", *(["--native"] if native else [])]

    injected = call("inject", *options, plain)
    once.write_bytes(injected.stdout.encode())

    assert (0, "") == (injected.status, injected.stderr)
    assert 1 == injected.stdout.count("config-reload-sidecar")
    assert {"\r\n" if "\r\n" in text else "\n"} == line_ends(injected.stdout)
    before, after = documents(text), documents(injected.stdout)
    assert emptied(before) == emptied(after)
    assert [*map(without_sidecar, pod_specs(before))] == [
        *map(without_sidecar, pod_specs(after))
    ]
    assert injected.stdout == call("inject", *options, once).stdout
    assert text == call("inject", "--remove", once).stdout
