"""The kubeconfig, and everything that can be wrong with it."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
import trustme

from sidecar.cli.access import AccessError, connect
from sidecar.cli.api import Api
from sidecar.cli.client import Client
from sidecar.cli.objects import reference
from tests.cli import specs
from tests.cli.api_server import TOKEN, ApiServer, kubeconfig


def written(path: Path, document: object) -> str:
    """Write a kubeconfig, or what is none; return its path."""
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return str(path)


def problem(env: dict[str, str], context: str | None = None) -> str:
    """Return what is said of an environment that leads nowhere."""
    with pytest.raises(AccessError) as raised:
        connect(env, context)
    return str(raised.value)


def reaches(env: dict[str, str], context: str | None = None) -> bool:
    """Whether a request with these credentials is answered."""
    access = connect(env, context)
    with access.http:
        api = Api(Client(access, threading.Event()), access.namespace)
        return api.source(reference("configmap/site")) is not None


def with_program(url: str, script: str, version: str) -> specs.Document:
    """Return a kubeconfig whose token comes from a program."""
    config = kubeconfig(url, "")
    arguments = ["-c", script]
    config["users"][0]["user"] = {
        "exec": {
            "apiVersion": f"client.authentication.k8s.io/{version}",
            "command": "sh",
            "args": arguments,
        }
    }
    return config


def test_of_several_files_the_one_with_the_context_counts(
    api: ApiServer, tmp_path: Path
) -> None:
    """KUBECONFIG is a list, and a file of it may not be there."""
    api.objects["configmaps/site"] = specs.config_map()
    other = kubeconfig("http://127.0.0.1:1", TOKEN)
    other["contexts"][0]["name"] = "other"
    other["current-context"] = ""
    files = [
        str(tmp_path / "absent"),
        written(tmp_path / "other", other),
        written(tmp_path / "ours", kubeconfig(api.url, TOKEN)),
    ]
    env = {"KUBECONFIG": ":".join(files)}

    assert reaches(env)
    assert reaches(env, "test")


@pytest.mark.parametrize("version", ["v1beta1", "v1"])
def test_a_program_may_fetch_the_token(
    api: ApiServer, tmp_path: Path, version: str
) -> None:
    """Every large cloud has one; v1 is told with which protocol to answer."""
    api.objects["configmaps/site"] = specs.config_map()
    answer = json.dumps({"status": {"token": TOKEN}})
    told = '[ -n "$KUBERNETES_EXEC_INFO" ] && ' if version == "v1" else ""
    config = with_program(api.url, f"{told}echo '{answer}'", version)

    assert reaches({"KUBECONFIG": written(tmp_path / "config", config)})


@pytest.mark.parametrize("script", ["exit 1", "echo nonsense", "echo '{}'"])
def test_a_program_that_fetches_none_is_said(
    api: ApiServer, tmp_path: Path, script: str
) -> None:
    """The person has to log in first."""
    config = with_program(api.url, script, "v1")

    with pytest.raises(AccessError, match=r"no credentials could be had.*log in again"):
        reaches({"KUBECONFIG": written(tmp_path / "config", config)})


def test_a_token_that_no_header_may_hold_is_not_repeated(
    api: ApiServer, tmp_path: Path
) -> None:
    """A pipeline's log is read by many."""
    config = kubeconfig(api.url, "hunter2\nhunter3")

    with pytest.raises(AccessError) as raised:
        reaches({"KUBECONFIG": written(tmp_path / "config", config)})
    assert "hunter" not in str(raised.value)


def test_without_any_kubeconfig_the_ways_to_one_are_said(tmp_path: Path) -> None:
    """Three ways: the variable, the home, a pod."""
    env = {"HOME": str(tmp_path)}

    said = problem(env)
    assert all(
        way in said for way in ("KUBECONFIG", "~/.kube/config", "ServiceAccount")
    )


def test_a_pod_without_a_kubeconfig_uses_its_own_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipeline may run in the cluster, and its namespace is the default there."""
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.crt")
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "namespace").write_text("shop")
    # lightkube reads these two itself
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    env = {"HOME": str(tmp_path), "KUBERNETES_SERVICE_HOST": "10.96.0.1"}

    access = connect(env, account=str(tmp_path))
    with access.http:
        assert ("https://10.96.0.1:443", "shop") == (access.server, access.namespace)
    with pytest.raises(AccessError, match="can't be used"):
        connect(env, account=str(tmp_path / "absent"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "can't be used"),
        ("just text", "is no kubeconfig"),
        ({}, "not whole"),
        (kubeconfig("http://x", TOKEN) | {"clusters": []}, "not whole"),
        (kubeconfig("http://x", TOKEN) | {"users": []}, "not whole"),
        (kubeconfig("http://x", TOKEN) | {"contexts": []}, "has no context 'test'"),
        (kubeconfig("http://x", TOKEN) | {"current-context": ""}, "--context"),
        (kubeconfig("http://x", TOKEN) | {"clusters": 5}, "not whole"),
    ],
)
def test_a_kubeconfig_that_is_wrong_is_said(
    tmp_path: Path, content: object, said: str
) -> None:
    """With what to do, and without a traceback."""
    assert said in problem({"KUBECONFIG": written(tmp_path / "config", content)})


def test_a_certificate_that_is_not_there_is_said(tmp_path: Path) -> None:
    """The kubeconfig names it, relative to itself."""
    config = kubeconfig("https://x", TOKEN)
    config["clusters"][0]["cluster"]["certificate-authority"] = "ca.crt"

    said = problem({"KUBECONFIG": written(tmp_path / "config", config)})
    assert "a file that it names can't be read" in said


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    """A typing error in a pipeline."""
    path = str(tmp_path / "absent")

    assert f"KUBECONFIG={path!r}: there is no such file" in problem(
        {"KUBECONFIG": path}
    )
