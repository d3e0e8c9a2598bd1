"""What the sidecar of a pod looks like, by the pod."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.cli.injection import RefusedError, Wish, plan
from sidecar.cli.pod import TOKENS, parse

SIGNAL = Wish(process="app")
WEBHOOK = Wish(webhook="http://127.0.0.1:9090/-/reload")


def sidecar(
    wish: Wish,
    image: str = "app:1",
    pod: dict[str, Any] | None = None,  # a securityContext of any shape
    container: dict[str, Any] | None = None,  # likewise
    mounts: list[Any] | None = None,
) -> Any:  # a container of any shape
    """Return the sidecar of a pod whose program has one volume."""
    program: Any = {
        "name": "app",
        "image": image,
        "securityContext": container or {},
        "volumeMounts": mounts or [{"name": "config", "mountPath": "/etc/app"}],
    }
    volumes = [
        {"name": "config", "configMap": {"name": "app"}},
        {"name": "data", "emptyDir": {}},
    ]
    spec: Any = {
        "securityContext": pod or {},
        "containers": [program],
        "volumes": volumes,
    }
    return plan(parse(spec), wish).container


NOBODY = {"runAsNonRoot": True}
ROOT = {"runAsUser": 0, "runAsGroup": 0, "runAsNonRoot": False}
KILL = {"drop": ["ALL"], "add": ["KILL"]}


@pytest.mark.parametrize(
    ("pod", "container", "expected"),
    [
        ({}, {"runAsUser": 7}, {"runAsUser": 7, "runAsNonRoot": True}),
        ({"runAsUser": 7}, {}, {"runAsNonRoot": True}),
        ({"runAsUser": 7, "runAsNonRoot": True}, {}, {}),
        (
            {"runAsUser": 7, "runAsGroup": 8},
            {"runAsUser": 9},
            {"runAsUser": 9, "runAsGroup": 8, "runAsNonRoot": True},
        ),
        ({}, {"runAsUser": 0}, ROOT),
        ({"runAsUser": 7}, {"runAsUser": 0}, ROOT),
        ({}, {}, ROOT | {"capabilities": KILL}),
        ({"runAsNonRoot": True}, {"runAsNonRoot": False, "runAsUser": 0}, ROOT),
    ],
)
def test_who_signals_runs_as_the_program_or_as_root_in_the_last_resort(
    pod: dict[str, Any],  # a securityContext of any shape
    container: dict[str, Any],  # likewise
    expected: dict[str, Any],  # likewise
) -> None:
    """The rule of kill(2), and the fewest rights that it lets do."""
    found = sidecar(SIGNAL, pod=pod, container=container)["securityContext"]

    assert {"capabilities": {"drop": ["ALL"]}, **expected} == {
        key: value
        for key, value in found.items()
        if key.startswith("runAs") or key == "capabilities"
    }


@pytest.mark.parametrize(
    ("pod", "container"),
    [
        ({"runAsNonRoot": True}, {}),
        ({}, {"runAsNonRoot": True}),
        ({"runAsNonRoot": True}, {"runAsUser": 0}),
    ],
)
def test_nobody_becomes_root_where_root_is_forbidden(
    pod: dict[str, Any],  # a securityContext of any shape
    container: dict[str, Any],  # likewise
) -> None:
    """Whoever forbade it meant it."""
    with pytest.raises(RefusedError) as error:
        sidecar(SIGNAL, pod=pod, container=container)
    assert ["uid-forbidden"] == [flaw.code for flaw in error.value.flaws]


def test_who_calls_runs_as_nobody_in_a_pod_of_root() -> None:
    """A request needs no uid, so it gets none that could do harm."""
    found = sidecar(WEBHOOK, pod={"runAsUser": 0})["securityContext"]

    assert (65532, True) == (found["runAsUser"], found["runAsNonRoot"])


PROMETHEUS = "quay.io/prometheus/prometheus:v3"


@pytest.mark.parametrize(
    ("image", "url", "verified"),
    [
        (PROMETHEUS, "http://127.0.0.1:9090/-/reload", None),
        (PROMETHEUS, "http://u:p@[::1]:91/x/-/reload", "http://[::1]:91/x/metrics"),
        (
            "prom/blackbox-exporter",
            "http://localhost/-/reload",
            "http://localhost/metrics",
        ),
    ],
)
def test_a_program_that_is_known_is_asked_whether_it_took_it(
    image: str, url: str, verified: str | None
) -> None:
    """Where its preset says, or at the same address where that is another."""
    env = variables(sidecar(Wish(webhook=url), image))

    assert image.rpartition("/")[2].partition(":")[0].replace("-", "_") == env["PRESET"]
    assert verified == env.get("VERIFY_URL")


@pytest.mark.parametrize(
    ("image", "url"),
    [
        ("app:1", "http://127.0.0.1:9090/-/reload"),
        (PROMETHEUS, "http://127.0.0.1:8080/hook"),
        (PROMETHEUS, "http://127.0.0.1:9090/-/reload,http://127.0.0.1/b"),
        (PROMETHEUS, "http+unix://%2Frun%2Fa.sock/reload"),
    ],
)
def test_nobody_is_asked_who_may_not_know(image: str, url: str) -> None:
    """A wrong question would reject every content."""
    env = variables(sidecar(Wish(webhook=url), image))

    assert {"WATCH_DIRS", "WEBHOOK_URL", "STATE_DIR"} == set(env)


def test_probes_go_where_the_endpoints_are() -> None:
    """A liveness probe that nobody answers restarts the sidecar for ever."""
    moved = sidecar(Wish(process="app", env={"HTTP_LISTEN": ":8000"}))
    silent = sidecar(Wish(process="app", env={"HTTP_LISTEN": "off"}))

    assert [{"name": "reload", "containerPort": 8000}] == moved["ports"]
    assert {"livenessProbe", "readinessProbe"} <= moved.keys()
    assert not {"livenessProbe", "readinessProbe", "ports"} & silent.keys()


def test_who_asks_the_api_has_a_token_and_knows_its_pod() -> None:
    """The pod may keep its token from its containers, and names nobody."""
    found = sidecar(Wish(process="app", env={"EVENTS": "true"}))
    told = {v["name"]: v["valueFrom"] for v in found["env"] if "valueFrom" in v}

    assert {
        "POD_NAME": {"fieldRef": {"fieldPath": "metadata.name"}},
        "POD_NAMESPACE": {"fieldRef": {"fieldPath": "metadata.namespace"}},
        "POD_UID": {"fieldRef": {"fieldPath": "metadata.uid"}},
    } == told
    assert TOKENS in [mount["mountPath"] for mount in found["volumeMounts"]]


ENDING = {"RELOAD_SIGNAL": "TERM"}
ROLLING = {"ROLLOUT": "deployment/app"}
KEY = {"name": "config", "mountPath": "/etc/app.conf", "subPath": "app.conf"}
WHOLE = {"name": "config", "mountPath": "/etc/app"}


@pytest.mark.parametrize(
    ("wish", "mounts", "directory"),
    [
        (Wish(process="app", env=ENDING), [KEY], "/watched/config"),
        (Wish(env=ROLLING), [KEY], "/watched/config"),
        (Wish(env=ROLLING), [KEY, WHOLE], "/etc/app"),
        (Wish(process="app"), [KEY, WHOLE], "/etc/app"),
    ],
)
def test_a_key_by_sub_path_is_followed_where_it_comes_anew(
    wish: Wish, mounts: list[Any], directory: str
) -> None:
    """Where the container is started again; else the program would never see it."""
    found = sidecar(wish, mounts=mounts)

    assert directory == found["env"][0]["value"]
    assert {"name": "config", "mountPath": directory, "readOnly": True} == (
        found["volumeMounts"][0]
    )


def test_a_part_of_a_volume_that_nobody_replaces_is_followed_as_it_is() -> None:
    """An emptyDir holds what another container fetched, for more than one program."""
    part = {"name": "data", "mountPath": "/etc/app", "subPath": "app"}
    found = sidecar(Wish(process="app", volumes=("data",)), mounts=[WHOLE, part])

    assert {**part, "readOnly": True} == found["volumeMounts"][0]
    assert "/etc/app" == found["env"][0]["value"]


@pytest.mark.parametrize("wish", [SIGNAL, WEBHOOK, Wish(process="app", preset="nginx")])
def test_a_key_by_sub_path_is_refused_where_it_never_changes(wish: Wish) -> None:
    """The sidecar would reload a program that reads what it had before."""
    with pytest.raises(RefusedError) as error:
        sidecar(wish, mounts=[KEY])
    assert ["sub-path"] == [flaw.code for flaw in error.value.flaws]


def variables(container: Any) -> dict[str, str]:  # a container of any shape
    """Return its variables by their names."""
    return {variable["name"]: variable["value"] for variable in container["env"]}


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        (ENDING, ("5s", "6m")),
        (ENDING | {"RELOAD_JITTER": "0s"}, ("0s", "6m")),
        (ENDING | {"VERIFY_TIMEOUT": "10m"}, ("5s", "10m")),
        ({"RELOAD_SIGNAL": "USR1"}, (None, None)),
    ],
)
def test_a_restart_in_place_has_the_time_that_the_kubelet_takes(
    env: dict[str, str], expected: tuple[str | None, str | None]
) -> None:
    """Else a good content counts as rejected, and all replicas are away at once."""
    found = variables(sidecar(Wish(process="app", env=env)))

    assert expected == (found.get("RELOAD_JITTER"), found.get("VERIFY_TIMEOUT"))
