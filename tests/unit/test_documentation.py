"""What the documents promise, compared with the code: documents age."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import sidecar
from sidecar.errors import REASONS, StatusError
from sidecar.log import EVENTS
from sidecar.metrics import Metrics
from sidecar.variables import VARIABLES

ROOT = Path(sidecar.__file__).parent.parent
README = (ROOT / "README.md").read_text()


def rows(text: str, title: str) -> dict[str, str]:
    """Return first and second column of the first table under a title."""
    section = text.split(f"{title}\n", 1)[1].split("\n#", 1)[0]
    return dict(re.findall(r"^\| `([^`]+)` \| (.+?) \|$", section, re.MULTILINE))


def test_readme_lists_every_log_event() -> None:
    """Somebody greps for them at night."""
    assert dict(EVENTS) == rows(README, "## Log")


def test_readme_lists_every_metric() -> None:
    """Somebody alerts on them."""
    metrics = Metrics()
    metrics.expect(["process"], ["/etc/site"])
    text = metrics.render("")[0].decode()
    exposed = set(re.findall(r"^# TYPE (config_reload_\w+) ", text, re.MULTILINE))
    listed = {name.partition("{")[0] for name in rows(README, "## Metrics")}

    assert exposed == listed


def test_the_documents_explain_every_reason() -> None:
    """A reason is a word; what to do about it is a sentence."""
    assert dict(REASONS) == rows((ROOT / "docs/REASONS.md").read_text(), "# Reasons")


def test_every_error_has_a_known_reason() -> None:
    """Reasons are a closed set, or nobody could alert on one."""
    used = set()
    for file in (ROOT / "sidecar").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == (
                "ReloadError"
            ):
                used.add(ast.unparse(node.args[0]).strip("'"))

    used.add(StatusError(500, "a subclass brings its own").reason)
    # a copy of an error keeps its reason; the courier ends a reload without an error
    assert set(REASONS) - {"shutdown"} == used - {"error.reason"}


def test_who_comes_from_another_reloader_is_led_to_variables_that_exist() -> None:
    """The peers' flags are on the left, ours on the right; a default may follow."""
    section = README.split("## Coming from another reloader\n", 1)[1]
    tables = section.split("\n## ", 1)[0]
    ours = {
        name
        for row in re.findall(r"^\| .* \| (.*) \|$", tables, re.MULTILINE)
        for name in re.findall(r"`([A-Z][A-Z_]+)\b", row)
    }

    assert {"WATCH_DIRS", "WEBHOOK_URL"} <= ours
    assert set() == ours - VARIABLES.keys()
