"""Webhooks as targets: real servers that answer, refuse, hang and disagree."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hook import Answer, Hook, Request
from tests.kubelet import KubeletVolume
from tests.sidecar_process import SidecarProcess
from tests.waiting import wait_until
from tests.witness import Witness

FAST = {"VERIFY_ALIVE": "0", "RETRY_INITIAL": "20ms", "RETRY_MAX": "100ms"}


def sidecar(volume: KubeletVolume, *urls: str, **env: str) -> SidecarProcess:
    """Return a sidecar that calls these URLs."""
    return SidecarProcess(
        {"WATCH_DIRS": str(volume.path), "WEBHOOK_URL": ",".join(urls), **FAST, **env}
    )


def state(process: SidecarProcess, name: str = "webhook:1") -> str:
    """Return what `/status` says of a target."""
    return str(process.target(name).get("state"))


def wait_until_fresh(process: SidecarProcess, name: str = "webhook:1") -> None:
    """Wait until a target holds the newest content."""
    wait_until(lambda: state(process, name) == "fresh", f"{name} is fresh")


@pytest.fixture
def hook() -> Iterator[Hook]:
    """A server that says yes to everything."""
    with Hook() as hook:
        yield hook


def test_an_update_is_one_request(volume: KubeletVolume, hook: Hook) -> None:
    """POST without a body, unless somebody wants more."""
    with sidecar(volume, hook.url) as process:
        wait_until_fresh(process)
        before = len(hook.requests)
        volume.write({"app": "2", "new": "1"})
        request = hook.wait_for(before + 1)[-1]
        wait_until_fresh(process)

    assert ("POST", "/-/reload", b"") == (request.method, request.path, request.body)
    assert before + 1 == len(hook.requests)


def test_the_body_can_tell_what_changed(volume: KubeletVolume, hook: Hook) -> None:
    """Names of keys and digests as they may be shown, never content."""
    with sidecar(volume, hook.url, WEBHOOK_BODY="json") as process:
        wait_until_fresh(process)
        before = len(hook.requests)
        volume.write({"app": "hunter2", "new": "1"})
        request = hook.wait_for(before + 1)[-1]
        shown = process.status()["volumes"][0]

    assert "application/json" == request.headers["content-type"]
    assert {
        "path": str(volume.path),
        "generation": volume.generation,
        "digest": shown["digest"],
        "keys": ["app", "new"],
        "added": ["new"],
        "changed": ["app"],
        "removed": [],
    } == json.loads(request.body)["volumes"][0]
    assert b"hunter2" not in request.body


def test_a_failed_request_loses_no_change(volume: KubeletVolume, hook: Hook) -> None:
    """It is tried again until it is taken, and then no more."""
    hook.answers = lambda _request, number: Answer(500 if number < 5 else 204)
    with sidecar(volume, hook.url) as process:
        hook.wait_for(5)
        wait_until_fresh(process)
        target = process.target("webhook:1")
        attempts = [event.facts["attempt"] for event in process.events("reload_failed")]

    assert [1, 2, 3, 4] == attempts
    assert (5, "succeeded", None) == (
        target["attempts"],
        target["last_result"],
        target["last_error"],
    )
    assert 5 == len(hook.requests)


def test_not_even_a_retry_comes_while_the_volume_is_being_written(
    volume: KubeletVolume, hook: Hook
) -> None:
    """Told of the old content, the program would read half of the new one."""
    early: list[Request] = []
    writing = threading.Event()

    def answers(request: Request, _number: int) -> Answer:
        if writing.is_set():
            early.append(request)
        return Answer(500)

    def stall() -> None:
        time.sleep(0.2)  # for a request that was under way
        writing.set()
        time.sleep(0.5)
        writing.clear()

    hook.answers = answers
    with sidecar(volume, hook.url, DEBOUNCE="0") as process:
        hook.wait_for(5)
        volume.write({"app": "2", "new": "1"}, between=stall)
        before = len(hook.requests)
        process.wait_for("change_detected")
        hook.wait_for(before + 5)

    assert [] == early


def hangs_at(number: int, release: threading.Event) -> Callable[[Request, int], Answer]:
    """Return answers of which one never comes by itself."""
    return lambda _request, n: Answer(hold=release if n == number else None)


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Lets a hanging server go on; at the end of the test in any case."""
    event = threading.Event()
    yield event
    event.set()


