"""Prometheus reloads on `POST /-/reload`, which says how it went, and on SIGHUP."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from tests.kubelet import KubeletVolume
from tests.loopback import free_port, get
from tests.programs.program import Program, reloading, require, wait_until_fresh
from tests.waiting import wait_until


class Prometheus(Program):
    """Prometheus with the volume's prometheus.yml, in which one label is ours."""

    def __init__(self, scratch: Path, volume: KubeletVolume) -> None:
        self.scratch = scratch
        self.port = free_port()
        self.volume = volume
        self.publish("one")
        options = [
            f"--config.file={volume.path}/prometheus.yml",
            f"--storage.tsdb.path={scratch}/data",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--web.enable-lifecycle",
        ]
        super().__init__([require("prometheus", "prometheus"), *options], scratch)

    def publish(self, label: str) -> None:
        labels = f"global:\n  external_labels:\n    edition: {label}\n"
        self.volume.write({"prometheus.yml": labels})

    def wait_until_it_reports(self, label: str) -> None:
        wait_until(
            lambda: f"edition: {label}\n" in self.configuration(),
            f"Prometheus reports {label!r}",
        )

    def configuration(self) -> str:
        """Return what it says that it loaded; nothing while it does not answer."""
        status, body = get(self.port, "/api/v1/status/config") or (None, "")
        loaded: str = json.loads(body)["data"]["yaml"] if status == 200 else ""
        return loaded


@pytest.fixture
def prometheus(scratch: Path, volume: KubeletVolume) -> Iterator[Prometheus]:
    """A server that scrapes nothing and reports `one`."""
    with Prometheus(scratch, volume) as prometheus:
        prometheus.wait_until_it_reports("one")
        yield prometheus


def test_prometheus_reports_an_update_after_a_webhook(prometheus: Prometheus) -> None:
    """What counts is what it loaded, not that it answered 200."""
    url = f"http://127.0.0.1:{prometheus.port}/-/reload"
    with reloading(prometheus.volume, "webhook:1", WEBHOOK_URL=url) as sidecar:
        told = len(sidecar.events("webhook_called"))

        prometheus.publish("two")

        prometheus.wait_until_it_reports("two")
        wait_until_fresh(sidecar, "webhook:1")
        assert 1 == len(sidecar.events("webhook_called")) - told


def test_prometheus_takes_a_mended_update_after_a_broken_one_by_webhook(
    prometheus: Prometheus,
) -> None:
    """A broken file is answered with 500 and retried; the mend cuts the waits short."""
    url = f"http://127.0.0.1:{prometheus.port}/-/reload"
    with reloading(prometheus.volume, "webhook:1", WEBHOOK_URL=url) as sidecar:
        prometheus.volume.write({"prometheus.yml": "nonsense: ["})
        sidecar.wait_for("reload_failed", target="webhook:1")
        prometheus.wait_until_it_reports("one")
        assert "stale" == sidecar.target("webhook:1")["state"]

        prometheus.publish("three")

        prometheus.wait_until_it_reports("three")
        wait_until_fresh(sidecar, "webhook:1")
        assert prometheus.alive


def test_prometheus_reports_an_update_after_sighup(prometheus: Prometheus) -> None:
    """Its second way, for pods that keep the lifecycle API closed."""
    with reloading(prometheus.volume, **selector(prometheus)) as sidecar:
        # the first is of the start; a line is read a moment after it was written
        sidecar.wait_for("reload_succeeded")

        prometheus.publish("two")

        prometheus.wait_until_it_reports("two")
        sidecar.wait_for("reload_succeeded", count=2)
        assert 2 == len(sidecar.events("signal_sent"))


def test_prometheus_takes_a_mended_update_after_a_broken_one_by_sighup(
    prometheus: Prometheus,
) -> None:
    """A signal has no answer; the program keeps what it had and says so in its log."""
    with reloading(prometheus.volume, **selector(prometheus)) as sidecar:
        prometheus.volume.write({"prometheus.yml": "nonsense: ["})
        wait_until(
            lambda: "Error reloading config" in prometheus.log, "Prometheus refuses it"
        )
        prometheus.wait_until_it_reports("one")

        prometheus.publish("three")

        prometheus.wait_until_it_reports("three")
        wait_until_fresh(sidecar)
        assert prometheus.alive


def selector(prometheus: Prometheus) -> dict[str, str]:
    """Return what finds this Prometheus by name, and by its files among others."""
    cmdline = re.escape(str(prometheus.scratch))
    return {"PROCESS_NAME": "prometheus", "PROCESS_CMDLINE": cmdline}


def verified(prometheus: Prometheus) -> dict[str, str]:
    """Return the variables of the preset's verification, for this server's port."""
    return {
        "VERIFY_URL": f"http://127.0.0.1:{prometheus.port}/metrics",
        "VERIFY_CHANGES": (
            r"prometheus_config_last_reload_success_timestamp_seconds (\S+)"
        ),
        "VERIFY_TIMEOUT": "1s",
    }


@pytest.mark.parametrize("way", ["signal", "webhook"])
def test_prometheus_proves_that_it_took_the_content(
    prometheus: Prometheus, way: Literal["signal", "webhook"]
) -> None:
    """The signal arrives either way, and only the metric tells good from broken.

    A POST is answered with 500, which nobody needs to hear for ever.
    """
    url = f"http://127.0.0.1:{prometheus.port}/-/reload"
    ways = {
        "signal": ("process", selector(prometheus)),
        "webhook": ("webhook:1", {"WEBHOOK_URL": url}),
    }
    target, told = ways[way]
    with reloading(
        prometheus.volume, target, **verified(prometheus), **told
    ) as sidecar:
        prometheus.volume.write({"prometheus.yml": "nonsense: ["})
        rejected = sidecar.wait_for("reload_rejected", target=target, retry_in=None)
        assert 4 == len(sidecar.events("reload_rejected"))
        assert [] == sidecar.events("reload_failed")
        assert "stale" == sidecar.target(target)["state"]

        prometheus.publish("three")

        sidecar.wait_for("change_detected", count=2)
        wait_until_fresh(sidecar, target)
        prometheus.wait_until_it_reports("three")

    assert "not_verified" == rejected.facts["reason"]
