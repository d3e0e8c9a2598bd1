"""`push` and `status` as a person runs them, on a small API server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from sidecar.cli import entry
from sidecar.cli.pursuit import AGAIN
from sidecar.cli.stage import Stage
from sidecar.status import State, Status, TargetStatus, VolumeStatus
from tests.cli import specs
from tests.cli.api_server import TOKEN, ApiServer, kubeconfig, refusal, reply
from tests.cli.shop import FRESH, NEW, OLD, REJECTING, Shop, holding
from tests.hook import Answer
from tests.loopback import free_port

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()

Printed = pytest.CaptureFixture[str]


@pytest.fixture
def printed(capsys: Printed) -> Printed:
    """What the command printed."""
    return capsys


def run(*arguments: str) -> int:
    """Run a command to its end."""
    return entry.main(arguments)


def rows(printed: Printed) -> dict[str, dict[str, Any]]:
    """Return what `--output json` printed of each pod."""
    return {row["pod"]: row for row in json.loads(printed.readouterr().out)["pods"]}


def test_a_push_brings_the_content_to_every_pod(shop: Shop, printed: Printed) -> None:
    """The whole way: list, look, patch, look until the programs hold it."""
    shop.add("web-0", "web-1")

    assert 0 == run("push", "configmap/site", "-o", "json")
    assert {"web-0": "fresh", "web-1": "fresh"} == {
        name: row["state"] for name, row in rows(printed).items()
    }
    assert ["web-0", "web-1"] == sorted(shop.api.touched)


def test_an_application_with_a_config_dir_is_not_asked(
    shop: Shop, printed: Printed
) -> None:
    """It knows nothing of the sidecar's port: it would be silent, or answer for it."""
    shop.add("web-0", "alone-0")
    told = [{"name": "CONFIG_DIR", "value": "/etc/nginx/conf.d"}]
    application = specs.program(specs.mount("/etc/nginx/conf.d"), env=told)
    shop.api.pods["web-0"] = specs.pod(containers=[application, specs.sidecar()])
    shop.api.pods["alone-0"] = specs.pod("alone-0", containers=[application])

    assert 1 == run("push", "configmap/site", "--timeout", "9s", "-o", "json")
    states = {name: row["state"] for name, row in rows(printed).items()}
    assert {"alone-0": "not followed", "web-0": "fresh"} == states
    assert not any("alone-0:" in request for request in shop.api.requests)


@pytest.mark.parametrize("output", ["json", "table", "lines"])
def test_of_two_sidecars_each_is_told_apart(
    shop: Shop, printed: Printed, output: str
) -> None:
    """The program of the second may be behind when the first holds the content."""
    shop.add("web-0", "web-1", said=holding(NEW))
    second = {**specs.sidecar(env={"HTTP_LISTEN": ":9534"}), "name": "second"}
    first = [specs.program(specs.mount("/a")), specs.sidecar()]
    shop.api.pods["web-0"] = specs.pod(containers=[*first, second])
    behind = TargetStatus("webhook:1", State.STALE, attempts=1, last_error="refused")
    shop.api.sidecars["web-0:9534"] = lambda: reply(
        dict(holding(NEW, behind).as_json())
    )

    assert 1 == run("status", "configmap/site", "-o", output)
    out = printed.readouterr().out
    assert ("second" in out, "webhook:1: refused" in out) == (True, True)
    if output == "lines":
        assert 3 == len(out.splitlines()[:-1])


def test_who_holds_it_already_is_not_touched(shop: Shop) -> None:
    """A second push is silent."""
    shop.add("web-0", said=holding(NEW))

    assert 0 == run("push", "configmap/site")
    assert [] == shop.api.touched


def test_lines_tell_each_change_once(shop: Shop, printed: Printed) -> None:
    """A pipeline's log is read from top to bottom."""
    shop.add("web-0")
    run("push", "configmap/site")

    states = [line.split()[3] for line in printed.readouterr().out.splitlines()[:-1]]
    assert ["waiting", "fresh"] == states


def test_a_table_is_drawn_for_a_person(shop: Shop, printed: Printed) -> None:
    """With pod, node, generation, digest, state and seconds."""
    shop.add("web-0")
    run("push", "configmap/site", "-o", "table")

    title = printed.readouterr().out.splitlines()[0].split()
    assert ["POD", "NODE", "GENERATION", "DIGEST", "STATE", "SECONDS"] == title


