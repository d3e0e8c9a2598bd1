"""EVENTS: what became of reloads, recorded on the pod."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any  # any JSON, as the API shapes it

import pytest

from tests.api_server import ApiServer, Call
from tests.hook import Answer, Hook
from tests.pod import pod
from tests.waiting import wait_until

EVENTS = {"EVENTS": "true", "VERIFY_ALIVE": "0"}


@pytest.fixture
def hook() -> Iterator[Hook]:
    """A program that takes every change."""
    with Hook() as hook:
        yield hook


def recorded(api: ApiServer) -> list[tuple[str, str]]:
    """Return type and reason of each event, in order."""
    return [
        (call.body["type"], call.body["reason"])
        for call in api.calls("POST", "/api/v1/namespaces/site/events")
    ]


def test_a_reload_is_recorded_on_the_pod(
    api: ApiServer, hook: Hook, tmp_path: Path
) -> None:
    """Who looks with `kubectl describe pod` finds it, and no value with it."""
    sidecar, volume = pod(api, tmp_path / "web-1", WEBHOOK_URL=hook.url, **EVENTS)
    with sidecar:
        sidecar.wait_for("already_fresh")
        volume.write({"app": "hunter2"})
        [call] = api.wait_for("POST", 1)

    event: dict[str, Any] = call.body
    assert ("Normal", "ConfigReloaded") == (event["type"], event["reason"])
    assert "webhook:1: took the new configuration" == event["message"]
    assert {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": "web-1",
        "namespace": "site",
        "uid": "uid-of-web-1",
    } == event["involvedObject"]
    assert "hunter2" not in str(event)


def test_a_failure_is_recorded_once_however_often_it_is_tried_again(
    api: ApiServer, hook: Hook, tmp_path: Path
) -> None:
    """A webhook that is down for a night must not fill the cluster's database."""
    hook.answers = lambda _request, number: Answer(503 if number < 6 else 200)
    sidecar, volume = pod(api, tmp_path / "web-1", WEBHOOK_URL=hook.url, **EVENTS)
    with sidecar:
        sidecar.wait_for("already_fresh")
        volume.write({"app": "2"})
        sidecar.wait_for("reload_succeeded")
        api.wait_for("POST", 2)

    assert 5 == len(sidecar.events("reload_failed"))
    assert [("Warning", "ConfigReloadFailed"), ("Normal", "ConfigReloaded")] == (
        recorded(api)
    )


def test_what_comes_too_often_is_left_out_and_counted(
    api: ApiServer, hook: Hook, tmp_path: Path
) -> None:
    """A program that fails in ever new ways is in the log, each time."""
    hook.answers = lambda _request, number: Answer(400 + number % 40)
    sidecar, _ = pod(
        api,
        tmp_path / "web-1",
        WEBHOOK_URL=hook.url,
        RETRY_INITIAL="1ms",
        RETRY_MAX="5ms",
        CATCH_UP="always",
        **EVENTS,
    )
    with sidecar:
        sidecar.wait_for("reload_failed", count=60)
        api.wait_for("POST", 25)

    assert 25 == len(recorded(api))


def test_an_api_server_that_hangs_holds_up_no_reload(
    api: ApiServer, hook: Hook, tmp_path: Path
) -> None:
    """Events are for people; the program comes first."""
    go_on = threading.Event()

    def hang(_: Call) -> None:
        go_on.wait(60)

    api.refuse = hang
    sidecar, volume = pod(api, tmp_path / "web-1", WEBHOOK_URL=hook.url, **EVENTS)
    with sidecar:
        sidecar.wait_for("already_fresh")
        for number in range(2, 5):
            volume.write({"app": str(number)})
            hook.wait_for(number - 1)
            sidecar.wait_for("reload_succeeded", count=number - 1)
        go_on.set()


def test_a_missing_role_is_a_warning_until_it_is_there(
    api: ApiServer, hook: Hook, tmp_path: Path
) -> None:
    """The reload succeeds all the same."""
    api.refuse = lambda _: (403, "cannot create events")
    sidecar, volume = pod(api, tmp_path / "web-1", WEBHOOK_URL=hook.url, **EVENTS)
    with sidecar:
        sidecar.wait_for("already_fresh")
        volume.write({"app": "2"})
        warning = sidecar.wait_for("warning")
        sidecar.wait_for("reload_succeeded")
        api.refuse = lambda _: None
        volume.write({"app": "3"})
        wait_until(lambda: not sidecar.status()["warnings"], "the warning is gone")

    assert "events can't be recorded" in warning.facts["message"]
    assert "manifests/events/role.yaml" in warning.facts["message"]


def test_once_records_its_events_before_it_ends(
    api: ApiServer, hook: Hook, tmp_path: Path
) -> None:
    """A job is gone a moment later."""
    sidecar, _ = pod(
        api,
        tmp_path / "web-1",
        args=["once"],
        WEBHOOK_URL=hook.url,
        CATCH_UP="always",
        **EVENTS,
    )
    with sidecar:
        assert 0 == sidecar.wait()

    assert [("Normal", "ConfigReloaded")] == recorded(api)
