"""The environment, read once at the entry and never again.

`from_env` returns one frozen `Settings`, or everything that is wrong. Which variables
there are is in `variables`, what a text means in `values`, what is known about programs
in `presets`; here is what the variables mean together.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from . import values
from .errors import SettingsError
from .presets import SELECTORS
from .values import TERMINATING as TERMINATING
from .variables import (
    VARIABLES as VARIABLES,
    Reader,
    misspelt,
    redacted as redacted,
)

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where every client in a pod looks for the token and the cluster's CA."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchSettings:
    """What is watched and when it counts as settled. Durations are in seconds."""

    dirs: tuple[Path, ...]
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    debounce: float = 0.2
    debounce_max: float = 5.0
    poll_interval: float = 30.0
    """0 means no safety poll."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSettings:
    """Which processes get which signal. Every selector that is set must match."""

    names: tuple[str, ...] = ()
    cmdline: re.Pattern[str] | None = None
    container: str | None = None
    pid_file: Path | None = None
    select: Literal["root", "all"] = "root"
    signal: int = 1
    """The signal's number."""

    guard: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """How a server is trusted and what we show it."""

    verify: bool = True
    ca_file: Path | None = None
    ca_name: str = "WEBHOOK_CA_FILE"
    """What a message calls it."""

    strict: bool = True
    """Whether a CA must be written as RFC 5280 asks, where Python checks that."""

    cert_file: Path | None = None
    key_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSettings:
    """One HTTP request, as a webhook sends it. Durations are in seconds."""

    url: str
    method: str = "POST"
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    """Sent as is; `json` sends the change."""

    bearer_token_file: Path | None = None
    bearer_name: str = "WEBHOOK_BEARER_TOKEN_FILE"
    """What a message calls it."""

    basic_auth_file: Path | None = None
    tls: TlsSettings = field(default_factory=TlsSettings)
    expect_status: tuple[range, ...] = (range(200, 300),)
    timeout: float = 10.0
    """For one whole request."""

    direct: bool = False
    """Never through a proxy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifySettings:
    """What must hold after the targets were told. Durations are in seconds."""

    alive: float = 1.0
    url: str | None = None
    status: tuple[range, ...] = (range(200, 300),)
    body: re.Pattern[str] | None = None
    changes: re.Pattern[str] | None = None
    timeout: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySettings:
    """When a target is told, and told again. Durations are in seconds."""

    initial: float = 1.0
    maximum: float = 60.0
    min_interval: float = 0.0
    jitter: float = 0.0
    catch_up: Literal["auto", "always", "never"] = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """Where the endpoints listen and when they say ready."""

    listen: tuple[str, int] | None = ("", 9533)
    """Host and port; an empty host is every address, None is no endpoints."""

    ready_when: Literal["watching", "first-fresh"] = "watching"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """How much is logged and in which shape."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSettings:
    """Who we are, from the downward API."""

    name: str | None = None
    namespace: str | None = None
    uid: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """Where the API server is, and what this pod shows and trusts there."""

    url: str
    token_file: Path = _SERVICE_ACCOUNT / "token"
    ca_file: Path = _SERVICE_ACCOUNT / "ca.crt"


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutSettings:
    """Which workload is rolled, and which of its rollouts made this pod."""

    kind: Literal["deployment", "statefulset", "daemonset"]
    name: str
    namespace: str
    own: str | None
    """The annotation of the template that this pod was made from."""

    ordinal: int | None = None
    """This pod's number, if it is a StatefulSet's and its name is known."""

    @property
    def title(self) -> str:
        """The workload as kubectl takes it."""
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything an operator can choose, split by who needs it."""

    watch: WatchSettings
    process: ProcessSettings | None = None
    webhooks: tuple[RequestSettings, ...] = ()
    verify: VerifySettings = field(default_factory=VerifySettings)
    retry: RetrySettings = field(default_factory=RetrySettings)
    http: HttpSettings = field(default_factory=HttpSettings)
    log: LogSettings = field(default_factory=LogSettings)
    pod: PodSettings = field(default_factory=PodSettings)
    rollout: RolloutSettings | None = None
    events: bool = False
    cluster: ClusterSettings | None = None
    """There if `rollout` or `events` needs it."""

    state_dir: Path | None = None
    digest_key_file: Path | None = None
    shutdown_timeout: float = 5.0
    warnings: tuple[str, ...] = ()
    """What is suspicious but not wrong: misspelt names, settings without effect."""


def from_env(env: Mapping[str, str]) -> Settings:
    """Read the settings, or say everything that is wrong with them at once.

    Raises:
        SettingsError: with at least one problem per wrong variable, in README's order.
    """
    reader = Reader(env)
    watch = _watch(reader)
    process = _process(reader)
    webhooks = _webhooks(reader)
    verify = _verify(reader)
    retry = _retry(reader)
    http = HttpSettings(
        listen=reader.value("HTTP_LISTEN", values.listen_address),
        ready_when=reader.value("READY_WHEN", values.one_of("watching", "first-fresh")),
    )
    log = LogSettings(
        level=reader.value(
            "LOG_LEVEL", values.one_of("debug", "info", "warning", "error")
        ),
        format=reader.value("LOG_FORMAT", values.one_of("auto", "json", "console")),
    )
    pod = PodSettings(
        name=reader.optional("POD_NAME", values.subdomain),
        namespace=reader.optional("POD_NAMESPACE", values.label),
        uid=reader.optional("POD_UID", values.word),
    )
    state_dir = _state_dir(reader, watch.dirs)
    digest_key_file = _readable_later(reader, "DIGEST_KEY_FILE")
    shutdown_timeout = reader.value("SHUTDOWN_TIMEOUT", values.duration_or_zero)
    events = reader.value("EVENTS", values.boolean)
    if events:
        _require_pod(reader, "EVENTS", *POD_FIELDS)
    rollout = _rollout(reader, env, pod)
    user = "ROLLOUT" if rollout else "EVENTS"
    cluster = _cluster(reader, env, user) if rollout or events else None
    _require_a_target(reader)
    reader.warnings += misspelt(env)
    if reader.problems:
        raise SettingsError(reader.problems)
    return Settings(
        watch=watch,
        process=process,
        webhooks=webhooks,
        verify=verify,
        retry=retry,
        http=http,
        log=log,
        pod=pod,
        rollout=rollout,
        events=events,
        cluster=cluster,
        state_dir=state_dir,
        digest_key_file=digest_key_file,
        shutdown_timeout=shutdown_timeout,
        warnings=tuple(reader.warnings),
    )


def signal_name(number: int) -> str:
    """Name a signal as kill(1) does: `SIGHUP`, `SIGRTMIN+1`; a number if unknown."""
    if signal.SIGRTMIN < number < signal.SIGRTMAX:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def _watch(reader: Reader) -> WatchSettings:
    debounce = reader.value("DEBOUNCE", values.duration_or_zero)
    debounce_max = reader.value("DEBOUNCE_MAX", values.duration_or_zero)
    if debounce > debounce_max:
        reader.wrong(
            "DEBOUNCE",
            f"longer than {reader.shown('DEBOUNCE_MAX')}; lower it, or raise that",
        )
    return WatchSettings(
        dirs=_directories(reader),
        include=reader.value("WATCH_INCLUDE", values.globs),
        exclude=reader.optional("WATCH_EXCLUDE", values.globs) or (),
        debounce=debounce,
        debounce_max=debounce_max,
        poll_interval=reader.value("POLL_INTERVAL", values.duration_or_zero),
    )


def _directories(reader: Reader) -> tuple[Path, ...]:
    if not reader.given("WATCH_DIRS"):
        reader.missing(
            "WATCH_DIRS", "set it to the directories where the volumes are mounted"
        )
    dirs: dict[Path, str] = {}
    for text in reader.optional("WATCH_DIRS", values.items) or ():
        try:
            path = values.directory_path(text)
            _require_directory(path)
        except ValueError as error:
            reader.wrong("WATCH_DIRS", str(error), text)
        else:
            dirs.setdefault(path, text)
    for path, text in dirs.items():
        if not _allowed(path, os.R_OK | os.X_OK):
            reader.suspicious(
                "WATCH_DIRS",
                f"uid {os.geteuid()} may not read it yet; set fsGroup or defaultMode",
                text,
            )
        for other in dirs.keys() & set(path.parents):
            reader.suspicious(
                "WATCH_DIRS",
                f"lies inside {str(other)!r}, which is watched too: if that is no "
                "mounted volume itself, a change here counts for both",
                text,
            )
    return tuple(dirs)


def _require_directory(path: Path) -> None:
    mend = "accepted: a directory that is mounted in this container"
    try:
        if path.is_dir():
            return
        # is_dir says no for all these reasons; stat says which
        path.stat()
    except FileNotFoundError as error:
        raise ValueError(f"does not exist; {mend}, see volumeMounts") from error
    except OSError as error:
        raise ValueError(f"can't be looked at: {error.strerror}; {mend}") from error
    raise ValueError(
        f"not a directory; {mend} as a whole (a single file mounted by subPath never "
        "changes while the container runs)"
    )


def _process(reader: Reader) -> ProcessSettings | None:
    process = ProcessSettings(
        names=reader.optional("PROCESS_NAME", values.process_names) or (),
        cmdline=reader.optional("PROCESS_CMDLINE", values.pattern),
        container=reader.optional("PROCESS_CONTAINER", values.label),
        pid_file=reader.optional("PID_FILE", values.absolute_path),
        select=reader.value("PROCESS_SELECT", values.one_of("root", "all")),
        signal=reader.value("RELOAD_SIGNAL", values.signal_number),
        guard=reader.value("SIGNAL_GUARD", values.boolean),
    )
    if reader.given(*SELECTORS):
        return process
    for name in reader.given("PROCESS_SELECT", "RELOAD_SIGNAL", "SIGNAL_GUARD"):
        reader.suspicious(name, f"has no effect without one of {', '.join(SELECTORS)}")
    return None


def _webhooks(reader: Reader) -> tuple[RequestSettings, ...]:
    urls = _webhook_urls(reader)
    headers = reader.optional("WEBHOOK_HEADERS", values.headers) or ()
    token_file = _readable_later(reader, "WEBHOOK_BEARER_TOKEN_FILE")
    user_file = _readable_later(reader, "WEBHOOK_BASIC_AUTH_FILE")
    _require_one_authorization(reader, urls, headers)
    tls = _tls(reader, urls)
    method = reader.value("WEBHOOK_METHOD", values.method)
    body = reader.optional("WEBHOOK_BODY", str) or ""
    expect_status = reader.value("WEBHOOK_EXPECT_STATUS", values.statuses)
    timeout = reader.value("WEBHOOK_TIMEOUT", values.duration)
    if not reader.given("WEBHOOK_URL"):
        for name in VARIABLES:
            if name.startswith("WEBHOOK_") and reader.given(name):
                reader.suspicious(name, "has no effect without WEBHOOK_URL")
    return tuple(
        RequestSettings(
            url=url,
            method=method,
            headers=headers,
            body=body,
            bearer_token_file=token_file,
            basic_auth_file=user_file,
            tls=tls,
            expect_status=expect_status,
            timeout=timeout,
        )
        for url in urls
    )


def _webhook_urls(reader: Reader) -> tuple[str, ...]:
    urls: dict[str, None] = {}
    for text in reader.optional("WEBHOOK_URL", values.separate_urls) or ():
        try:
            urls[values.url(text)] = None
        except ValueError as error:
            reader.wrong("WEBHOOK_URL", str(error), text)
    return tuple(urls)


def _require_one_authorization(
    reader: Reader, urls: tuple[str, ...], headers: tuple[tuple[str, str], ...]
) -> None:
    """Of several, one would win silently, and the operator might bet on another."""
    ways = reader.given("WEBHOOK_BEARER_TOKEN_FILE", "WEBHOOK_BASIC_AUTH_FILE")
    if any(name.lower() == "authorization" for name, _ in headers):
        ways.append("WEBHOOK_HEADERS")
    if any(values.has_credentials(url) for url in urls):
        ways.append("WEBHOOK_URL")
    if len(ways) > 1:
        reader.wrong(
            ways[0],
            f"credentials are also in {' and '.join(ways[1:])}; accepted: one of a "
            "token file, a basic auth file, an Authorization header, user:password@ "
            "in a URL",
        )


def _tls(reader: Reader, urls: tuple[str, ...]) -> TlsSettings:
    tls = TlsSettings(
        verify=reader.value("WEBHOOK_TLS_VERIFY", values.boolean),
        ca_file=reader.optional("WEBHOOK_CA_FILE", _readable_now),
        cert_file=reader.optional("WEBHOOK_CERT_FILE", _readable_now),
        key_file=reader.optional("WEBHOOK_KEY_FILE", _readable_now),
    )
    if reader.given("WEBHOOK_KEY_FILE") and not reader.given("WEBHOOK_CERT_FILE"):
        reader.wrong(
            "WEBHOOK_KEY_FILE",
            "a key without its certificate; set WEBHOOK_CERT_FILE too",
        )
    if tls.ca_file is not None or tls.cert_file is not None:
        _require_parsable(reader, tls)
    if tls.ca_file is not None and not tls.verify:
        reader.suspicious(
            "WEBHOOK_CA_FILE", "has no effect with WEBHOOK_TLS_VERIFY=false"
        )
    if urls and not any(url.startswith("https:") for url in urls):
        for name in reader.given(
            "WEBHOOK_CA_FILE", "WEBHOOK_CERT_FILE", "WEBHOOK_KEY_FILE"
        ):
            reader.suspicious(name, "has no effect: no URL of WEBHOOK_URL is https")
    return tls


def _require_parsable(reader: Reader, tls: TlsSettings) -> None:
    # ssl takes memory, and only a webhook over TLS needs it
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if tls.ca_file is not None:
        try:
            context.load_verify_locations(cafile=tls.ca_file)
        except OSError as error:
            reader.wrong(
                "WEBHOOK_CA_FILE",
                f"not a CA file ({_reason(error)}); accepted: CA certificates in PEM",
            )
    key_is_usable = tls.key_file is not None or not reader.given("WEBHOOK_KEY_FILE")
    if tls.cert_file is not None and key_is_usable:
        try:
            # without a password OpenSSL would ask the terminal for it
            context.load_cert_chain(tls.cert_file, tls.key_file, password="")
        except OSError as error:
            reader.wrong(
                "WEBHOOK_CERT_FILE",
                f"not a certificate with its key ({_reason(error)}); accepted: PEM, "
                "the unencrypted key in WEBHOOK_KEY_FILE or in the same file",
            )


def _reason(error: OSError) -> str:
    """Say what is wrong with a TLS file; OpenSSL itself would name a line of C."""
    if hasattr(error, "reason"):  # an ssl.SSLError; None where it found nothing at all
        return str(error.reason or "there is no PEM in it")
    return error.strerror or str(error)


def _readable_now(text: str) -> Path:
    path = values.absolute_path(text)
    mend = "accepted: a file that is mounted in this container and readable"
    try:
        # asked first, because to open a pipe would wait for whoever writes it
        if not path.is_file():
            path.stat()
            raise ValueError(f"not a regular file; {mend}")
        with path.open("rb"):
            return path
    except OSError as error:
        raise ValueError(
            f"can't be read by uid {os.geteuid()}: {error.strerror}; {mend}"
        ) from error


def _readable_later(reader: Reader, name: str) -> Path | None:
    """Take a file that is read when it is needed: it may still be to come."""
    path = reader.optional(name, values.absolute_path)
    if path is not None and not _allowed(path, os.R_OK):
        reader.suspicious(
            name, f"can't be read by uid {os.geteuid()} yet; mount it or set fsGroup"
        )
    return path


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _allowed(path: Path, how: int) -> bool:
    return os.access(path, how, effective_ids=True)


def _verify(reader: Reader) -> VerifySettings:
    verify = VerifySettings(
        alive=reader.value("VERIFY_ALIVE", values.duration_or_zero),
        url=reader.optional("VERIFY_URL", values.url),
        status=reader.value("VERIFY_STATUS", values.statuses),
        body=reader.optional("VERIFY_BODY", values.pattern),
        changes=reader.optional("VERIFY_CHANGES", values.pattern_with_one_group),
        timeout=reader.value("VERIFY_TIMEOUT", values.duration),
    )
    idle = reader.given("VERIFY_STATUS", "VERIFY_BODY", "VERIFY_CHANGES")
    if idle and not reader.given("VERIFY_URL"):
        what = f"nothing to look at for {', '.join(idle)}; set it, or remove them"
        reader.missing("VERIFY_URL", what)
    return verify


def _retry(reader: Reader) -> RetrySettings:
    retry = RetrySettings(
        initial=reader.value("RETRY_INITIAL", values.duration),
        maximum=reader.value("RETRY_MAX", values.duration),
        min_interval=reader.value("RELOAD_MIN_INTERVAL", values.duration_or_zero),
        jitter=reader.value("RELOAD_JITTER", values.duration_or_zero),
        catch_up=reader.value("CATCH_UP", values.one_of("auto", "always", "never")),
    )
    if retry.initial > retry.maximum:
        reader.suspicious(
            "RETRY_INITIAL",
            f"longer than {reader.shown('RETRY_MAX')}, which limits the first wait too",
        )
    return retry


def _state_dir(reader: Reader, dirs: tuple[Path, ...]) -> Path | None:
    path = reader.optional("STATE_DIR", values.absolute_path)
    if path is None:
        return None
    if any(watched in (path, *path.parents) for watched in dirs):
        reader.wrong(
            "STATE_DIR",
            "lies in a directory of WATCH_DIRS, so that writing it would count as a "
            "change; accepted: a directory of its own, an emptyDir",
        )
    elif not (_is_directory(path) and _allowed(path, os.W_OK | os.X_OK)):
        reader.suspicious(
            "STATE_DIR",
            f"not a directory that uid {os.geteuid()} may write: what is established "
            "would not survive a restart; mount an emptyDir there",
        )
    return path


POD_FIELDS: Mapping[str, str] = {
    "POD_NAME": "metadata.name",
    "POD_NAMESPACE": "metadata.namespace",
    "POD_UID": "metadata.uid",
}
"""The variables that tell who we are, and the field of the pod that each shows."""


def _require_pod(reader: Reader, wanted_by: str, *names: str) -> None:
    for name in names:
        if not reader.given(name):
            field_path = f"fieldPath: {POD_FIELDS[name]}"
            reader.missing(
                name,
                f"{wanted_by} needs it; take it from the downward API, {field_path}",
            )


def _rollout(
    reader: Reader, env: Mapping[str, str], pod: PodSettings
) -> RolloutSettings | None:
    workload = reader.optional("ROLLOUT", values.workload)
    if workload is None:
        return None
    _require_pod(reader, "ROLLOUT", "POD_NAMESPACE")
    # empty is a pod that no rollout of ours made, and not set is a forgotten line
    if "POD_ROLLOUT" not in env:
        from .rollout import ANNOTATION  # nobody else needs it

        reader.missing(
            "POD_ROLLOUT",
            "ROLLOUT needs it; take it from the downward API,"
            f" fieldPath: metadata.annotations['{ANNOTATION}']",
        )
    if (reader.optional("CATCH_UP", str) or "").lower() == "always":
        reader.wrong(
            "CATCH_UP",
            "every new pod would start the next rollout; remove it, or ROLLOUT",
        )
    kind, name = workload
    ordinal = re.fullmatch(rf"{re.escape(name)}-([0-9]{{1,9}})", pod.name or "")
    return RolloutSettings(
        kind=kind,
        name=name,
        namespace=pod.namespace or "",
        own=reader.optional("POD_ROLLOUT", str),
        ordinal=int(ordinal[1]) if ordinal and kind == "statefulset" else None,
    )


def _cluster(reader: Reader, env: Mapping[str, str], user: str) -> ClusterSettings:
    """Find the API server by the kubelet's variables, as every program in a pod."""
    host = env.get("KUBERNETES_SERVICE_HOST", "").strip()
    port = env.get("KUBERNETES_SERVICE_PORT", "").strip() or "443"
    if not host:
        reader.wrong(
            user,
            "there is no API server to talk to: KUBERNETES_SERVICE_HOST is not set,"
            " as the kubelet sets it in every container; run in a pod, or remove this",
        )
    cluster = ClusterSettings(
        url=f"https://{f'[{host}]' if ':' in host else host}:{port}"
    )
    if not _allowed(cluster.token_file, os.R_OK):
        reader.suspicious(
            user,
            f"{cluster.token_file} can't be read yet; mount a projected volume with a"
            " serviceAccountToken and ConfigMap kube-root-ca.crt there",
        )
    return cluster


def _require_a_target(reader: Reader) -> None:
    # what was given and is wrong has its own message
    if not reader.given(*SELECTORS, "WEBHOOK_URL", "ROLLOUT", "PRESET"):
        reader.missing(
            "PROCESS_NAME",
            "there is nobody to tell; set PRESET to a known program, or "
            f"{', '.join(SELECTORS)} to signal a process, or WEBHOOK_URL to call it",
        )