def test_status_only_looks(shop: Shop, printed: Printed) -> None:
    """It says 1 while a pod is behind, and patches nobody."""
    shop.add("web-0", said=holding(NEW))
    shop.add("web-1")

    assert 1 == run("status", "configmap/site", "-o", "json")
    states = {name: row["state"] for name, row in rows(printed).items()}
    assert {"web-0": "fresh", "web-1": "waiting"} == states
    assert [] == shop.api.touched


def test_without_waiting_it_only_patches(shop: Shop, printed: Printed) -> None:
    """For who follows the metrics instead."""
    shop.add("web-0")

    assert 0 == run("push", "configmap/site", "--no-wait", "-o", "json")
    assert "annotated" == rows(printed)["web-0"]["state"]
    assert not any("proxy" in request for request in shop.api.requests)


def test_a_kubelet_that_syncs_with_an_old_object_is_told_again(shop: Shop) -> None:
    """After three seconds: its first sync may have used what it kept."""
    shop.add("web-0")
    shop.becomes["web-0"] = holding(OLD)

    def synced(name: str) -> None:
        shop.synced(name)
        shop.becomes.clear()

    shop.api.on_touch = synced

    assert 0 == run("push", "configmap/site")
    assert ["web-0", "web-0"] == shop.api.touched


def test_a_rejection_ends_with_the_sidecars_words(shop: Shop, printed: Printed) -> None:
    """The exit status is 1, and a person need not look for the reason."""
    shop.add("web-0")
    shop.becomes["web-0"] = REJECTING

    assert 1 == run("push", "configmap/site", "-o", "json")
    row = rows(printed)["web-0"]
    assert ("rejected", "process: it died") == (row["state"], row["detail"])


def test_a_batch_that_rejects_stops_the_rest(shop: Shop, printed: Printed) -> None:
    """One pod first, so that one alone is harmed."""
    shop.add(*(f"web-{number}" for number in range(5)))
    shop.becomes["web-0"] = REJECTING

    assert 1 == run("push", "configmap/site", "--batch", "50%", "-o", "json")
    states = [row["state"] for row in rows(printed).values()]
    assert ["rejected"] + ["not pushed"] * 4 == states
    assert ["web-0"] == shop.api.touched


def test_batches_follow_each_other(shop: Shop) -> None:
    """The next begins when all of one are well."""
    shop.add(*(f"web-{number}" for number in range(4)))

    assert 0 == run("push", "configmap/site", "--batch", "2")
    order = shop.api.touched
    assert ["web-0", {"web-1", "web-2"}, "web-3"] == [
        order[0],
        set(order[1:3]),
        order[3],
    ]


def add_who_prove_nothing(shop: Shop) -> None:
    """Add pods that come first by name, and can't tell how they take it."""
    by_path = specs.program(specs.mount("/a", subPath="site.conf"))
    shop.api.pods["a-static"] = specs.pod("a-static", containers=[by_path])
    alone = specs.program(specs.mount("/a"))
    shop.api.pods["a-alone"] = specs.pod("a-alone", containers=[alone])


def test_batches_are_of_pods_that_can_be_followed(shop: Shop) -> None:
    """Ten pods without a sidecar would be a tenth that says nothing of the rest."""
    add_who_prove_nothing(shop)
    shop.add(*(f"web-{number}" for number in range(4)))

    assert 1 == run("push", "configmap/site", "--batch", "50%")
    order = shop.api.touched
    assert ["web-0", {"web-1", "web-2"}, "web-3", "a-alone"] == [
        order[0],
        set(order[1:3]),
        *order[3:],
    ]


def test_who_can_not_be_followed_is_said_at_once_and_not_told_of_what_is_rejected(
    shop: Shop, printed: Printed
) -> None:
    """A pod without a sidecar would take it at its next start, and nobody would see."""
    add_who_prove_nothing(shop)
    shop.add("web-0", "web-1")
    shop.becomes["web-0"] = REJECTING

    assert 1 == run("push", "configmap/site", "--batch", "1")
    lines = [line.split() for line in printed.readouterr().out.splitlines()]
    assert ["a-alone", "a-static"] == [line[0] for line in lines[:2]]
    assert ["web-0"] == shop.api.touched


