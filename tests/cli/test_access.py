"""The kubeconfig, and everything that can be wrong with it."""

from __future__ import annotations

import base64
import errno
import json
import os
import re
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import trustme

from sidecar.cli.access import connect
from sidecar.cli.api import Api
from sidecar.cli.client import Client
from sidecar.cli.failure import AccessError
from sidecar.cli.objects import reference
from tests.cli import specs
from tests.cli.api_server import TOKEN, ApiServer, kubeconfig
from tests.hook import Answer, Hook
from tests.waiting import wait_until

SITE = reference("configmap/site")


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
        return api.source(SITE) is not None


def program(path: Path, script: str) -> Path:
    """Write a shell script that can be run; return its path."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def with_program(
    url: str, *command: str, version: str = "v1", **more: str
) -> specs.Document:
    """Return a kubeconfig whose credentials come from a program."""
    config = kubeconfig(url, "")
    config["users"][0]["user"] = {
        "exec": {
            "apiVersion": f"client.authentication.k8s.io/{version}",
            "command": command[0],
            "args": list(command[1:]),
            **more,
        }
    }
    return config


def token(text: str = TOKEN) -> str:
    """Return what a program prints."""
    return json.dumps({"kind": "ExecCredential", "status": {"token": text}})


def test_several_files_are_one_and_the_first_counts(
    api: ApiServer, tmp_path: Path
) -> None:
    """As for kubectl: one has the contexts, others what these name; one is absent."""
    api.objects["configmaps/site"] = specs.config_map()
    ours, wrong = kubeconfig(api.url, TOKEN), kubeconfig("http://127.0.0.1:1", "wrong")
    config = {key: ours[key] for key in ("contexts", "current-context")}
    files = [
        str(tmp_path / "absent"),
        written(tmp_path / "empty", {"current-context": "", "contexts": None}),
        written(tmp_path / "contexts", config),
        written(tmp_path / "clusters", {"clusters": ours["clusters"]}),
        written(tmp_path / "users", {"users": ours["users"]}),
        written(tmp_path / "wrong", wrong | {"current-context": "other"}),
    ]
    env = {"KUBECONFIG": ":".join(files)}

    assert [True, True] == [reaches(env), reaches(env, "test")]


def test_each_files_paths_are_its_own(api: ApiServer, tmp_path: Path) -> None:
    """The program that logs in lies beside the file that names it."""
    api.objects["configmaps/site"] = specs.config_map()
    (tmp_path / "there").mkdir()
    program(tmp_path / "there" / "login", f"echo '{token()}'")
    config = with_program(api.url, "./login")
    users = {"users": config.pop("users")}
    files = [
        written(tmp_path / "config", config),
        written(tmp_path / "there" / "users", users),
    ]

    assert reaches({**os.environ, "KUBECONFIG": ":".join(files)})


@pytest.mark.parametrize("field", ["as", "as-uid", "as-groups", "as-user-extra"])
def test_who_acts_as_somebody_else_is_refused(tmp_path: Path, field: str) -> None:
    """The requests would be made with the rights of who logs in, perhaps all."""
    config = kubeconfig("http://127.0.0.1:1", TOKEN)
    config["users"][0]["user"][field] = {"as-groups": ["viewers"]}.get(field, "viewer")

    said = problem({"KUBECONFIG": written(tmp_path / "config", config)})
    assert f"user 'u' of the kubeconfig has `{field}`" in said


def test_every_field_that_would_be_left_out_is_named(tmp_path: Path) -> None:
    """A request past the proxy, or to a server of another name, is not what was asked.

    Those of a context that was not chosen don't matter.
    """
    config = kubeconfig("http://127.0.0.1:1", TOKEN)
    fields = {"proxy-url": "http://proxy:1", "tls-server-name": "shop.example"}
    config["clusters"][0]["cluster"] |= fields
    other = {"name": "c2", "cluster": {"server": "http://127.0.0.1:1"}}
    config["clusters"].append(other)
    free = {"name": "free", "context": {"cluster": "c2", "user": "u"}}
    config["contexts"].append(free)
    env = {"KUBECONFIG": written(tmp_path / "config", config)}

    lines = problem(env).splitlines()
    assert [True, True] == [
        f"`{field}`" in line for field, line in zip(fields, lines, strict=True)
    ]
    access = connect(env, "free")
    with access.http:
        assert "free" == access.context


@pytest.mark.parametrize("version", ["v1beta1", "v1"])
def test_a_program_may_fetch_the_token(
    api: ApiServer, tmp_path: Path, version: str
) -> None:
    """Every large cloud has one; it is told with which protocol to answer."""
    api.objects["configmaps/site"] = specs.config_map()
    told = f'echo "$KUBERNETES_EXEC_INFO" | grep -q /{version} && '
    script = f"{told} echo '{token()}'"
    config = with_program(api.url, "sh", "-c", script, version=version)

    assert reaches({**os.environ, "KUBECONFIG": written(tmp_path / "config", config)})


def test_a_program_beside_the_kubeconfig_is_found_there(
    api: ApiServer, tmp_path: Path
) -> None:
    """A relative path is one from the kubeconfig, as for kubectl."""
    api.objects["configmaps/site"] = specs.config_map()
    program(tmp_path / "login", f"echo '{token()}'")
    config = with_program(api.url, "./login")

    assert reaches({**os.environ, "KUBECONFIG": written(tmp_path / "config", config)})


def test_an_expired_token_is_fetched_again_once_for_all(
    api: ApiServer, tmp_path: Path
) -> None:
    """Eight requests are under way when it expires, and a login takes its time."""
    api.objects["configmaps/site"] = specs.config_map()
    runs = tmp_path / "runs"
    script = f"echo run >> {runs}; [ $(wc -l < {runs}) = 1 ] && echo '{token('old')}'"
    program(tmp_path / "login", f"{script} || echo '{token()}'")
    config = with_program(api.url, "./login")
    env = {**os.environ, "KUBECONFIG": written(tmp_path / "config", config)}

    access = connect(env)
    with access.http, ThreadPoolExecutor(8) as workers:
        site = Api(Client(access, threading.Event()), access.namespace)
        asked = [workers.submit(site.source, SITE) for _ in range(8)]
        assert all(one.result() for one in asked)
    assert 2 == len(runs.read_text().splitlines())


@pytest.mark.parametrize("fetched", [True, False])
def test_a_certificate_is_shown_where_the_server_asks_for_one(
    tmp_path: Path, *, fetched: bool
) -> None:
    """A program may fetch it, or it lies beside a program that fetches a token."""
    authority = trustme.CA()
    issued = authority.issue_cert("person@shop.example")
    pem = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    key = issued.private_key_pem.bytes()
    status = {"clientCertificateData": pem.decode(), "clientKeyData": key.decode()}
    printed = tmp_path / "printed"
    printed.write_text(json.dumps({"status": status}) if fetched else token())
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    found = Answer(200, json.dumps(specs.config_map()))
    with Hook(lambda _request, _number: found, context) as server:
        config = with_program(f"https://127.0.0.1:{server.port}", "cat", str(printed))
        trusted = base64.b64encode(authority.cert_pem.bytes()).decode()
        config["clusters"][0]["cluster"]["certificate-authority-data"] = trusted
        if not fetched:
            config["users"][0]["user"] |= {
                "client-certificate-data": base64.b64encode(pem).decode(),
                "client-key-data": base64.b64encode(key).decode(),
            }

        env = {**os.environ, "KUBECONFIG": written(tmp_path / "config", config)}
        assert reaches(env)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo log in, please >&2; exit 3", "ended with status 3"),
        ("kill -TERM $$", "ended with status -15"),
        ("echo nonsense hunter2", "printed no credentials"),
        ("printf '\\377'", "printed no credentials"),
        ("echo '{}'", "printed no credentials"),
        ("""echo '{"status": {}}'""", "printed no credentials"),
        ("""echo '{"status": {"token": 5}}'""", "printed no credentials"),
        ("exec sleep 60", "did not end within 0.5 s: log in first"),
    ],
)
def test_a_program_that_fetches_none_is_named_with_its_words(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], script: str, said: str
) -> None:
    """The person has to log in first; what it printed may be a secret."""
    login = program(tmp_path / "login", script)
    config = with_program("http://127.0.0.1:1", "./login")
    env = {**os.environ, "KUBECONFIG": written(tmp_path / "config", config)}

    with pytest.raises(AccessError) as raised:
        connect(env, patience=0.5)
    assert f"{login}, which the kubeconfig has fetch" in str(raised.value)
    assert said in str(raised.value)
    assert "hunter2" not in str(raised.value)
    assert ("log in, please" in script) == ("log in, please" in capfd.readouterr().err)


def is_open(fifo: Path) -> bool:
    """Whether somebody could read what is written to it."""
    try:
        os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
    except OSError as error:
        return error.errno != errno.ENXIO
    return True


def test_a_program_that_hangs_leaves_nobody_behind(tmp_path: Path) -> None:
    """What a script has started would keep our stderr open: a pipeline would hang."""
    started = tmp_path / "started"
    script = f"exec 8<>{tmp_path}/fifo; echo x > {started}; sleep 60; true"
    os.mkfifo(tmp_path / "fifo")
    program(tmp_path / "login", script)
    config = with_program("http://127.0.0.1:1", "./login")
    env = {**os.environ, "KUBECONFIG": written(tmp_path / "config", config)}

    with pytest.raises(AccessError, match="did not end"):
        connect(env, patience=1)
    assert started.exists()
    wait_until(lambda: not is_open(tmp_path / "fifo"), "nobody has it open")


@pytest.mark.parametrize(
    ("command", "version", "said"),
    [
        ("no-such-login", "v1", "can't be started: .* No such file .* get it there"),
        ("/etc/passwd", "v1", "can't be started: .* Permission denied"),
        ("no\0login", "v1", "can't be started: embedded null byte"),
        ("true", "v9", "speaks client.authentication.k8s.io/v9; known are"),
    ],
)
def test_a_program_that_can_not_be_run_is_said_with_the_way_to_it(
    tmp_path: Path, command: str, version: str, said: str
) -> None:
    """The kubeconfig may say how to install it."""
    url = "http://127.0.0.1:1"
    config = with_program(url, command, version=version, installHint="get it there\n")

    said_of_it = problem(
        {**os.environ, "KUBECONFIG": written(tmp_path / "config", config)}
    )
    assert re.search(said, said_of_it, re.DOTALL)


def test_a_login_that_kubernetes_gave_up_is_named(tmp_path: Path) -> None:
    """An old kubeconfig of a cloud; its provider has a program for it now."""
    config = kubeconfig("http://127.0.0.1:1", TOKEN)
    config["users"][0]["user"] = {"auth-provider": {"name": "gcp"}}

    said = problem({"KUBECONFIG": written(tmp_path / "config", config)})
    assert "auth-provider 'gcp'" in said


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
        ({}, "names no current context"),
        ({"users": [5]}, "not whole"),
        ({"users": [{"name": "u", "user": 5}]}, "not whole"),
        ({"users": [{"name": "u", "user": {"exec": 5}}]}, "not whole"),
        ({"users": [{"name": "u", "user": "text"}]}, "can't be used"),
        ({"users": [{"name": "u", "user": {"exec": {"args": []}}}]}, "not whole"),
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