def test_a_hanging_webhook_is_told_the_newer_content_at_once(
    volume: KubeletVolume, hook: Hook, release: threading.Event
) -> None:
    """A request without an answer is abandoned when its content is old."""
    hook.answers = hangs_at(1, release)
    with sidecar(volume, hook.url, WEBHOOK_TIMEOUT="1h") as process:
        hook.wait_for(1)
        volume.write({"app": "2"})
        hook.wait_for(2, within=5)
        process.wait_for("reload_superseded", target="webhook:1")
        wait_until_fresh(process)
        _, metrics = process.get("/metrics")

    assert (
        'config_reload_attempts_total{result="abandoned",target="webhook:1"} 1.0'
        in metrics
    )


def test_a_hanging_webhook_holds_up_nobody_else(
    volume: KubeletVolume,
    hook: Hook,
    witness: Witness,
    release: threading.Event,
) -> None:
    """Neither the processes, nor the other webhook, the endpoints, or the end."""
    hanging = Hook(lambda _request, _n: Answer(hold=release))
    selector = witness.selector()
    with (
        hanging,
        sidecar(
            volume, hanging.url, hook.url, WEBHOOK_TIMEOUT="1h", **selector
        ) as process,
    ):
        hanging.wait_for(1)
        wait_until_fresh(process, "webhook:2")
        wait_until_fresh(process, "process")
        before = len(hook.requests)
        volume.write({"app": "2"})
        hook.wait_for(before + 1)
        wait_until(lambda: witness.readings[-1] == {"app": "2"}, "the process read it")
        assert 200 == process.get("/healthz")[0]
        assert "stale" == state(process, "webhook:1")
        asked = time.monotonic()
        assert 0 == process.stop()
        # SHUTDOWN_TIMEOUT is 5 s: the hanging request may finish until then
        assert 6.5 > time.monotonic() - asked


def test_a_request_that_takes_too_long_is_a_failure(
    volume: KubeletVolume, hook: Hook, release: threading.Event
) -> None:
    """WEBHOOK_TIMEOUT bounds the whole request, and the next one may be answered."""
    hook.answers = hangs_at(1, release)
    with sidecar(volume, hook.url, WEBHOOK_TIMEOUT="200ms") as process:
        failed = process.wait_for("reload_failed")
        wait_until_fresh(process)

    assert "timeout" == failed.facts["reason"]


def test_processes_are_signalled_before_webhooks_are_called(
    volume: KubeletVolume, hook: Hook, witness: Witness
) -> None:
    """A proxy in front of the program may reload what the program wrote."""
    with sidecar(volume, hook.url, VERIFY_ALIVE="10s", **witness.selector()) as process:
        process.wait_for("webhook_called")
        events = ("signal_sent", "webhook_called")
        times = [process.events(name)[0].facts["timestamp"] for name in events]
        # the second does not wait for the verification of the first
        assert [] == process.events("reload_succeeded", target="process")

    assert sorted(times) == times


def test_an_absent_process_holds_up_no_webhook(
    volume: KubeletVolume, hook: Hook
) -> None:
    """The first attempt counts, whatever became of it."""
    with sidecar(volume, hook.url, PROCESS_NAME="nobody-has-this-name") as process:
        wait_until_fresh(process)
        assert "unknown" == state(process, "process")


