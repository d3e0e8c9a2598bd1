"""A preset is nothing but defaults, and explicit variables win."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sidecar import presets, settings
from sidecar.variables import VARIABLES


@pytest.mark.parametrize("name", presets.PRESETS)
def test_every_preset_is_a_complete_and_valid_choice(name: str, tmp_path: Path) -> None:
    """Nobody should see an error about a value that they never wrote."""
    chosen = settings.from_env({"WATCH_DIRS": str(tmp_path), "PRESET": name})

    assert chosen.process or chosen.webhooks
    assert () == chosen.warnings
    assert presets.PRESETS[name].keys() <= VARIABLES.keys()


def test_a_preset_is_found_in_any_case() -> None:
    """`PRESET=Prometheus` means what it says."""
    assert presets.defaults("prometheus", {}) == presets.defaults("Prometheus", {})


def test_an_unknown_preset_is_answered_with_the_nearest() -> None:
    """A typing mistake is the likeliest reason."""
    with pytest.raises(ValueError, match=r"nearest: nginx\); accepted: .*, vector"):
        presets.defaults("ngnix", {})


def test_explicit_variables_win() -> None:
    """The preset fills only what is left."""
    assert {"PROCESS_NAME": "nginx"} == presets.defaults(
        "nginx", {"RELOAD_SIGNAL": "SIGHUP"}
    )


@pytest.mark.parametrize("selector", ["PROCESS_CONTAINER", "PID_FILE"])
def test_a_further_selector_narrows_the_preset(selector: str) -> None:
    """`PRESET=nginx` in two containers: the one that is named."""
    assert "nginx" == presets.defaults("nginx", {selector: "x"})["PROCESS_NAME"]


def test_an_explicit_url_replaces_the_preset_s_process() -> None:
    """Who gives Prometheus's reload URL doesn't want it signalled as well."""
    filled = presets.defaults("prometheus", {"WEBHOOK_URL": "http://x"})

    assert {"VERIFY_URL", "VERIFY_CHANGES"} == filled.keys()


def test_a_url_and_a_selector_keep_the_preset_s_process() -> None:
    """Both were asked for."""
    explicit = {"WEBHOOK_URL": "http://x", "PROCESS_CONTAINER": "web"}

    assert "nginx" == presets.defaults("nginx", explicit)["PROCESS_NAME"]


def test_an_explicit_process_replaces_the_preset_s_webhook() -> None:
    """The same the other way round."""
    filled = presets.defaults("fluent-bit", {"PROCESS_NAME": "fluent-bit"})

    assert {"VERIFY_URL", "VERIFY_CHANGES"} == filled.keys()


@pytest.mark.parametrize("name", ["alertmanager", "blackbox_exporter", "prometheus"])
def test_the_metric_is_read_and_not_its_help(name: str) -> None:
    """The name also stands in HELP and TYPE, where nothing ever changes."""
    changes = presets.PRESETS[name]["VERIFY_CHANGES"]
    metric = f"{name}_config_last_reload_success_timestamp_seconds"
    exposed = (
        f"# HELP {metric} Timestamp of the last successful configuration reload.\n"
        f"# TYPE {metric} gauge\n"
        f"{metric} 1.7637e+09\n"
    )
    found = re.search(changes, exposed)

    assert found
    assert "1.7637e+09" == found[1]


@pytest.mark.parametrize(
    ("name", "command_line"),
    [
        ("gunicorn", "/usr/bin/python3 /usr/bin/gunicorn -b 127.0.0.1:80 app:app"),
        ("gunicorn", "python -u -m gunicorn app:app"),
        ("gunicorn", "gunicorn: master [app:app]"),
        ("gunicorn", "/venv/bin/gunicorn app:app"),
        ("otelcol", "/otelcol-contrib --config /etc/otelcol/config.yaml"),
        ("otelcol", "otelcol"),
        ("php-fpm", "php-fpm: master process (/usr/local/etc/php-fpm.conf)"),
    ],
)
def test_finds_the_program_by_its_command_line(name: str, command_line: str) -> None:
    """However it was packaged and whether or not it renamed itself."""
    assert re.search(presets.PRESETS[name]["PROCESS_CMDLINE"], command_line)


@pytest.mark.parametrize(
    ("name", "command_line"),
    [
        ("gunicorn", "gunicorn: worker [app:app]"),
        ("gunicorn", "sh -c gunicorn app:app"),
        ("gunicorn", "tail -f /var/log/gunicorn.log"),
        ("gunicorn", "uv run gunicorn app:app"),
        ("otelcol", "vi /etc/otelcol"),
        ("php-fpm", "php-fpm: pool www"),
    ],
)
def test_finds_nobody_else(name: str, command_line: str) -> None:
    """Who only mentions the program would be killed by its signal."""
    assert not re.search(presets.PRESETS[name]["PROCESS_CMDLINE"], command_line)
