"""docs/OPERATIONS.md, the alerts and the dashboard name what the code tells, all of it.

Whoever is woken by an alert has a name, and searches for it.
"""

from __future__ import annotations

import json
import re

from sidecar.findings import CODES
from sidecar.log import EVENTS
from sidecar.metrics import Metrics
from tests.unit.test_documentation import README, ROOT, rows

OPERATIONS = (ROOT / "docs/OPERATIONS.md").read_text()
MONITORING = ROOT / "manifests/monitoring"
RULES = (MONITORING / "prometheusrule.yaml").read_text()
ALERTS_TEST = (MONITORING / "alerts_test.yaml").read_text()
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text())
ALERTS = re.findall(r"- alert: (\w+)", RULES)

GRID = 24
"""How many columns a dashboard of Grafana has."""


def metrics() -> set[str]:
    """Return the name of every metric that the sidecar has."""
    exposed = Metrics()
    exposed.expect(["process"], ["/etc/site"])
    text = exposed.render("")[0].decode()
    return set(re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE))


def used(text: str) -> set[str]:
    """Return the metrics of ours that a text names; a histogram by its own name."""
    names = re.findall(r"\bconfig_reload_\w+", text)
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}


def panel_expressions() -> str:
    """Return all that the dashboard asks."""
    panels, variables = DASHBOARD["panels"], DASHBOARD["templating"]["list"]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    return "\n".join(asked + [v.get("definition", "") for v in variables])


def test_operations_says_of_every_metric_what_to_do() -> None:
    """Those of the process, too: they tell of leaks and of restarts."""
    listed = rows(OPERATIONS, "## Metrics")

    assert metrics() == {name.partition("{")[0] for name in listed}
    assert set(rows(README, "## Metrics")) == {
        name for name in listed if name.startswith("config_reload_")
    }


def test_operations_says_of_every_log_event_what_to_do() -> None:
    """In the order of README, which says what they mean."""
    assert list(EVENTS) == list(rows(OPERATIONS, "## Log events"))


def test_operations_says_of_every_finding_what_to_do() -> None:
    """In the order of the code's table, with its severities and sentences."""
    listed = rows(OPERATIONS, "## What `check` finds")

    assert list(CODES) == list(listed)
    for code, told in CODES.items():
        assert listed[code].startswith(f"{told.severity} | {told.meaning} | "), code


def test_operations_says_of_every_alert_what_to_do() -> None:
    """In the order of the rules."""
    section = OPERATIONS.split("\n## Alerts\n", 1)[1].split("\n## ", 1)[0]

    assert ALERTS == re.findall(r"^### (\w+)$", section, re.MULTILINE)


def test_operations_speaks_of_no_alert_that_is_not_there() -> None:
    """A renamed alert leaves its old name behind in other places."""
    assert set(ALERTS) == set(re.findall(r"\bConfigReload\w+", OPERATIONS))


def test_every_alert_says_what_is_wrong_where_and_where_to_read_on() -> None:
    """Whoever is woken has these few lines and nothing else."""
    for name, rule in zip(ALERTS, RULES.split("- alert: ")[1:], strict=True):
        annotations = rule.split("annotations:\n", 1)[1]
        assert f"runbook: docs/OPERATIONS.md#{name.lower()}\n" in annotations
        assert re.search(r"^ +summary: .+\.$", annotations, re.MULTILINE), name
        assert "$labels.namespace" in annotations, name
        assert "$labels.workload" in annotations, name
        assert re.search(r"^ +severity: (critical|warning|info)$", rule, re.MULTILINE)


def test_every_alert_is_tested_both_ways() -> None:
    """Promtool says nothing about a rule that no test names."""
    cases = r"alertname: (\w+)\n +eval_time: .+\n +exp_alerts:(.*)\n"
    tested = re.findall(cases, ALERTS_TEST)

    assert set(ALERTS) == {name for name, expected in tested if expected == ""}
    assert set(ALERTS) == {name for name, expected in tested if expected == " []"}


def test_alerts_and_dashboard_ask_for_metrics_that_exist() -> None:
    """PromQL answers a wrong name with silence."""
    assert set() == used(RULES) - metrics()
    assert set() == used(ALERTS_TEST) - metrics()
    assert set() == used(panel_expressions()) - metrics()


def test_the_dashboard_takes_its_data_source_from_a_variable() -> None:
    """Each Grafana has its own name for it."""
    panels, variables = DASHBOARD["panels"], DASHBOARD["templating"]["list"]
    askers = [*panels, *(target for panel in panels for target in panel["targets"])]
    askers += [variable for variable in variables if variable["type"] == "query"]

    assert ("datasource", "prometheus") == (variables[0]["name"], variables[0]["query"])
    assert {"${datasource}"} == {asker["datasource"]["uid"] for asker in askers}


def test_no_two_panels_share_an_id_or_a_place() -> None:
    """Grafana shows one of them, or moves them about."""
    panels = DASHBOARD["panels"]
    cells = [
        (grid["x"] + column, grid["y"] + row)
        for grid in (panel["gridPos"] for panel in panels)
        for column in range(grid["w"])
        for row in range(grid["h"])
    ]

    assert len(panels) == len({panel["id"] for panel in panels})
    assert len(cells) == len(set(cells))
    assert GRID == 1 + max(column for column, _ in cells)


def test_every_panel_and_query_can_be_told_from_the_others() -> None:
    """Two queries of one `refId` are one query to Grafana."""
    for panel in DASHBOARD["panels"]:
        names = [target["refId"] for target in panel["targets"]]
        assert len(names) == len(set(names)), panel["title"]
        assert panel["title"]
        assert panel["description"], panel["title"]
