"""The environment is checked as a whole, before anything starts."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from hypothesis import HealthCheck, example, given, settings as tuned, strategies as st

from sidecar import settings
from sidecar.errors import SettingsError
from sidecar.settings import (
    ClusterSettings,
    HttpSettings,
    ProcessSettings,
    RequestSettings,
    RetrySettings,
    RolloutSettings,
    Settings,
    TlsSettings,
    VerifySettings,
    WatchSettings,
)
from sidecar.variables import VARIABLES, WORDS, misspelt

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture
def enough(tmp_path: Path) -> dict[str, str]:
    """Return the smallest environment that is right."""
    return {"WATCH_DIRS": str(tmp_path), "PROCESS_NAME": "nginx"}


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a CA, a certificate, its key, and what goes wrong with them."""
    path = tmp_path_factory.mktemp("pem")
    ca = trustme.CA()
    issued = ca.issue_cert("app.test")
    ca.cert_pem.write_to_path(path / "ca.pem")
    issued.cert_chain_pems[0].write_to_path(path / "cert.pem")
    issued.private_key_pem.write_to_path(path / "key.pem")
    issued.private_key_and_cert_chain_pem.write_to_path(path / "both.pem")
    ca.issue_cert("x.test").private_key_pem.write_to_path(path / "other-key.pem")
    (path / "text.pem").write_text("not a certificate")
    key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    certificate = issued.cert_chain_pems[0].bytes()
    (path / "encrypted.pem").write_bytes(encrypted + certificate)
    return path


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Give up root's right to read everything, if we have it."""
    uid = os.geteuid()
    if uid == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(uid)


def problems(env: dict[str, str]) -> list[str]:
    """Return what is wrong with an environment."""
    with pytest.raises(SettingsError) as caught:
        settings.from_env(env)
    return caught.value.problems


def problem(env: dict[str, str]) -> str:
    """Return the only thing that is wrong with an environment."""
    (only,) = problems(env)
    return only


def test_a_volume_and_a_process_are_enough(
    tmp_path: Path, enough: dict[str, str]
) -> None:
    """Everything else has its default: in the table as in the dataclasses."""
    assert Settings(
        watch=WatchSettings(dirs=(tmp_path,)),
        process=ProcessSettings(names=("nginx",)),
    ) == settings.from_env(enough)


def test_a_webhook_s_defaults(tmp_path: Path) -> None:
    """The same for what only a webhook has."""
    read = settings.from_env(
        {"WATCH_DIRS": str(tmp_path), "WEBHOOK_URL": "http://a/-/reload"}
    )

    assert read.process is None
    assert (RequestSettings(url="http://a/-/reload"),) == read.webhooks