def test_pods_that_come_meanwhile_are_followed_too(
    shop: Shop, printed: Printed
) -> None:
    """A rollout may be under way, and success is for all of them."""
    shop.add("web-0")

    def synced(name: str) -> None:
        shop.synced(name)
        if "web-1" not in shop.api.pods:
            shop.add("web-1")

    shop.api.on_touch = synced

    assert 0 == run("push", "configmap/site", "-o", "json")
    assert ["web-0", "web-1"] == sorted(rows(printed))


def test_a_pod_that_is_deleted_meanwhile_is_no_failure(
    shop: Shop, printed: Printed
) -> None:
    """It will not run old content."""
    shop.add("web-0")

    def deleted(name: str) -> None:
        del shop.api.pods[name]

    shop.api.on_touch = deleted

    assert 0 == run("push", "configmap/site", "-o", "json")
    assert "gone" == rows(printed)["web-0"]["state"]


def listings(shop: Shop, third: Callable[[], None]) -> None:
    """Let something happen to the cluster when its pods are listed for a third time."""
    seen = []

    def counted(_method: str, path: str) -> None:
        if path == "pods":
            seen.append(path)
            if len(seen) == 3:
                third()

    shop.api.troubles = counted


def test_a_pod_without_a_node_is_waited_for(shop: Shop, printed: Printed) -> None:
    """A rollout is under way; it runs the content when its sidecar says so."""
    shop.api.pods["web-0"] = specs.pod(nodeName=None)
    listings(shop, lambda: shop.add("web-0", said=holding(NEW)))

    assert 0 == run("push", "configmap/site", "-o", "json")
    assert "fresh" == rows(printed)["web-0"]["state"]


def test_a_pod_that_goes_before_it_has_a_node_is_no_failure(
    shop: Shop, printed: Printed
) -> None:
    """A rollout was taken back; the table does not go on showing it."""
    shop.api.pods["web-0"] = specs.pod(nodeName=None)
    listings(shop, shop.api.pods.clear)

    assert 0 == run("push", "configmap/site", "-o", "json")
    assert "gone" == rows(printed)["web-0"]["state"]


def test_a_pod_that_gets_no_node_is_no_success(shop: Shop, printed: Printed) -> None:
    """No node may ever have room for it: the service would be down, and all green."""
    shop.add("web-0", said=holding(NEW))
    shop.api.pods["web-1"] = specs.pod("web-1", nodeName=None)

    assert 1 == run("push", "configmap/site", "--timeout", "1s")
    summary = printed.readouterr().out.splitlines()[-1]
    assert summary.startswith(
        "1 of 2 pods run configmap/site; 1 pending; given up after 1 s"
    )
    assert [1, 0] == [
        run("status", "configmap/site"),
        run("push", "configmap/site", "--no-wait"),
    ]


def test_an_object_that_changes_meanwhile_is_no_success(
    shop: Shop, printed: Printed
) -> None:
    """The pods hold what is no longer the newest."""
    shop.add("web-0")

    def synced(name: str) -> None:
        shop.synced(name)
        shop.api.objects["configmaps/site"] = specs.config_map(data={"site.conf": "3"})

    shop.api.on_touch = synced

    assert 1 == run("push", "configmap/site")
    assert "changed meanwhile" in printed.readouterr().out


def test_what_can_not_get_it_is_said_and_blocks_nobody(
    shop: Shop, printed: Printed
) -> None:
    """It counts against success, for it does not run the content."""
    shop.add("web-0")
    by_path = specs.program(specs.mount("/a", subPath="site.conf"))
    shop.api.pods["old-0"] = specs.pod("old-0", containers=[by_path])

    assert 1 == run("push", "configmap/site", "-o", "json")
    states = {name: row["state"] for name, row in rows(printed).items()}
    assert {"old-0": "needs restart", "web-0": "fresh"} == states
    assert ["web-0"] == shop.api.touched


@pytest.mark.parametrize("output", ["json", "table", "lines"])
def test_what_is_also_read_by_env_is_no_success(
    shop: Shop, printed: Printed, output: str
) -> None:
    """The program runs half of the new content, and a pipeline would go on."""
    shop.add("web-0")
    both = specs.program(
        specs.mount("/a"), envFrom=[{"configMapRef": {"name": "site"}}]
    )
    shop.api.pods["web-0"] = specs.pod(containers=[both, specs.sidecar()])

    assert 1 == run("push", "configmap/site", "-o", output)
    out = printed.readouterr().out
    assert [True, True] == [
        said in out for said in ("fresh", "nginx reads it by envFrom, too")
    ]


