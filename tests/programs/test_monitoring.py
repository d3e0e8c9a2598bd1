"""The alerts and the dashboard, on promtool and on a Prometheus with real sidecars."""

from __future__ import annotations

import json
import math
import re
import subprocess
import tempfile
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.hook import Answer, Hook, Request
from tests.kubelet import KubeletVolume
from tests.loopback import free_port, get
from tests.programs.program import Program, require, wait_until_fresh
from tests.sidecar_process import CHECKOUT, SidecarProcess
from tests.waiting import wait_until
from tests.witness import Witness

MONITORING = CHECKOUT / "manifests/monitoring"
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text())
ALERTS = re.findall(r"- alert: (\w+)", (MONITORING / "prometheusrule.yaml").read_text())

# what Grafana puts in the place of its variables
VARIABLES = {
    "$namespace": ".*",
    "$workload": ".*",
    "$__rate_interval": "1m",
    "$__range": "1h",
}

# web-b never is: nobody listens where its webhook is
FRESH_AT_FIRST = {"web-a": "webhook:1", "db-0": "process", "lone": "webhook:1"}

# the operator writes the first three itself, from the same facts
SCRAPING = """\
    global: {{scrape_interval: 500ms, evaluation_interval: 500ms}}
    rule_files: [rules.yaml]
    scrape_configs:
      - job_name: monitoring/config-reload-sidecar
        static_configs: {pods}
        relabel_configs:
          - {{source_labels: [__meta_kubernetes_namespace], target_label: namespace}}
          - source_labels: [__meta_kubernetes_pod_container_name]
            target_label: container
          - {{source_labels: [__meta_kubernetes_pod_name], target_label: pod}}
    """


def rules() -> str:
    """Return the rules file in the PrometheusRule: what `spec:` holds, unindented."""
    text = (MONITORING / "prometheusrule.yaml").read_text()
    return textwrap.dedent(text.split("\nspec:\n", 1)[1])


def relabelings() -> str:
    """Return the PodMonitor's relabelings as the operator hands them on."""
    text = (MONITORING / "podmonitor.yaml").read_text().split("relabelings:\n", 1)[1]
    for ours, theirs in (
        ("sourceLabels:", "source_labels:"),
        ("targetLabel:", "target_label:"),
    ):
        text = text.replace(ours, theirs)
    return textwrap.dedent(text)


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run it to its end, both of its outputs in one."""
    return subprocess.run(
        [require("promtool", "prometheus"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def test_promtool_finds_no_fault_in_the_rules(scratch: Path) -> None:
    """A rules file with one wrong expression is refused as a whole."""
    (scratch / "rules.yaml").write_text(rules())

    run = promtool("check", "rules", scratch / "rules.yaml")

    assert 0 == run.returncode, run.stdout
    assert f"{len(ALERTS)} rules found" in run.stdout


def test_every_alert_fires_when_it_should_and_only_then(scratch: Path) -> None:
    """alerts_test.yaml plays the series over hours; promtool has the engine."""
    (scratch / "rules.yaml").write_text(rules())
    tests = scratch / "alerts_test.yaml"
    tests.write_text((MONITORING / tests.name).read_text())

    run = promtool("test", "rules", tests)

    assert 0 == run.returncode, run.stdout


class Prometheus(Program):
    """Prometheus with our rules, scraping what runs in pods as a PodMonitor would."""

    def __init__(self, directory: Path, pods: Mapping[int, Mapping[str, str]]) -> None:
        """Each pod is the port to scrape, and what service discovery says of it."""
        self.port = free_port()
        targets = [
            {
                "targets": [f"127.0.0.1:{port}"],
                "labels": {f"__meta_kubernetes_{name}": facts[name] for name in facts},
            }
            for port, facts in pods.items()
        ]
        config = textwrap.dedent(SCRAPING).format(pods=json.dumps(targets))
        (directory / "prometheus.yml").write_text(
            config + textwrap.indent(relabelings(), " " * 6)
        )
        (directory / "rules.yaml").write_text(rules())
        options = [
            f"--config.file={directory}/prometheus.yml",
            f"--storage.tsdb.path={directory}/data",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]
        super().__init__([require("prometheus", "prometheus"), *options], directory)

    def ask(self, path: str, **query: str) -> dict[str, Any]:  # any JSON
        """Return the data of an answer; nothing while it does not answer.

        Raises AssertionError with Prometheus' own words if it refuses the question.
        """
        answered = get(self.port, f"/api/v1/{path}?{urlencode(query)}")
        if answered is None or answered[0] == 503:  # it is not up yet
            return {}
        document: dict[str, Any] = json.loads(answered[1])
        assert "success" == document["status"], document
        data: dict[str, Any] = document["data"]
        return data

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an expression now: `metric` and `value`."""
        series: list[dict[str, Any]]
        series = self.ask("query", query=expression).get("result", [])
        return series

    def alert(self, name: str) -> dict[str, Any]:
        """Return an alerting rule as Prometheus understood it; empty at its start."""
        groups = self.ask("rules", type="alert").get("groups", [])
        loaded = {rule["name"]: rule for group in groups for rule in group["rules"]}
        found: dict[str, Any] = loaded.get(name, {})
        return found