def test_every_variable_arrives(tmp_path: Path, pem: Path) -> None:
    """One environment with everything, so that no field is forgotten."""
    volume, state = tmp_path / "volume", tmp_path / "state"
    volume.mkdir()
    state.mkdir()
    token = tmp_path / "token"
    token.write_text("x")
    read = settings.from_env(
        {
            "WATCH_DIRS": f"{volume}/",
            "WATCH_INCLUDE": "*.conf, conf.d/*",
            "WATCH_EXCLUDE": "*.bak",
            "DEBOUNCE": "0",
            "DEBOUNCE_MAX": "1m",
            "POLL_INTERVAL": "0",
            "PROCESS_NAME": "nginx",
            "PROCESS_CMDLINE": "^nginx: master",
            "PROCESS_CONTAINER": "web",
            "PID_FILE": "/run/nginx.pid",
            "PROCESS_SELECT": "all",
            "RELOAD_SIGNAL": "usr1",
            "SIGNAL_GUARD": "no",
            "WEBHOOK_URL": "https://a/x,http://b/y",
            "WEBHOOK_METHOD": "put",
            "WEBHOOK_HEADERS": "X-A: 1; X-B: 2",
            "WEBHOOK_BODY": " as is ",
            "WEBHOOK_BEARER_TOKEN_FILE": str(token),
            "WEBHOOK_CA_FILE": str(pem / "ca.pem"),
            "WEBHOOK_CERT_FILE": str(pem / "cert.pem"),
            "WEBHOOK_KEY_FILE": str(pem / "key.pem"),
            "WEBHOOK_TLS_VERIFY": "true",
            "WEBHOOK_EXPECT_STATUS": "204",
            "WEBHOOK_TIMEOUT": "3s",
            "RETRY_INITIAL": "2s",
            "RETRY_MAX": "3s",
            "RELOAD_MIN_INTERVAL": "4s",
            "RELOAD_JITTER": "5s",
            "VERIFY_URL": "http://a/metrics",
            "VERIFY_STATUS": "200",
            "VERIFY_BODY": "ok",
            "VERIFY_CHANGES": "time (.*)",
            "VERIFY_TIMEOUT": "6s",
            "VERIFY_ALIVE": "0",
            "CATCH_UP": "never",
            "STATE_DIR": str(state),
            "EVENTS": "false",
            "POD_NAME": "web-0",
            "POD_NAMESPACE": "site",
            "POD_UID": "1b4e28ba-2fa1-11d2-883f-0016d3cca427",
            "DIGEST_KEY_FILE": str(token),
            "HTTP_LISTEN": "off",
            "READY_WHEN": "first-fresh",
            "SHUTDOWN_TIMEOUT": "0",
            "LOG_LEVEL": "debug",
            "LOG_FORMAT": "json",
        }
    )

    tls = TlsSettings(
        ca_file=pem / "ca.pem", cert_file=pem / "cert.pem", key_file=pem / "key.pem"
    )
    requests = [
        RequestSettings(
            url=url,
            method="PUT",
            headers=(("X-A", "1"), ("X-B", "2")),
            body=" as is ",
            bearer_token_file=token,
            tls=tls,
            expect_status=(range(204, 205),),
            timeout=3,
        )
        for url in ("https://a/x", "http://b/y")
    ]
    assert (
        Settings(
            watch=WatchSettings(
                dirs=(volume,),
                include=("*.conf", "conf.d/*"),
                exclude=("*.bak",),
                debounce=0,
                debounce_max=60,
                poll_interval=0,
            ),
            process=ProcessSettings(
                names=("nginx",),
                cmdline=re.compile("^nginx: master"),
                container="web",
                pid_file=Path("/run/nginx.pid"),
                select="all",
                signal=signal.SIGUSR1,
                guard=False,
            ),
            webhooks=tuple(requests),
            verify=VerifySettings(
                alive=0,
                url="http://a/metrics",
                status=(range(200, 201),),
                body=re.compile("ok"),
                changes=re.compile("time (.*)"),
                timeout=6,
            ),
            retry=RetrySettings(
                initial=2, maximum=3, min_interval=4, jitter=5, catch_up="never"
            ),
            http=HttpSettings(listen=None, ready_when="first-fresh"),
            log=settings.LogSettings(level="debug", format="json"),
            pod=settings.PodSettings(
                name="web-0",
                namespace="site",
                uid="1b4e28ba-2fa1-11d2-883f-0016d3cca427",
            ),
            state_dir=state,
            digest_key_file=token,
            shutdown_timeout=0,
        )
        == read
    )


def test_reports_every_problem_at_once_and_in_order() -> None:
    """An operator fixes a manifest once, not once per restart."""
    # of these, any text will do
    free = {"WATCH_INCLUDE", "WATCH_EXCLUDE", "PROCESS_NAME", "PROCESS_CMDLINE"}
    free |= {"WEBHOOK_BODY", "VERIFY_BODY", "POD_ROLLOUT"}
    wrong = {name: "\x01" for name in VARIABLES if name not in free}
    named = [text.partition("=")[0] for text in problems(wrong)]

    assert list(wrong) == list(dict.fromkeys(named))


def test_a_problem_names_variable_value_and_what_is_accepted(
    enough: dict[str, str],
) -> None:
    """All three are needed to mend it without the documentation."""
    assert (
        "DEBOUNCE='soon': not a duration; "
        "accepted: 250ms, 5s, 1m30s, 2h, or a number of seconds"
    ) == problem(enough | {"DEBOUNCE": "soon"})


def test_nothing_at_all_is_answered_with_what_to_set() -> None:
    """The first start of somebody who has not read anything."""
    volume, target = problems({})

    assert volume.startswith("WATCH_DIRS is not set")
    assert "PRESET" in target
    assert "WEBHOOK_URL" in target


@pytest.mark.parametrize("empty", ["", " ", "\n"])
def test_an_empty_variable_is_unset(enough: dict[str, str], empty: str) -> None:
    """Templates leave empty values where nothing was chosen."""
    assert settings.from_env(enough) == settings.from_env(
        dict.fromkeys(VARIABLES, empty) | enough
    )