def test_who_has_read_enough_is_no_trouble(shop: Shop) -> None:
    """`| head -1` closes the pipe."""
    shop.add("web-0", "web-1")
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as closed:  # noqa: PTH123  # a descriptor
        command = [sys.executable, "-m", "sidecar", "status", "configmap/site"]
        result = subprocess.run(
            command, cwd=ROOT, stdout=closed, stderr=subprocess.PIPE, check=False
        )

    assert (1, b"") == (result.returncode, result.stderr)


def test_an_immutable_object_is_not_waited_for(shop: Shop, printed: Printed) -> None:
    """No kubelet looks at it again."""
    shop.add("web-0")
    fixed = specs.config_map(data=NEW, immutable=True)
    shop.api.objects["configmaps/site"] = fixed

    assert 1 == run("push", "configmap/site", "-o", "json")
    assert "immutable" == rows(printed)["web-0"]["state"]
    assert [] == shop.api.touched


def test_a_sidecar_that_does_not_answer_is_said_when_the_time_is_over(
    shop: Shop, printed: Printed
) -> None:
    """Its kubelet was told to sync all the same."""
    shop.add("web-0")
    del shop.api.sidecars["web-0:9533"]

    assert 1 == run("push", "configmap/site", "--timeout", "3s")
    *_, silent, summary = printed.readouterr().out.splitlines()
    assert ("silent", True) == (silent.split()[3], "connection refused" in silent)
    assert summary.endswith(
        "1 silent; given up after 3 s: --timeout sets how long to wait"
    )
    assert ["web-0"] == shop.api.touched


@pytest.mark.parametrize(
    "answer",
    [
        Answer(404, b"404 page not found"),
        Answer(200, b"<html>hello</html>"),
        Answer(200, b'{"version": "0.0.1"}'),
        Answer(200, b'{"version":' + b"[" * 100_000),
        Answer(302, b"", headers={"Location": "http://127.0.0.1:1/"}),
    ],
)
def test_a_port_that_is_no_sidecars_is_said_at_once(
    shop: Shop, printed: Printed, answer: Answer
) -> None:
    """Too old, or another program: waiting would not help."""
    shop.add("web-0")
    shop.api.sidecars["web-0:9533"] = lambda: answer

    assert 1 == run("push", "configmap/site", "-o", "json")
    assert "not followed" == rows(printed)["web-0"]["state"]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, b"no gzip", headers={"Content-Encoding": "gzip"}),
        Answer(200, b" " * 5_000_000),
        Answer(502, b"\xff\xfe"),
    ],
)
def test_an_answer_that_can_not_be_read_is_no_answer(
    shop: Shop, printed: Printed, answer: Answer
) -> None:
    """A pod may answer anything, and as much as it likes."""
    shop.add("web-0")
    shop.api.sidecars["web-0:9533"] = lambda: answer

    assert 1 == run("status", "configmap/site", "-o", "json")
    assert "silent" == rows(printed)["web-0"]["state"]


def test_what_a_pod_says_can_not_move_the_cursor(shop: Shop, printed: Printed) -> None:
    """A pod may be anybody's."""
    evil = "\x1b[2J\x1b[1;1Hall is well\r\n[red]x[/red]"
    shop.add(
        "web-0",
        said=holding(
            NEW, TargetStatus("process", State.STALE, attempts=1, last_error=evil)
        ),
    )
    for output in ("lines", "table"):
        run("status", "configmap/site", "-o", output)
        assert "\x1b" not in printed.readouterr().out
    shop.api.sidecars["web-0:9533"] = lambda: refusal(403, evil)
    run("status", "configmap/site")
    assert "\x1b" not in printed.readouterr().err


def test_five_hundred_pods_are_listed_page_by_page(
    shop: Shop, printed: Printed
) -> None:
    """And each is asked."""
    shop.add(*(f"web-{number:03}" for number in range(500)), said=holding(NEW))
    shop.api.pods["other"] = specs.pod("other", volumes=[])

    assert 0 == run("status", "configmap/site", "-o", "json")
    assert 500 == len(rows(printed))
    assert "GET pods?limit=500&continue=500" in shop.api.requests


