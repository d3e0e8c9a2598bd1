"""Looks at the environment that the sidecar runs in, and says what is wrong with it.

`check` prints everything; the running sidecar logs at its start what is wrong and will
stay so. The rest it finds out, and tells, while it works.
"""

from __future__ import annotations

import socket
import ssl
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from inotify_simple import INotify, flags

from . import mounts, proc, processes, volume
from .errors import ReloadError, VolumeError
from .findings import Finding
from .processes import Found, Match, Me
from .selection import Selection
from .settings import (
    TERMINATING,
    ClusterSettings,
    ProcessSettings,
    RequestSettings,
    RolloutSettings,
    Settings,
    redacted,
    signal_name,
)
from .signalling import guard, permitted, refused

_CONNECT_TIMEOUT = 3.0
_LIMITS = ("max_user_instances", "max_user_watches")


def look(settings: Settings) -> Iterator[Finding]:
    """Look at everything in the pod, without a word to anybody."""
    yield from lasting(settings)
    yield from _volumes(settings)
    if settings.process:
        yield from _processes(settings.process, settings.pod.uid)
    yield from _inotify(settings)
    yield from _state(settings)


def lasting(settings: Settings) -> Iterator[Finding]:
    """Look for what is wrong and stays so for as long as this container runs."""
    for text in settings.warnings:
        yield Finding("settings-odd", "settings", text)
    mounted = mounts.parse(proc.mountinfo("self"))
    for path in map(str, settings.watch.dirs):
        for mount in mounts.sub_paths(mounted, path):
            yield _sub_path(path, mount.point, "this container")
    if settings.process is None:
        return
    found, me = _find(settings.process, settings.pod.uid)
    if me.alone and not found.matches:
        yield Finding(
            "namespace-own",
            "pod",
            "PID 1 is our own: the process namespace is not shared",
        )
    if settings.process.signal not in TERMINATING:  # what ends has every key anew
        yield from _mounted_by_programs(found)


def _mounted_by_programs(found: Found) -> Iterator[Finding]:
    for match in found.matches:
        mounted = mounts.parse(proc.mountinfo(match.id.pid))
        for mount in mounts.sub_paths(mounted, "/"):
            yield _sub_path(_who(match), mount.point, "its container")


def ask(settings: Settings) -> Iterator[Finding]:
    """Look at what only a connection tells: the webhooks' servers and our own port."""
    for webhook in settings.webhooks:
        yield _webhook(webhook)
    if settings.rollout and settings.cluster:
        yield _workload(settings.rollout, settings.cluster)
    if settings.http.listen:
        yield _port(settings.http.listen)


def _volumes(settings: Settings) -> Iterator[Finding]:
    selection = Selection(settings.watch.include, settings.watch.exclude)
    for path in map(str, settings.watch.dirs):
        try:
            snapshot = volume.read(path, selection)
        except VolumeError as error:
            yield Finding("volume-unreadable", path, error.detail, error.mend)
            continue
        for key in snapshot.unreadable:
            yield Finding("key-unreadable", path, f"{key} can't be read")
        if not snapshot.keys:
            yield Finding("volume-empty", path, "no key is selected")
            continue
        age = max(0.0, time.time() - snapshot.changed)
        what = f"generation {snapshot.generation}" if snapshot.generation else "plain"
        keys = f"{len(snapshot.keys)} keys" if len(snapshot.keys) > 1 else "1 key"
        yield Finding("volume", path, f"{what}, {keys}, changed {age:.0f} s ago")


def _sub_path(subject: str, point: str, where: str) -> Finding:
    return Finding(
        "sub-path",
        subject,
        f"{point} of {where} is mounted by subPath: it changes only when that container"
        " restarts",
    )


def _find(settings: ProcessSettings, pod_uid: str | None) -> tuple[Found, Me]:
    table = processes.read_table()
    me = processes.read_me(table, pod_uid or processes.read_pod_uid())
    return processes.find(settings, table, me, uid_of=processes.read_uid), me


def _who(match: Match) -> str:
    return f"{match.process.comm} (pid {match.id.pid}, uid {match.uid})"


def _processes(settings: ProcessSettings, pod_uid: str | None) -> Iterator[Finding]:
    found, me = _find(settings, pod_uid)
    if me.shared:
        yield Finding("namespace", "pod", "the process namespace is shared")
    if found.problem:
        subject, problem = processes.describe(settings), found.problem
        yield Finding("process-absent", subject, problem.detail, problem.hint)
    for match in found.matches:
        yield _process(settings, match)