def test_a_selector_of_commas_never_becomes_one_that_matches_all(
    tmp_path: Path,
) -> None:
    """A signal to every process of the pod would be the worst of all readings."""
    env = {"WATCH_DIRS": str(tmp_path), "PROCESS_NAME": " , "}

    assert "only commas" in problem(env)


def test_config_dir_is_another_name_for_watch_dirs(tmp_path: Path) -> None:
    """Peers call it so; with both, they must agree."""
    env = {"CONFIG_DIR": str(tmp_path), "PROCESS_NAME": "nginx"}

    assert (tmp_path,) == settings.from_env(env).watch.dirs
    assert settings.from_env(env) == settings.from_env(
        env | {"WATCH_DIRS": str(tmp_path)}
    )
    assert "set only WATCH_DIRS" in problem(env | {"WATCH_DIRS": "/etc"})


def test_a_problem_names_the_alias_that_was_set() -> None:
    """It is what the operator will search for in the manifest."""
    env = {"CONFIG_DIR": "etc", "PROCESS_NAME": "nginx"}

    assert problem(env).startswith("CONFIG_DIR='etc': not an absolute path")


def test_each_directory_is_checked(tmp_path: Path) -> None:
    """The good ones don't hide the bad ones, nor the first the second."""
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    dirs = [tmp_path, tmp_path / "none", tmp_path / "file", tmp_path / "loop", "etc"]
    found = problems({"WATCH_DIRS": ",".join(map(str, dirs)), "PROCESS_NAME": "nginx"})

    assert [
        f"'{tmp_path}/none': does not exist",
        f"'{tmp_path}/file': not a directory",
        f"'{tmp_path}/loop': can't be looked at",
        "'etc': not an absolute path",
    ] == [
        text.removeprefix("WATCH_DIRS=").partition(";")[0].partition(": Too")[0]
        for text in found
    ]


def test_the_same_directory_is_watched_once(tmp_path: Path) -> None:
    """Written twice, with and without the slash at its end."""
    env = {"WATCH_DIRS": f"{tmp_path},{tmp_path}/", "PROCESS_NAME": "nginx"}

    assert (tmp_path,) == settings.from_env(env).watch.dirs


def test_a_directory_inside_another_is_suspicious(tmp_path: Path) -> None:
    """Right for a volume mounted in a volume, and a mistake otherwise."""
    inner = tmp_path / "inner"
    inner.mkdir()
    read = settings.from_env(
        {"WATCH_DIRS": f"{tmp_path},{inner}", "PROCESS_NAME": "nginx"}
    )

    assert (tmp_path, inner) == read.watch.dirs
    assert "lies inside" in read.warnings[0]


def test_an_unreadable_directory_is_said() -> None:
    """It may become readable, so it is no error; but somebody should know."""
    with tempfile.TemporaryDirectory() as volume:
        Path(volume).chmod(0)
        with as_nobody():
            read = settings.from_env({"WATCH_DIRS": volume, "PROCESS_NAME": "nginx"})

    assert "may not read it yet" in read.warnings[0]


def test_a_directory_behind_a_closed_one_is_an_error() -> None:
    """Nobody can tell whether it exists; and that is what the message says."""
    with tempfile.TemporaryDirectory() as closed:
        volume = Path(closed) / "volume"
        volume.mkdir()
        Path(closed).chmod(0)
        with as_nobody():
            text = problem({"WATCH_DIRS": str(volume), "PROCESS_NAME": "nginx"})
        Path(closed).chmod(0o700)

    assert "can't be looked at: Permission denied" in text


def test_the_debounce_may_not_outlast_its_maximum(enough: dict[str, str]) -> None:
    """The maximum would decide alone, and the other would look set."""
    assert (
        "DEBOUNCE='10s': longer than DEBOUNCE_MAX='5s'; lower it, or raise that"
    ) == problem(enough | {"DEBOUNCE": "10s"})
    assert "DEBOUNCE='200ms'" in problem(enough | {"DEBOUNCE_MAX": "0"})