def test_a_content_that_is_rejected_is_told_four_times_and_no_more(
    volume: KubeletVolume, hook: Hook
) -> None:
    """One bad configuration must not make a server reload for ever."""

    def answers(_request: Request, _number: int) -> Answer:
        good = "good" in (volume.path / "app").read_text()
        return Answer(body="status: ok" if good else "status: broken")

    hook.answers = answers
    verify = {"VERIFY_URL": hook.url, "VERIFY_BODY": "ok$", "VERIFY_TIMEOUT": "500ms"}
    with sidecar(volume, hook.url, **verify) as process:
        process.wait_for("reload_rejected", retry_in=None)
        assert 4 == len(process.events("reload_rejected"))
        assert "stale" == state(process)
        assert "rejected" == process.target("webhook:1")["last_result"]
        told = sum(request.method == "POST" for request in hook.requests)
        volume.write({"app": "good"})
        wait_until_fresh(process)

    assert 4 == told
    assert 5 == sum(request.method == "POST" for request in hook.requests)


@pytest.mark.parametrize("status", [400, 422, 500])
def test_a_refusal_is_a_rejection_if_the_verification_says_so_too(
    volume: KubeletVolume, hook: Hook, status: int
) -> None:
    """It was told and said no; telling it for ever changes nothing."""
    hook.answers = lambda request, _n: Answer(
        200 if request.method == "GET" else status, body="status: broken"
    )
    verify = {"VERIFY_URL": hook.url, "VERIFY_BODY": "ok$", "VERIFY_TIMEOUT": "500ms"}
    with sidecar(volume, hook.url, **verify) as process:
        rejected = process.wait_for("reload_rejected", retry_in=None)
        called = process.events("webhook_called", status=status)

    assert (4, "not_verified") == (
        rejected.facts["attempt"],
        rejected.facts["reason"],
    )
    assert f"answered {status}" in rejected.facts["detail"]
    assert "VERIFY_BODY" in rejected.facts["detail"]
    assert 4 == len(called)


@pytest.mark.parametrize("status", [301, 401, 404, 429, 503])
def test_who_was_kept_from_telling_tries_on(
    volume: KubeletVolume, hook: Hook, status: int
) -> None:
    """A token that is renewed, a route or a program that comes later: no rejection."""
    told = 0

    def answers(request: Request, _number: int) -> Answer:
        nonlocal told
        told += request.method == "POST"
        kept = told < 6
        return Answer(
            status if kept and request.method == "POST" else 200,
            body="status: broken" if kept else "status: ok",
        )

    hook.answers = answers
    verify = {"VERIFY_URL": hook.url, "VERIFY_BODY": "ok$", "VERIFY_TIMEOUT": "50ms"}
    with sidecar(volume, hook.url, **verify) as process:
        wait_until_fresh(process)

    assert 5 == len(process.events("reload_failed", reason="status"))
    assert [] == process.events("reload_rejected")


def test_a_changed_value_outweighs_the_status_of_the_answer(
    volume: KubeletVolume, hook: Hook
) -> None:
    """It took the content, and something after that went wrong."""
    hook.answers = lambda request, n: Answer(
        200 if request.method == "GET" else 500, body=f"taken {n}"
    )
    verify = {"VERIFY_URL": hook.url, "VERIFY_CHANGES": r"taken (\d+)"}
    with sidecar(volume, hook.url, **verify) as process:
        wait_until_fresh(process)

    assert [] == process.events("reload_failed")
    assert 1 == sum(request.method == "POST" for request in hook.requests)


def test_good_health_does_not_outweigh_the_status_of_the_answer(
    volume: KubeletVolume, hook: Hook
) -> None:
    """It was as well before: what it says of the reload itself counts."""
    told = 0

    def answers(request: Request, _number: int) -> Answer:
        nonlocal told
        told += request.method == "POST"
        return Answer(500 if request.method == "POST" and told < 6 else 200)

    hook.answers = answers
    with sidecar(volume, hook.url, VERIFY_URL=hook.url) as process:
        wait_until_fresh(process)

    assert 5 == len(process.events("reload_failed", reason="status"))
    assert [] == process.events("reload_rejected")