def test_eight_requests_are_under_way_at_once_and_no_more(shop: Shop) -> None:
    """Each answer waits until eight have come, so fewer would never end."""
    eight = threading.Barrier(8)
    names = [f"web-{number:02}" for number in range(80)]
    shop.add(*names, said=holding(NEW))
    for name in names:
        answer = shop.api.sidecars[f"{name}:9533"]

        def when_eight_have_come(answer: Callable[[], Answer] = answer) -> Answer:
            eight.wait(5)
            return answer()

        shop.api.sidecars[f"{name}:9533"] = when_eight_have_come

    assert 0 == run("status", "configmap/site")
    assert 8 == shop.api.most_at_once


@pytest.mark.parametrize("code", [409, 429, 500, 503])
def test_a_busy_server_is_asked_again(shop: Shop, code: int) -> None:
    """Whatever the request."""
    shop.add("web-0")
    refused: set[str] = set()

    def busy(_method: str, path: str) -> Answer | None:
        if path in refused or "proxy" in path:
            return None
        refused.add(path)
        return refusal(code, "busy", Retry_After="0")

    shop.api.troubles = busy

    assert 0 == run("push", "configmap/site")
    assert {"configmaps/site", "pods", "pods/web-0"} == refused


def test_a_busy_server_says_how_long_to_wait(shop: Shop) -> None:
    """The first wait would be half a second at most."""
    asked: list[float] = []

    def busy(_method: str, path: str) -> Answer | None:
        if path != "configmaps/site":
            return None
        asked.append(time.monotonic())
        return refusal(429, "busy", Retry_After="1") if len(asked) == 1 else None

    shop.api.troubles = busy

    assert 0 == run("status", "configmap/site")
    assert asked[1] - asked[0] >= 1


@pytest.mark.parametrize(
    ("refused", "rule"),
    [
        ("GET configmaps/site", "[configmaps]\n    resourceNames: [site]\n"),
        ("GET pods", "[pods]\n    verbs: [list]"),
        ("PATCH pods/web-0", "[pods]\n    verbs: [patch]"),
        ("GET pods/web-0:9533/proxy/status", "[pods/proxy]\n    verbs: [get]"),
    ],
)
def test_a_right_that_is_missing_is_printed_as_a_rule(
    shop: Shop, printed: Printed, refused: str, rule: str
) -> None:
    """So that it can be put into a Role."""
    shop.add("web-0")
    forbidden = refusal(403, "you may not")
    shop.api.troubles = lambda method, path: (
        forbidden if f"{method} {path}" == refused else None
    )

    assert 2 == run("push", "configmap/site")
    assert rule in printed.readouterr().err


def test_a_policy_that_denies_one_pod_is_no_missing_right(
    shop: Shop, printed: Printed
) -> None:
    """No Role would mend it, and the other pods are told."""
    shop.add("web-0", "web-1")
    denied = refusal(403, 'admission webhook "policy.example" denied the request: no')
    shop.api.troubles = lambda method, path: (
        denied if f"{method} {path}" == "PATCH pods/web-0" else None
    )

    assert 1 == run("push", "configmap/site", "-o", "json")
    found = rows(printed)
    assert ["refused", "fresh"] == [found[name]["state"] for name in sorted(found)]
    assert "policy.example" in found["web-0"]["detail"]


def test_a_secret_whose_mounted_keys_did_not_change_ends_well(
    shop: Shop, printed: Printed
) -> None:
    """Its kubelet has no reason to swap; the push ends when that is certain."""
    volume = VolumeStatus("/etc/site", "kubelet", "..1", 1.0, None, ("password",))
    said = Status("0.1.0", "inotify", 0.0, (volume,), (FRESH,))
    shop.add("web-0", said=said)
    shop.becomes["web-0"] = said
    of_tls = {"name": "site", "secret": {"secretName": "tls"}}
    shop.api.pods["web-0"] = specs.pod(volumes=[of_tls])
    shop.api.objects["secrets/tls"] = specs.secret()

    assert 0 == run("push", "secret/tls")
    *_, row, summary = printed.readouterr().out.splitlines()
    assert ["web-0", "node1", "secret/tls", "unchanged"] == row.split()[:4]
    assert "1 of 1 pods run secret/tls; 1 unchanged" == summary
    assert len(AGAIN) == len(shop.api.touched)