def test_a_preset_fills_what_is_not_set(tmp_path: Path) -> None:
    """`PRESET` and a directory are a complete configuration."""
    read = settings.from_env(
        {"WATCH_DIRS": str(tmp_path), "PRESET": "haproxy", "PROCESS_SELECT": "all"}
    )

    assert (
        ProcessSettings(names=("haproxy",), signal=signal.SIGUSR2, select="all")
        == read.process
    )


def test_an_unknown_preset_is_one_problem(tmp_path: Path) -> None:
    """It also leaves no target, but that follows."""
    env = {"WATCH_DIRS": str(tmp_path), "PRESET": "ngnix"}

    assert "nearest: nginx" in problem(env)


@pytest.mark.parametrize(
    ("name", "text"),
    [("RELOAD_SIGNAL", "HUP"), ("PROCESS_SELECT", "all"), ("SIGNAL_GUARD", "false")],
)
def test_a_signal_without_a_process_is_suspicious(
    tmp_path: Path, name: str, text: str
) -> None:
    """Somebody believes that a signal is sent."""
    read = settings.from_env(
        {"WATCH_DIRS": str(tmp_path), "WEBHOOK_URL": "http://a/", name: text}
    )

    assert read.process is None
    assert read.warnings[0].startswith(f"{name}={text!r}: has no effect without")


def test_webhook_settings_without_a_url_are_suspicious(
    enough: dict[str, str],
) -> None:
    """The same for requests."""
    (warning,) = settings.from_env(enough | {"WEBHOOK_TIMEOUT": "1s"}).warnings

    assert warning == "WEBHOOK_TIMEOUT='1s': has no effect without WEBHOOK_URL"


def test_urls_are_told_apart_and_called_once(enough: dict[str, str]) -> None:
    """Commas inside a query separate nothing; the same URL is one target."""
    read = settings.from_env(
        enough | {"WEBHOOK_URL": "HTTP://a/?x=1,2, http://b/ ,http://a/?x=1,2"}
    )

    assert ["http://a/?x=1,2", "http://b/"] == [hook.url for hook in read.webhooks]


HIDDEN = "hunter2"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("WEBHOOK_URL", f"ftp://user:{HIDDEN}@host/"),
        ("WEBHOOK_URL", f"http://user:{HIDDEN}@host:x/"),
        ("WEBHOOK_URL", f"http://user:a/{HIDDEN}@host/"),
        ("WEBHOOK_URL", f"http://user:{HIDDEN}#b@host/"),
        ("WEBHOOK_URL", f"http://host:0/?token={HIDDEN}"),
        ("WEBHOOK_URL", f"user:{HIDDEN}@host"),
        ("VERIFY_URL", f"ftp://user:{HIDDEN}@host/?{HIDDEN}"),
        ("WEBHOOK_HEADERS", f"Authorization {HIDDEN}"),
        ("WEBHOOK_HEADERS", f"X-Key: {HIDDEN}\x07"),
        ("WEBHOOK_BODY", f"{HIDDEN}\udc80"),
    ],
)
def test_no_message_repeats_a_secret(
    enough: dict[str, str], name: str, text: str
) -> None:
    """Errors go to the log, which more people read than the manifest."""
    assert HIDDEN not in problem(enough | {name: text})


@given(st.text(), st.text())
@example(before="1/", after="")
@example(before="@a/", after="")
@example(before="1?", after="#")
def test_a_password_is_never_shown(before: str, after: str) -> None:
    """Whatever is around it, and however the URL is broken by that."""
    url = f"http://user:{before}{HIDDEN}{after}@host/path"

    assert HIDDEN not in settings.redacted(url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://host:80/path", "http://host:80/path"),
        ("https://u:p@host/path?q#f", "https://host/path"),
        ("http+unix://%2Frun%2Fa.sock/x?y", "http+unix://%2Frun%2Fa.sock/x"),
        ("host:80/path?token=x", "host:80/path"),
        ("http://u:a/b@host/", "***"),
    ],
)
def test_redacted_shows_where_and_not_with_what(url: str, shown: str) -> None:
    """Scheme, host and path are enough to know which one is meant."""
    assert shown == settings.redacted(url)