def _process(settings: ProcessSettings, match: Match) -> Finding:
    """Say whether a process would be signalled, by the rules that sending follows."""
    process, number, subject = match.process, settings.signal, _who(match)
    us, them = proc.credentials("self"), proc.credentials(process.id.pid)
    if us is None or them is None:
        return Finding("process-absent", subject, "it has just ended", None)
    if not permitted(us, them):
        refusal = refused(process, number, us, them)
        return Finding("signal-refused", subject, refusal.detail, refusal.hint)
    if settings.guard:
        try:
            guard(process, number, them)
        except ReloadError as error:
            return Finding("signal-unhandled", subject, error.detail, error.hint)
    return Finding("process", subject, f"{signal_name(number)} would be sent")


def _webhook(webhook: RequestSettings) -> Finding:
    """Connect, and shake hands for TLS; no request is sent."""
    subject = redacted(webhook.url)
    parts = urlsplit(webhook.url)
    try:
        if parts.scheme == "http+unix":
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(_CONNECT_TIMEOUT)
                connection.connect(unquote(parts.netloc))
        else:
            port = parts.port or (443 if parts.scheme == "https" else 80)
            address = (parts.hostname or "", port)
            with socket.create_connection(address, _CONNECT_TIMEOUT) as connection:
                if parts.scheme == "https":
                    context = _tls(webhook)
                    context.wrap_socket(connection, server_hostname=address[0]).close()
    except OSError as error:
        text = str(error.strerror or error)
        return Finding("webhook-unreachable", subject, text)
    return Finding("webhook", subject, "its server accepts connections")


def _workload(rollout: RolloutSettings, cluster: ClusterSettings) -> Finding:
    """Ask for the workload, which shows nothing of the right to patch it."""
    from .rollout_target import ask  # needs the requests

    answer = ask(rollout, cluster)
    if isinstance(answer, ReloadError):
        return Finding("workload-unknown", rollout.title, answer.detail, answer.hint)
    what = f"{answer.updated} of {answer.desired} pods have its newest template"
    return Finding("workload", rollout.title, what)


def _tls(webhook: RequestSettings) -> ssl.SSLContext:
    tls = webhook.tls
    context = ssl.create_default_context(cafile=tls.ca_file)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert_file:
        context.load_cert_chain(tls.cert_file, tls.key_file)
    return context


def _inotify(settings: Settings) -> Iterator[Finding]:
    limits = ", ".join(f"{name} {_limit(name)}" for name in _LIMITS)
    try:
        with INotify() as inotify:
            for path in settings.watch.dirs:
                inotify.add_watch(path, flags.CREATE)
    except OSError as error:
        text = f"{error.strerror}: {limits}"
        yield Finding("inotify-limit", "inotify", text)
    else:
        used = _instances_in_use()
        text = f"{limits}; instances of visible processes of our uid: {used}"
        yield Finding("inotify", "inotify", text)


def _limit(name: str) -> str:
    try:
        return Path(f"/proc/sys/fs/inotify/{name}").read_text().strip()
    except OSError:
        return "unknown"


def _instances_in_use() -> int:
    """Count the inotify instances that we can see; other pods have theirs."""
    count = 0
    for pid in processes.read_table():
        with suppress(OSError):  # another uid's, or gone
            for link in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    count += str(link.readlink()) == "anon_inode:inotify"
    return count


def _state(settings: Settings) -> Iterator[Finding]:
    directory = settings.state_dir
    if directory is None:
        text = "after a restart of the sidecar everybody may be told once more"
        if settings.rollout:
            text += ", and the workload rolled once more"
        yield Finding("state-none", "STATE_DIR", text)
        return
    try:
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        text = f"{directory}: {error.strerror}"
        mend = "mount a writable emptyDir there, with fsGroup for this container's uid"
        yield Finding("state-unwritable", "STATE_DIR", text, mend)
    else:
        yield Finding("state", "STATE_DIR", f"{directory} can be written")


def _port(listen: tuple[str, int]) -> Finding:
    """Say whether the port is free; beside a running sidecar it is not, and may not."""
    host, port = listen
    shown = f"{host}:{port}"
    nobody = suppress(OSError, UnicodeError)
    with nobody, socket.create_connection((host or "127.0.0.1", port), 1.0):
        return Finding(
            "port", shown, "somebody serves it: the sidecar, if it runs here"
        )
    try:
        with socket.create_server((host, port)):
            return Finding("port", shown, "the port is free")
    except (OSError, UnicodeError) as error:
        return Finding("port-taken", shown, str(error))