def test_a_value_must_change_to_prove_the_reload(
    volume: KubeletVolume, hook: Hook
) -> None:
    """A metric's name stands in its HELP line, too, which says nothing."""
    taken = 0

    def answers(request: Request, _number: int) -> Answer:
        nonlocal taken
        if request.method == "POST" and (volume.path / "app").read_text() != "broken":
            taken += 1
        return Answer(body=f"# HELP reloaded Time of it.\nreloaded {taken}\n")

    hook.answers = answers
    verify = {
        "VERIFY_URL": hook.url,
        "VERIFY_CHANGES": r"reloaded (\S+)",
        "VERIFY_TIMEOUT": "50ms",
    }
    with sidecar(volume, hook.url, **verify) as process:
        wait_until_fresh(process)
        volume.write({"app": "broken"})
        rejected = process.wait_for("reload_rejected")
        volume.write({"app": "mended"})
        process.wait_for("reload_succeeded", count=2)

    assert "not_verified" == rejected.facts["reason"]


def test_a_webhook_that_confirmed_is_not_told_after_a_restart(
    volume: KubeletVolume, hook: Hook, tmp_path: Path
) -> None:
    """With STATE_DIR; and what changed meanwhile is told."""
    with sidecar(volume, hook.url, STATE_DIR=str(tmp_path)) as process:
        wait_until_fresh(process)
    before = len(hook.requests)
    with sidecar(volume, hook.url, STATE_DIR=str(tmp_path)) as process:
        process.wait_for("already_fresh")
        assert before == len(hook.requests)
    volume.write({"app": "2"})
    with sidecar(volume, hook.url, STATE_DIR=str(tmp_path)) as process:
        hook.wait_for(before + 1)


def test_the_clock_of_a_machine_that_was_set_tells_everybody_once(
    volume: KubeletVolume, hook: Hook, tmp_path: Path
) -> None:
    """The files' times can't be compared with what was remembered."""
    with sidecar(volume, hook.url, STATE_DIR=str(tmp_path)) as process:
        wait_until_fresh(process)
    before = len(hook.requests)
    saved = tmp_path / "state.json"
    document = json.loads(saved.read_text())
    saved.write_text(json.dumps(document | {"offset": document["offset"] - 3600}))
    with sidecar(volume, hook.url, STATE_DIR=str(tmp_path)) as process:
        assert (
            "clock was set"
            in process.wait_for("warning", directory=str(tmp_path)).facts["message"]
        )
        hook.wait_for(before + 1)


def test_reloads_keep_their_distance(volume: KubeletVolume, hook: Hook) -> None:
    """RELOAD_MIN_INTERVAL: only the newest content of the meantime is told."""
    with sidecar(volume, hook.url, RELOAD_MIN_INTERVAL="2s", DEBOUNCE="0") as process:
        wait_until_fresh(process)
        first = len(hook.requests)
        began = time.monotonic()
        for number in range(2, 6):
            volume.write({"app": str(number)})
            process.wait_for("change_detected", count=number - 1)
        hook.wait_for(first + 1)
        took = time.monotonic() - began
        wait_until_fresh(process)

    assert first + 1 == len(hook.requests)
    assert 1.0 < took


def test_a_jitter_lets_nobody_be_told_at_once(
    volume: KubeletVolume, hook: Hook
) -> None:
    """With an hour of it, the chance to be told within this test is small."""
    with sidecar(volume, hook.url, CATCH_UP="never", RELOAD_JITTER="720h") as process:
        process.wait_for("started")
        wait_until(lambda: process.get("/readyz")[0] == 200, "it watches")
        volume.write({"app": "2"})
        process.wait_for("change_detected")
        wait_until(lambda: state(process) == "stale", "it is shown as stale")

    assert [] == hook.requests