@pytest.mark.parametrize(
    "env",
    [
        {"WEBHOOK_BEARER_TOKEN_FILE": "/t", "WEBHOOK_BASIC_AUTH_FILE": "/b"},
        {"WEBHOOK_BEARER_TOKEN_FILE": "/t", "WEBHOOK_HEADERS": "authorization: x"},
        {"WEBHOOK_BASIC_AUTH_FILE": "/b", "WEBHOOK_URL": "http://u:p@a/"},
        {"WEBHOOK_HEADERS": "Authorization: x", "WEBHOOK_URL": "http://b,http://u@a"},
    ],
)
def test_credentials_come_from_one_place(
    enough: dict[str, str], env: dict[str, str]
) -> None:
    """Of two, one would win silently."""
    text = problem(enough | {"WEBHOOK_URL": "http://a/"} | env)

    assert "credentials are also in" in text


@pytest.mark.parametrize(
    "name", ["WEBHOOK_BEARER_TOKEN_FILE", "WEBHOOK_BASIC_AUTH_FILE", "DIGEST_KEY_FILE"]
)
def test_a_file_that_is_read_later_may_be_missing_now(
    enough: dict[str, str], tmp_path: Path, name: str
) -> None:
    """Another container may still have to write it."""
    file = tmp_path / "later"
    env = enough | {"WEBHOOK_URL": "http://a/", name: str(file)}
    (warning,) = settings.from_env(env).warnings

    assert warning.startswith(f"{name}='{file}': can't be read")
    assert "not an absolute path" in problem(env | {name: "later"})


def test_a_certificate_may_hold_its_key(enough: dict[str, str], pem: Path) -> None:
    """cert-manager and others write both into one file on request."""
    env = enough | {
        "WEBHOOK_URL": "https://a/",
        "WEBHOOK_CERT_FILE": str(pem / "both.pem"),
    }

    assert () == settings.from_env(env).warnings


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"CA": "none"}, "WEBHOOK_CA_FILE='{pem}/none': can't be read by uid"),
        ({"CA": "."}, "WEBHOOK_CA_FILE='{pem}/.': not a regular file"),
        ({"CA": "text.pem"}, "WEBHOOK_CA_FILE='{pem}/text.pem': not a CA file"),
        ({"CERT": "cert.pem"}, "WEBHOOK_CERT_FILE='{pem}/cert.pem': not a certificate"),
        (
            {"CERT": "text.pem"},
            "WEBHOOK_CERT_FILE='{pem}/text.pem': not a certificate with its key (there"
            " is no PEM in it); accepted: PEM",
        ),
        ({"KEY": "key.pem"}, "WEBHOOK_KEY_FILE='{pem}/key.pem': a key without"),
        (
            {"CERT": "cert.pem", "KEY": "other-key.pem"},
            "WEBHOOK_CERT_FILE='{pem}/cert.pem': not a certificate with its key (KEY_",
        ),
        (
            {"CERT": "cert.pem", "KEY": "none"},
            "WEBHOOK_KEY_FILE='{pem}/none': can't be read by uid",
        ),
    ],
)
def test_unusable_tls_files_are_errors_at_start(
    enough: dict[str, str], pem: Path, files: dict[str, str], said: str
) -> None:
    """Without them no request can succeed, however often it is tried."""
    env = {f"WEBHOOK_{name}_FILE": f"{pem}/{file}" for name, file in files.items()}
    text = problem(enough | {"WEBHOOK_URL": "https://a/"} | env)

    assert text.startswith(said.format(pem=pem))


def test_an_encrypted_key_asks_nobody_for_its_password(
    enough: dict[str, str], pem: Path
) -> None:
    """OpenSSL would ask the terminal and wait for ever."""
    file = str(pem / "encrypted.pem")
    env = {"WEBHOOK_URL": "https://a/", "WEBHOOK_CERT_FILE": file}

    assert "the unencrypted key" in problem(enough | env)


def test_a_pipe_as_certificate_does_not_block(
    enough: dict[str, str], tmp_path: Path
) -> None:
    """To open one waits for a writer, which may never come."""
    os.mkfifo(tmp_path / "pipe")
    env = {"WEBHOOK_URL": "https://a/", "WEBHOOK_CA_FILE": str(tmp_path / "pipe")}

    assert "not a regular file" in problem(enough | env)


@pytest.mark.parametrize(
    "env",
    [
        {"WEBHOOK_URL": "http://a/"},
        {"WEBHOOK_URL": "https://a/", "WEBHOOK_TLS_VERIFY": "false"},
    ],
)
def test_a_ca_that_nobody_asks_is_suspicious(
    enough: dict[str, str], pem: Path, env: dict[str, str]
) -> None:
    """Somebody believes that the server is checked against it."""
    read = settings.from_env(enough | env | {"WEBHOOK_CA_FILE": str(pem / "ca.pem")})
    (warning,) = read.warnings

    assert "has no effect" in warning


