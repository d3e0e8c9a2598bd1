"""ROLLOUT as a target: sidecars of several pods against one API server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # any JSON, as the contract shapes it

import pytest

from tests.api_server import ApiServer, Call
from tests.kubelet import KubeletVolume
from tests.pod import Place, in_a_pod
from tests.sidecar_process import SidecarProcess
from tests.waiting import wait_until

ROLLOUT = {"ROLLOUT": "deployment/web"}


@dataclass(frozen=True, slots=True)
class Pod:
    """One replica."""

    sidecar: SidecarProcess
    place: Place

    @property
    def volume(self) -> KubeletVolume:
        return self.place.volume

    def target(self) -> dict[str, Any]:
        return self.sidecar.target("rollout")

    def generation(self) -> str:
        """Return which generation it has settled on."""
        return str(self.sidecar.status()["volumes"][0]["generation"])

    def is_fresh(self) -> bool:
        return bool(self.target().get("state") == "fresh")

    def kill(self) -> None:
        """End the sidecar and nothing else of the pod, as the OOM killer does."""
        self.sidecar.get("/healthz")  # a turn of the loop later all is remembered
        os.kill(self.sidecar.pid, signal.SIGKILL)
        self.sidecar.wait()

    def wait_for_answer(self, count: int = 1) -> str:
        """Return what it said of the workload, the `count`th time."""
        event = self.sidecar.wait_for("reload_succeeded", target="rollout", count=count)
        return str(event.facts["detail"])


class Replicas:
    """Pods that come and go; each is made from the template as it is then."""

    def __init__(self, api: ApiServer, place: Path, stack: ExitStack) -> None:
        self._api = api
        self._place = place
        self._stack = stack
        self._made = 0

    def add(self, content: str = "1", **env: str) -> Pod:
        self._made += 1
        place = in_a_pod(self._api, self._place / f"web-{self._made}", content)
        return self.start(place, **env)

    def start(self, place: Place, **env: str) -> Pod:
        """Start the sidecar of a pod, the first or, after `kill`, the next one."""
        sidecar = self._stack.enter_context(place.sidecar(**ROLLOUT | env))
        made = Pod(sidecar, place)
        wait_until(lambda: made.target().get("state") != "unknown", "it has looked")
        return made


def label(path: Path) -> None:
    """Give a file what a new SELinux label gives it, too: a ctime of now.

    So does an owner, whom every file system has.
    """
    began = time.time_ns()

    def labelled() -> bool:
        os.chown(path, -1, os.getgid(), follow_symlinks=False)
        return path.lstat().st_ctime_ns > began

    wait_until(labelled, "it has a later ctime")


@pytest.fixture
def replicas(api: ApiServer, tmp_path: Path) -> Iterator[Replicas]:
    """A maker of pods; what it made ends with the test."""
    with ExitStack() as stack:
        yield Replicas(api, tmp_path, stack)


def test_five_replicas_start_one_rollout(api: ApiServer, replicas: Replicas) -> None:
    """One pod patches; the others see that it did, and wait to be replaced."""
    pods = [replicas.add() for _ in range(5)]
    assert all(pod.is_fresh() for pod in pods)
    for each in pods:
        each.volume.write({"app": "2"})
    told = [each.wait_for_answer() for each in pods]

    [config] = api.patches
    assert ".1" == config[-2:]
    assert 1 == sum(text == f"deployment/web was set to {config}" for text in told)
    assert 4 == sum(text == f"deployment/web is at {config}" for text in told)
    assert not any(pod.is_fresh() for pod in pods)


def test_replicas_that_see_the_change_late_start_no_second_rollout(
    api: ApiServer, replicas: Replicas
) -> None:
    """Kubelets differ by a minute: some pods see it when others are replaced."""
    early, late = [replicas.add() for _ in range(2)], [replicas.add() for _ in range(2)]
    for each in early:
        each.volume.write({"app": "2"})
        each.wait_for_answer()
    replaced = replicas.add("2")
    for each in late:
        each.volume.write({"app": "2"})
        each.wait_for_answer()

    assert 1 == len(api.patches)
    assert replaced.is_fresh()


def test_a_new_pod_that_got_old_content_is_replaced_once_more(
    api: ApiServer, replicas: Replicas
) -> None:
    """Its kubelet did not know better; the pod that read it must not stay."""
    first = replicas.add()
    first.volume.write({"app": "2"})
    first.wait_for_answer()
    behind = replicas.add("1")
    assert behind.is_fresh()
    assert 1 == len(api.patches)

    behind.volume.write({"app": "2"})
    behind.wait_for_answer()
    assert [".1", ".2"] == [config[-2:] for config in api.patches]
    assert replicas.add("2").is_fresh()


def test_content_that_goes_there_and_back_ends_where_it_was(
    api: ApiServer, replicas: Replicas
) -> None:
    """Old pods have no say any more; new ones that read B roll to A."""
    old, slow = replicas.add(), replicas.add()
    old.volume.write({"app": "2"})
    old.wait_for_answer()
    between = replicas.add("2")
    for each in (old, between, slow):
        each.volume.write({"app": "2", "more": "1"})
        each.volume.write({"app": "1"})
    between.wait_for_answer()
    old.wait_for_answer(2)

    there, back = api.patches
    assert [".1", ".2"] == [there[-2:], back[-2:]]
    assert there.rpartition(".")[0] != back.rpartition(".")[0]
    last = replicas.add("1")
    assert last.is_fresh()
    assert 2 == len(api.patches)


def test_what_may_not_be_shown_is_not_to_be_found_out(
    api: ApiServer, replicas: Replicas
) -> None:
    """The same content twice, in the same workload, leaves no trace of being so."""
    first = replicas.add(POLL_INTERVAL="1s")
    first.volume.write({"app": "2"})
    first.wait_for_answer()
    api.change(template={"metadata": {}})
    first.wait_for_answer(2)

    digests = {config.rpartition(".")[0] for config in api.patches}
    assert [64, 64] == [len(digest) for digest in digests]


def test_a_workload_that_changed_meanwhile_is_looked_at_again(
    api: ApiServer, replicas: Replicas
) -> None:
    """409: its status moved on, or another pod was faster."""
    first = replicas.add()
    changes = iter([lambda: api.report(replicas=4)])
    api.before_patch = lambda: next(changes, lambda: None)()
    first.volume.write({"app": "2"})
    first.wait_for_answer()

    assert 2 == len(api.calls("PATCH"))
    assert 1 == len(api.patches)
    assert [] == first.sidecar.events("reload_failed")


def test_a_workload_that_never_stands_still_is_tried_again_later(
    api: ApiServer, replicas: Replicas
) -> None:
    """An attempt has an end; the back-off has none."""
    first = replicas.add()
    api.before_patch = lambda: api.report(replicas=4)
    first.volume.write({"app": "2"})
    failed = first.sidecar.wait_for("reload_failed", target="rollout")
    api.before_patch = lambda: None
    first.wait_for_answer()

    assert "conflict" == failed.facts["reason"]
    assert 1 == len(api.patches)


def test_a_missing_role_is_said_and_mended_without_a_restart(
    api: ApiServer, replicas: Replicas
) -> None:
    """403 names the Role that is wanted, and is tried again like any failure."""
    first = replicas.add()

    def no_role(call: Call) -> tuple[int, str] | None:
        return (403, "cannot patch") if call.method == "PATCH" else None

    api.refuse = no_role
    first.volume.write({"app": "2"})
    failed = first.sidecar.wait_for("reload_failed", target="rollout")
    shown = first.target()
    api.refuse = lambda _: None
    first.wait_for_answer()

    assert "forbidden" == failed.facts["reason"]
    assert "get and patch on deployments of apps" in failed.facts["hint"]
    assert "resourceNames [web]" in failed.facts["hint"]
    assert shown["hint"] == failed.facts["hint"]
    assert 1 == len(api.patches)


@pytest.mark.parametrize(
    ("status", "reason"), [(404, "status"), (429, "status"), (503, "status")]
)
def test_an_api_server_that_refuses_is_asked_again(
    api: ApiServer, replicas: Replicas, status: int, reason: str
) -> None:
    """Whatever it answers, the change is not lost."""
    first = replicas.add()
    api.refuse = lambda _: (status, "not now")
    first.volume.write({"app": "2"})
    failed = first.sidecar.wait_for("reload_failed", target="rollout")
    api.refuse = lambda _: None
    first.wait_for_answer()

    assert reason == failed.facts["reason"]
    assert "not now" in failed.facts["detail"]
    assert 1 == len(api.patches)


def test_a_token_is_read_again_for_every_request(
    api: ApiServer, replicas: Replicas, tmp_path: Path
) -> None:
    """The kubelet renews it every 50 minutes, and the old one expires."""
    first = replicas.add()
    api.token = "renewed"  # noqa: S105  # of nobody
    first.volume.write({"app": "2"})
    failed = first.sidecar.wait_for("reload_failed", target="rollout")
    api.write_account(tmp_path / "web-1" / "account")
    first.wait_for_answer()

    assert "credentials" == failed.facts["reason"]
    assert "serviceAccountToken" in failed.facts["hint"]
    assert 1 == len(api.patches)


def test_what_holds_a_rollout_up_is_reported_until_it_is_mended(
    api: ApiServer, replicas: Replicas
) -> None:
    """The patch is made: it takes effect as soon as somebody resumes the rollout."""
    api.change(paused=True)
    first = replicas.add()
    first.volume.write({"app": "2"})
    first.wait_for_answer()
    text = "deployment/web is paused: kubectl rollout resume deployment/web"

    assert text == first.target()["hint"]
    assert [text] == first.sidecar.status()["warnings"]
    assert 1 == len(api.patches)


def test_the_memory_of_another_pod_starts_no_rollout(
    api: ApiServer, replicas: Replicas, tmp_path: Path
) -> None:
    """A STATE_DIR that outlives its pod would else roll the workload for ever."""
    state = tmp_path / "state"
    state.mkdir()
    first = replicas.add(STATE_DIR=str(state))
    first.volume.write({"app": "2"})
    first.wait_for_answer()
    other = replicas.add("2", STATE_DIR=str(state))

    assert other.is_fresh()
    assert 1 == len(api.patches)


@pytest.mark.parametrize("away", [False, True])
def test_a_sidecar_that_comes_back_knows_that_its_pod_holds_the_content(
    api: ApiServer, replicas: Replicas, tmp_path: Path, *, away: bool
) -> None:
    """A renewed token is a newer swap than the pod, with the same configuration."""
    env = {"WATCH_EXCLUDE": "token", "STATE_DIR": str(tmp_path)}
    first = replicas.add(**env)
    generation = first.volume.generation
    if away:
        first.kill()
    first.volume.write({"app": "1", "token": "renewed"})
    if not away:
        wait_until(lambda: first.generation() != generation, "it has seen the swap")
        first.kill()
    again = replicas.start(first.place, **env)

    assert again.is_fresh()
    assert [] == api.patches


def test_a_clock_that_was_set_starts_no_rollout(
    api: ApiServer, replicas: Replicas, tmp_path: Path
) -> None:
    """It says nothing of what the program has read."""
    first = replicas.add(STATE_DIR=str(tmp_path))
    first.kill()
    saved = tmp_path / "state.json"
    document = json.loads(saved.read_text())
    saved.write_text(json.dumps(document | {"offset": document["offset"] - 3600}))
    again = replicas.start(first.place, STATE_DIR=str(tmp_path))

    assert "clock was set" in again.sidecar.wait_for("warning").facts["message"]
    assert again.is_fresh()
    assert [] == api.patches


def test_a_change_while_the_sidecar_was_away_is_rolled(
    api: ApiServer, replicas: Replicas, tmp_path: Path
) -> None:
    """The pod is remembered to hold what was there before, and nothing else."""
    first = replicas.add(STATE_DIR=str(tmp_path))
    first.kill()
    first.volume.write({"app": "2"})
    again = replicas.start(first.place, STATE_DIR=str(tmp_path))
    again.wait_for_answer()

    assert [".1"] == [config[-2:] for config in api.patches]


def test_a_pod_that_waits_to_be_replaced_still_does_after_a_restart(
    api: ApiServer, replicas: Replicas, tmp_path: Path
) -> None:
    """What is remembered is also that it has not read the newest content."""
    first = replicas.add(STATE_DIR=str(tmp_path))
    first.volume.write({"app": "2"})
    first.wait_for_answer()
    first.kill()
    again = replicas.start(first.place, STATE_DIR=str(tmp_path))
    again.wait_for_answer()

    assert not again.is_fresh()
    assert 1 == len(api.patches)


def test_without_a_memory_what_is_newer_than_the_pod_is_rolled(
    api: ApiServer, replicas: Replicas
) -> None:
    """It may be a change that nobody saw, and one too many is less than one lost."""
    first = replicas.add()
    first.kill()
    first.volume.write({"app": "1"})
    label(first.place.hostname)  # as for every container that is started
    again = replicas.start(first.place)
    again.wait_for_answer()

    assert 1 == len(api.patches)


def test_a_pod_that_was_labelled_when_it_started_is_not_rolled(
    api: ApiServer, replicas: Replicas, tmp_path: Path
) -> None:
    """Where the runtime does that, each new pod would start the next rollout."""
    place = in_a_pod(api, tmp_path / "web")
    label(place.volume.data)

    assert replicas.start(place).is_fresh()


def test_a_rollout_that_is_taken_back_is_started_again(
    api: ApiServer, replicas: Replicas
) -> None:
    """`kubectl rollout undo` keeps this pod, which still has not read the change."""
    first = replicas.add(POLL_INTERVAL="1s")
    first.volume.write({"app": "2"})
    first.wait_for_answer()
    api.change(template={"metadata": {}})
    assert None is api.config
    first.wait_for_answer(2)

    assert [".1", ".1"] == [config[-2:] for config in api.patches]


def test_a_pod_of_another_workload_is_told_that_it_waits_in_vain(
    api: ApiServer, replicas: Replicas
) -> None:
    """ROLLOUT names a workload that replaces all its pods, and never this one."""
    first = replicas.add(POLL_INTERVAL="1s")
    first.volume.write({"app": "2"})
    first.wait_for_answer()
    api.report(replicas=5, updatedReplicas=5)
    warning = first.sidecar.wait_for("warning", within=30.0)

    assert "ROLLOUT names another workload" in warning.facts["message"]
    assert first.target()["hint"] == warning.facts["message"]


def test_check_says_whether_the_workload_can_be_read(
    api: ApiServer, tmp_path: Path
) -> None:
    """A Role that is missing shows before the first change needs it."""
    made = in_a_pod(api, tmp_path / "web-1")
    command = [*made.prefix, sys.executable, "-m", "sidecar", "check", "--json"]

    def found() -> dict[str, dict[str, str]]:
        env = {"PATH": os.environ["PATH"], "HTTP_LISTEN": "off"} | made.env | ROLLOUT
        done = subprocess.run(command, env=env, capture_output=True, check=False)
        findings = json.loads(done.stdout)["findings"]
        return {finding["code"]: finding for finding in findings}

    assert "workload" in found()
    assert "and the workload rolled once more" in found()["state-none"]["text"]
    api.refuse = lambda _: (403, "cannot get")
    assert "get and patch on deployments of apps" in found()["workload-unknown"]["mend"]