def rights() -> set[tuple[str, str]]:
    """Return verb and resource of every right in the Role that is shipped."""
    role = YAML(typ="safe").load(ROOT / "manifests/push/role.yaml")
    return {
        (verb, resource)
        for rule in role["rules"]
        for verb in rule["verbs"]
        for resource in rule["resources"]
    }


def right(method: str, path: str) -> tuple[str, str]:
    """Return what a request needs."""
    resource, _, name = path.partition("/")
    if "/proxy/" in name:
        return "get", "pods/proxy"
    return {"PATCH": "patch"}.get(method, "get" if name else "list"), resource


def test_the_role_that_is_shipped_is_enough_and_no_more(shop: Shop) -> None:
    """Each of its rights is used, and none else is asked for."""
    shop.add("web-0")
    shop.api.objects["secrets/tls"] = specs.secret()
    allowed, used = rights(), set[tuple[str, str]]()

    def limited(method: str, path: str) -> Answer | None:
        used.add(right(method, path))
        return None if right(method, path) in allowed else refusal(403, "no")

    shop.api.troubles = limited

    assert 0 == run("push", "configmap/site", "secret/tls")
    assert allowed == used


def test_readme_explains_every_state() -> None:
    """A word in a table is a question; README has the answer."""
    section = README.split("### Seconds instead of a minute\n", 1)[1].split("\n#", 1)[0]
    table = section.split("| state | meaning |\n", 1)[1].split("\n\n", 1)[0]
    explained = [line.split("`")[1] for line in table.splitlines()[1:]]

    assert sorted(Stage) == sorted(explained)


def test_an_expired_token_is_said(
    api: ApiServer, printed: Printed, tmp_path: Path
) -> None:
    """With the context's name, since there may be several."""
    api.kubeconfig(tmp_path / "config", "expired")

    assert 2 == run("push", "configmap/site")
    err = printed.readouterr().err
    assert "'test' does not know you" in err
    assert "log in again" in err


def test_a_name_that_does_not_exist_suggests_near_ones(
    shop: Shop, printed: Printed
) -> None:
    """Both those that exist and those that pods mount."""
    shop.api.objects["configmaps/sites"] = specs.config_map("sites")

    assert 2 == run("push", "configmap/sitee", "configmap/zzz")
    err = printed.readouterr().err
    assert "there is no configmap/sitee in namespace shop; did you mean site" in err
    assert "there is no configmap/zzz in namespace shop: mind --namespace" in err


def test_near_names_need_no_right_to_list_objects(shop: Shop, printed: Printed) -> None:
    """The Role that is shipped does not have it."""
    shop.add("web-0")
    shop.api.troubles = lambda _method, path: (
        refusal(403, "no") if path == "configmaps" else None
    )

    assert 2 == run("push", "configmap/sitee")
    assert "did you mean site?" in printed.readouterr().err


def test_a_server_that_is_not_there_is_said_with_its_context(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: Printed
) -> None:
    """The context is what one has chosen wrongly."""
    file = tmp_path / "config"
    file.write_text(json.dumps(kubeconfig(f"http://127.0.0.1:{free_port()}", TOKEN)))
    monkeypatch.setenv("KUBECONFIG", str(file))

    assert 2 == run("status", "configmap/site")
    assert "the API server of context 'test'" in printed.readouterr().err


def test_what_is_no_api_server_is_said(api: ApiServer, printed: Printed) -> None:
    """A login page, for example."""
    api.troubles = lambda _method, _path: Answer(200, b"<html>")

    assert 2 == run("status", "configmap/site")
    assert "is no Kubernetes API server" in printed.readouterr().err


def test_everything_wrong_on_the_command_line_is_said_at_once(
    api: ApiServer, printed: Printed
) -> None:
    """And nobody is asked anything."""
    arguments = ["site", "pod/x", "--timeout", "0", "--batch", "0", "-n", "A_B"]

    assert 2 == run("push", *arguments)
    assert 5 == len(printed.readouterr().err.splitlines())
    assert [] == api.requests


@pytest.mark.usefixtures("shop")
def test_nobody_who_uses_it_is_success_and_said(printed: Printed) -> None:
    """A Deployment may be scaled to nothing."""
    assert 0 == run("push", "configmap/site")
    assert "no pod in namespace shop uses" in printed.readouterr().out