def test_each_problem_of_a_verification_is_said_once(enough: dict[str, str]) -> None:
    """That there is no URL is one of them, whatever else is wrong."""
    wrong = {"VERIFY_STATUS": "9999", "VERIFY_BODY": "(", "VERIFY_CHANGES": "("}
    with pytest.raises(SettingsError) as caught:
        settings.from_env(enough | wrong)

    assert ["VERIFY_URL", *wrong] == [
        re.split("[ =]", said)[0] for said in caught.value.problems
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [("VERIFY_STATUS", "204"), ("VERIFY_BODY", "ok"), ("VERIFY_CHANGES", "t (.)")],
)
def test_verification_needs_a_url(enough: dict[str, str], name: str, text: str) -> None:
    """Otherwise everything would count as verified."""
    said = problem(enough | {name: text})

    assert said.startswith("VERIFY_URL is not set: ")
    assert name in said


def test_retrying_from_above_its_maximum_is_suspicious(
    enough: dict[str, str],
) -> None:
    """It works, though hardly as meant."""
    (warning,) = settings.from_env(enough | {"RETRY_INITIAL": "2m"}).warnings

    assert "longer than RETRY_MAX='60s'" in warning


def test_the_state_may_not_lie_in_a_volume(
    enough: dict[str, str], tmp_path: Path
) -> None:
    """Each write would be a change, and each change a write."""
    assert "a directory of its own" in problem(
        enough | {"STATE_DIR": f"{tmp_path}/state"}
    )


@pytest.mark.parametrize("path", ["/nowhere/state", "/etc/passwd", "/" + "a" * 300])
def test_a_state_that_cannot_be_written_is_suspicious(
    enough: dict[str, str], path: str
) -> None:
    """Only a restart loses something by it."""
    (warning,) = settings.from_env(enough | {"STATE_DIR": path}).warnings

    assert "would not survive a restart" in warning


IN_A_POD = {
    "POD_NAME": "web-7",
    "POD_NAMESPACE": "site",
    "POD_UID": "1b4e28ba",
    "POD_ROLLOUT": "",
    "KUBERNETES_SERVICE_HOST": "10.96.0.1",
    "KUBERNETES_SERVICE_PORT": "443",
}


def test_a_workload_is_rolled_from_within_one_of_its_pods(
    enough: dict[str, str],
) -> None:
    """Which rollout made this pod decides whether it may start the next."""
    env = enough | IN_A_POD | {"ROLLOUT": "statefulset/web", "POD_ROLLOUT": "abc.3"}
    found = settings.from_env(env)

    assert (
        RolloutSettings(
            kind="statefulset", name="web", namespace="site", own="abc.3", ordinal=7
        )
        == found.rollout
    )
    assert ClusterSettings(url="https://10.96.0.1:443") == found.cluster


def test_the_api_server_may_have_an_ipv6_address(enough: dict[str, str]) -> None:
    """KUBERNETES_SERVICE_HOST holds it without brackets."""
    env = enough | IN_A_POD | {"EVENTS": "on", "KUBERNETES_SERVICE_HOST": "fd00::1"}

    assert ClusterSettings(url="https://[fd00::1]:443") == (
        settings.from_env(env).cluster
    )


@pytest.mark.parametrize(
    ("chosen", "missing"),
    [
        ({"ROLLOUT": "deployment/web"}, ["POD_NAMESPACE", "POD_ROLLOUT"]),
        ({"EVENTS": "true"}, ["POD_NAME", "POD_NAMESPACE", "POD_UID"]),
    ],
)
def test_what_a_pod_must_be_told_of_itself_is_asked_for(
    enough: dict[str, str], chosen: dict[str, str], missing: list[str]
) -> None:
    """Without it the first rollout would never end, or nobody would see the events."""
    found = problems(enough | {"KUBERNETES_SERVICE_HOST": "10.96.0.1"} | chosen)

    assert missing == [text.partition(" ")[0] for text in found]
    assert all("downward API, fieldPath: metadata." in text for text in found)