@dataclass(frozen=True, slots=True)
class Cluster:
    """Four pods of three workloads, and what Prometheus knows of them."""

    prometheus: Prometheus

    def workloads(self, expression: str) -> set[str]:
        """Return which workloads an expression is about now."""
        return {
            series["metric"]["workload"] for series in self.prometheus.query(expression)
        }


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """One program of everything that can go wrong, and one with which nothing is.

    web-a is well. web-b counts fewer keys as configuration, so its digest differs, and
    nobody listens where its webhook is. The process of db-0 dies of the signal. `lone`
    has no controller; it does not agree to its second content, and loses its volume.
    """
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/tmp")))
        (scratch / "key").write_text("a key for digests")
        volumes = {
            name: KubeletVolume(scratch / name) for name in ("web", "db", "lone")
        }
        for volume in volumes.values():
            volume.write({"app": "1", "other": "1"})

        def agrees(request: Request, _number: int) -> Answer:
            told = request.method == "POST" or not lone.exists()
            return Answer(200 if told or lone.read_text() == "1" else 500)

        lone = volumes["lone"].path / "app"
        well = stack.enter_context(Hook())
        stubborn = stack.enter_context(Hook(agrees))
        mortal = stack.enter_context(Witness(volumes["db"].path, mode="default"))

        def sidecar(volume: str, **env: str) -> SidecarProcess:
            defaults = {
                "WATCH_DIRS": str(volumes[volume].path),
                "DIGEST_KEY_FILE": str(scratch / "key"),
                "RETRY_INITIAL": "100ms",
                "RETRY_MAX": "500ms",
            }
            return stack.enter_context(SidecarProcess(defaults | env))

        refused = f"http://127.0.0.1:{free_port()}/"
        sidecars = {
            "web-a": sidecar("web", WEBHOOK_URL=well.url),
            "web-b": sidecar("web", WEBHOOK_URL=refused, WATCH_INCLUDE="app"),
            "db-0": sidecar(
                "db",
                SIGNAL_GUARD="false",
                VERIFY_ALIVE="10s",
                CATCH_UP="never",  # it may be too young to be taken for fresh
                **mortal.selector(),
            ),
            "lone": sidecar(
                "lone",
                WEBHOOK_URL=stubborn.url,
                VERIFY_URL=stubborn.url,
                VERIFY_TIMEOUT="50ms",
            ),
        }
        for name, target in FRESH_AT_FIRST.items():
            wait_until_fresh(sidecars[name], target)

        pods = {sidecar.port: pod(name) for name, sidecar in sidecars.items()}
        (scratch / "prometheus").mkdir()
        prometheus = stack.enter_context(Prometheus(scratch / "prometheus", pods))
        wait_until(
            lambda: len(prometheus.query("config_reload_build_info")) == len(pods),
            "every sidecar was scraped",
        )
        for volume in volumes.values():
            volume.write({"app": "2", "other": "2"})
        sidecars["web-a"].wait_for("reload_succeeded", count=2)
        sidecars["db-0"].wait_for("reload_rejected", reason="died")
        sidecars["lone"].wait_for("reload_rejected", retry_in=None)
        volumes["lone"].path.rename(scratch / "gone")
        sidecars["lone"].wait_for("watch_degraded")
        yield Cluster(prometheus)


def pod(name: str) -> dict[str, str]:
    """Return what service discovery says of one of the pods."""
    facts = {
        "namespace": "shop",
        "pod_name": name,
        "pod_container_name": "config-reload",
    }
    if name.startswith("web-"):
        return facts | {
            "pod_controller_kind": "ReplicaSet",
            # a rolling update is under way: each has its own ReplicaSet
            "pod_controller_name": f"web-5d4f8c{name[-1]}",
            "pod_label_pod_template_hash": f"5d4f8c{name[-1]}",
        }
    if name == "db-0":
        return facts | {
            "pod_controller_kind": "StatefulSet",
            "pod_controller_name": "db",
        }
    return facts


def expressions() -> list[tuple[str, str]]:
    """Return title and expression of everything that the dashboard's panels ask."""
    return [
        (panel["title"], target["expr"])
        for panel in DASHBOARD["panels"]
        for target in panel["targets"]
    ]


def filled_in(expression: str) -> str:
    """Put values in the place of Grafana's variables."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


def test_the_podmonitor_says_which_workload_a_pod_belongs_to(cluster: Cluster) -> None:
    """Otherwise only kube-state-metrics knows which pods should be alike."""
    series = cluster.prometheus.query("config_reload_build_info")

    assert {
        "web-a": "Deployment/web",
        "web-b": "Deployment/web",
        "db-0": "StatefulSet/db",
        "lone": "Pod/lone",
    } == {s["metric"]["pod"]: s["metric"]["workload"] for s in series}


@pytest.mark.parametrize(
    ("title", "expression"), expressions(), ids=[title for title, _ in expressions()]
)
def test_every_expression_of_the_dashboard_returns_data(
    cluster: Cluster, title: str, expression: str
) -> None:
    """An empty panel looks like a quiet day. NaN is drawn as nothing, too."""

    def numbers() -> list[float]:
        found = cluster.prometheus.query(filled_in(expression))
        values = [float(series["value"][1]) for series in found]
        return [] if any(math.isnan(value) for value in values) else values

    assert wait_until(numbers, f"{title!r} has data")


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Sidecars", 4),
        ("Stale targets", 2),  # web-b, lone
        ("Not confirmed", 3),  # these and db-0
        ("Workloads that differ", 1),  # web
        ("Polling", 1),  # lone
    ],
)
def test_the_dashboard_counts_what_is_wrong(
    cluster: Cluster, title: str, expected: float
) -> None:
    """`or vector(0)` returns data whatever is asked, so the number must be right."""
    expression = filled_in(dict(expressions())[title])

    wait_until(
        lambda: (
            [expected]
            == [float(s["value"][1]) for s in cluster.prometheus.query(expression)]
        ),
        f"{title!r} is {expected}",
    )


@pytest.mark.parametrize(
    "variable",
    DASHBOARD["templating"]["list"][1:],
    ids=lambda variable: variable["name"],
)
def test_every_variable_of_the_dashboard_has_values(
    cluster: Cluster, variable: Mapping[str, str]
) -> None:
    """With an empty list of namespaces nothing can be chosen."""
    question = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["definition"])
    assert question
    expression, label = question.groups()

    series = cluster.prometheus.query(filled_in(expression))

    assert variable["name"] == label
    assert [] != series
    assert all(label in one["metric"] for one in series)


@pytest.mark.parametrize("name", ALERTS)
def test_prometheus_evaluates_every_alert_without_an_error(
    cluster: Cluster, name: str
) -> None:
    """Some mistakes, as two series that match one, show only on real series."""
    prometheus = cluster.prometheus

    rule = wait_until(
        lambda: (
            (rule := prometheus.alert(name)).get("health", "unknown") != "unknown"
            and rule
        ),
        f"{name} was evaluated",
    )

    assert ("ok", "") == (rule["health"], rule.get("lastError", ""))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # nobody, within five minutes; that somebody is stale the dashboard counts
        ("ConfigReloadStale", set()),
        ("ConfigReloadFailing", {"Deployment/web"}),
        ("ConfigReloadRejected", {"Pod/lone"}),
        ("ConfigReloadProcessDied", {"StatefulSet/db"}),
        ("ConfigReloadDigestsDiffer", {"Deployment/web"}),
        ("ConfigReloadWatchDegraded", {"Pod/lone"}),
    ],
)
def test_each_alert_means_whom_it_should(
    cluster: Cluster, name: str, expected: set[str]
) -> None:
    """A series that promtool is given is only what we believe that a sidecar says."""
    expression = wait_until(lambda: cluster.prometheus.alert(name), "loaded")["query"]

    wait_until(lambda: expected == cluster.workloads(expression), f"{name}: {expected}")