def test_an_empty_annotation_is_a_pod_that_no_rollout_of_ours_made(
    enough: dict[str, str],
) -> None:
    """The downward API shows an annotation that is not there as an empty text."""
    found = settings.from_env(enough | IN_A_POD | {"ROLLOUT": "deployment/web"}).rollout

    assert found
    assert found.own is None


def test_outside_of_a_pod_there_is_nothing_to_roll(enough: dict[str, str]) -> None:
    """The kubelet names the API server to every container."""
    env = enough | IN_A_POD | {"ROLLOUT": "deployment/web"}
    env["KUBERNETES_SERVICE_HOST"] = ""

    assert "KUBERNETES_SERVICE_HOST is not set" in problem(env)


def test_a_rollout_at_every_start_is_refused(enough: dict[str, str]) -> None:
    """Every new pod would start the next one, for ever."""
    env = enough | IN_A_POD | {"ROLLOUT": "deployment/web", "CATCH_UP": "Always"}

    assert "every new pod would start the next rollout" in problem(env)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("WATCH_DIR", "WATCH_DIRS"),
        ("watch_dirs", "WATCH_DIRS"),
        ("WEBOOK_URL", "WEBHOOK_URL"),
        ("WEBHOOK_URLS", "WEBHOOK_URL"),
        ("WEBHOOK_HEADER", "WEBHOOK_HEADERS"),
        ("DEBOUNCE_MS", "DEBOUNCE_MAX"),
        ("DEBOUNCE_SECONDS", "DEBOUNCE"),
        ("DEBUNCE", "DEBOUNCE"),
        ("PROCES_NAME", "PROCESS_NAME"),
        ("RELOAD_SIGNALS", "RELOAD_SIGNAL"),
        ("PIDFILE", "PID_FILE"),
        ("LOGLEVEL", "LOG_LEVEL"),
        ("CONFIG_DIRS", "CONFIG_DIR"),
    ],
)
def test_a_misspelt_name_gets_the_nearest(name: str, nearest: str) -> None:
    """Otherwise it would have no effect and nobody would know."""
    (warning,) = misspelt({name: "x"})

    assert warning.startswith(f"{name} is no variable of this program")
    assert warning.endswith(f"the nearest one is {nearest}")


def test_misspelt_names_arrive_as_warnings(enough: dict[str, str]) -> None:
    """They stop nobody."""
    (warning,) = settings.from_env(enough | {"DEBUNCE": "1s"}).warnings

    assert "DEBOUNCE" in warning


OTHERS = """
PATH HOME HOSTNAME PWD OLDPWD SHLVL TERM LANG LC_ALL LANGUAGE TZ USER LOGNAME SHELL MAIL
TMPDIR HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy SSL_CERT_FILE
SSL_CERT_DIR GPG_KEY PYTHON_VERSION PYTHON_SHA256
PYTHONUNBUFFERED
PYTHONDONTWRITEBYTECODE
PYTHONPATH PIP_INDEX_URL VIRTUAL_ENV LD_LIBRARY_PATH DEBIAN_FRONTEND XDG_STATE_HOME
XDG_RUNTIME_DIR STATE_DIRECTORY NODE_NAME NODE_IP HOST_IP POD_IP POD_IPS MY_POD_NAME
MY_POD_NAMESPACE NAMESPACE SERVICE_ACCOUNT CLUSTER_NAME LOG_FILE LOG_DIR LOG_PATH
LOG_COLOR
CONFIG_FILE CONFIG_PATH CONFIG_MAP PORT HTTP_PORT HTTP_HOST LISTEN_PORT LISTEN_ADDR
DATABASE_URL REDIS_URL AWS_REGION AWS_WEB_IDENTITY_TOKEN_FILE AZURE_TENANT_ID
GOOGLE_APPLICATION_CREDENTIALS OTEL_SERVICE_NAME OTEL_EXPORTER_OTLP_ENDPOINT GOMAXPROCS
GOMEMLIMIT JAVA_HOME JAVA_OPTS NGINX_VERSION PKG_RELEASE PGDATA POSTGRES_PASSWORD
POSTGRES_USER TINI_VERSION S6_OVERLAY_VERSION DOTNET_RUNNING_IN_CONTAINER container
RETRY_COUNT MAX_RETRIES TIMEOUT WATCH_NAMESPACE WEBHOOK_SECRET PROCESS_TYPE EVENT_BUS
SHUTDOWN_GRACE APP_ENV ENVIRONMENT DEBUG VERBOSE
KUBERNETES_SERVICE_HOST KUBERNETES_SERVICE_PORT KUBERNETES_SERVICE_PORT_HTTPS
KUBERNETES_PORT KUBERNETES_PORT_443_TCP KUBERNETES_PORT_443_TCP_PROTO
KUBERNETES_PORT_443_TCP_PORT KUBERNETES_PORT_443_TCP_ADDR REDIS_SERVICE_HOST
REDIS_SERVICE_PORT REDIS_PORT REDIS_PORT_6379_TCP REDIS_PORT_6379_TCP_ADDR
REDIS_PORT_6379_TCP_PORT REDIS_PORT_6379_TCP_PROTO WEBHOOK_SERVICE_HOST WEBHOOK_PORT
WEBHOOK_SERVICE_PORT WEBHOOK_SERVICE_PORT_HTTPS WEBHOOK_PORT_443_TCP_ADDR WATCH_PORT
EVENTS_SERVICE_HOST EVENTS_PORT PRESET_SERVICE_HOST
""".split()  # noqa: SIM905 - a hundred quotation marks would hide the names


@pytest.mark.parametrize("name", OTHERS)
def test_other_peoples_variables_are_left_alone(name: str) -> None:
    """A warning that is usually wrong is soon read by nobody."""
    assert [] == misspelt({name: "x"})


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (1, "SIGHUP"),
        (9, "SIGKILL"),
        (signal.SIGRTMIN, "SIGRTMIN"),
        (signal.SIGRTMIN + 1, "SIGRTMIN+1"),
        (signal.SIGRTMAX, "SIGRTMAX"),
        (99, "99"),
    ],
)
def test_signals_have_names(number: int, name: str) -> None:
    """What kill(1) takes; real-time signals count from the first."""
    assert name == settings.signal_name(number)


def test_terminating_signals_are_numbers_too() -> None:
    """Settings hold numbers, so they must be found among the names."""
    assert {2, 3, 9, 15} == settings.TERMINATING


TYPICAL = st.sampled_from(
    [
        *("/", "/etc", "/etc/passwd", "*", "1s", "0", "9", "root", "true", "(a)"),
        *("http://a/", "https://u:p@[::1]:1/?a,http://b", "A: b", "200-299", "nginx"),
        *("http+unix://%2Fs/", "/\udc80", "/\ud800", "\0", "a,b", "[", "", "json"),
        *("HUP", "off", "-1", "deployment/a", "127.0.0.1:1", "first-fresh", "debug"),
    ]
)
ANYTHING = st.text(st.characters(), max_size=20)


TEXTS = TYPICAL | ANYTHING | st.builds("{}{}".format, TYPICAL, ANYTHING)
NAMES = [*VARIABLES, "CONFIG_DIR", "WEBOOK_URL"]


def messages(env: dict[str, str]) -> list[str]:
    """Return what is said about an environment, whether it is taken or not."""
    try:
        read = settings.from_env(env)
    except SettingsError as error:
        return error.problems
    assert read.process or read.webhooks
    return list(read.warnings)


@tuned(suppress_health_check=[HealthCheck.too_slow])
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES, TEXTS)))
def test_any_environment_gives_settings_or_a_settings_error(
    env: dict[str, str],
) -> None:
    """A traceback tells an operator nothing, and the exit status would be wrong."""
    # a log or a terminal must be able to take it, on one line
    said = messages(env)

    assert all(text.isprintable() for text in said)


@given(st.sampled_from(NAMES), TEXTS)
def test_any_value_of_one_variable_gives_settings_or_a_settings_error(
    name: str, text: str
) -> None:
    """The same where everything else is right, so that the end is reached."""
    enough = {"WATCH_DIRS": "/etc", "PROCESS_NAME": "nginx"}
    webhook = {"WEBHOOK_URL": "https://a/", "VERIFY_URL": "http://a/"}

    assert all(line.isprintable() for line in messages(enough | webhook | {name: text}))


def test_readme_shows_every_variable_with_its_default() -> None:
    """README is what users rely on, and it ages."""
    section = README.read_text().split("\n## Settings\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([A-Z][A-Z_]+)` \| (.+?) \|", section, re.MULTILINE)

    assert [
        (name, default if default in WORDS else f"`{default}`")
        for name, default in VARIABLES.items()
    ] == rows
