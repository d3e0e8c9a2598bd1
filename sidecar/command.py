"""The commands that run in the pod, `once` and `check` and none, put together here."""

from __future__ import annotations

import errno
import json
import os
import random
import selectors
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from . import (
    __version__,
    check,
    findings,
    proc,
    processes,
    sandbox,
    settings as environment,
)
from .attempt import Target
from .configuration import Configuration
from .courier import Courier
from .disclosure import Disclosure
from .endpoints import Endpoints
from .errors import Interrupted, SettingsError
from .findings import Finding
from .heart import Heart
from .log import Logger, logger
from .loop import Loop, Parts
from .memory import Memory
from .metrics import Metrics
from .output import say
from .process_target import ProcessTarget
from .report import Report
from .schedule import Pace
from .selection import Selection
from .settings import LogSettings, RequestSettings, Settings
from .wakeup import Wakeup
from .watch import Watch

if TYPE_CHECKING:
    from .request import Requester
    from .verification import Verification

_VERIFY_LIMIT = 4 * 1024 * 1024
"""How much of an answer of `VERIFY_URL` is read, in bytes."""

_VERIFY_TIMEOUT = 10.0
"""For one question to `VERIFY_URL`, in seconds."""


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit status."""
    command, as_json = None, False
    if arguments:  # in a pod there are none, and the parser would stay in memory
        from .arguments import parse

        chosen = parse(arguments)
        if chosen.version:
            return say(f"{__version__}\n")
        command, as_json = chosen.command, chosen.json
    try:
        settings = environment.from_env(os.environ)
    except SettingsError as error:
        if command == "check":
            return _print_problems(error, as_json=as_json)
        return _wrong(logger(_log_settings()), error)
    if command == "check":
        return _check(settings, as_json=as_json)
    return _run(settings, logger(settings.log), once=command == "once")


def _run(settings: Settings, log: Logger, *, once: bool) -> int:
    try:
        return run(settings, log, once=once)
    except SettingsError as error:
        return _wrong(log, error)
    except Exception as error:
        if getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE):
            hint = "raise the limit of open files of this container"
            log.exception("stopped", status=1, reason="files", hint=hint)
        else:
            log.exception("stopped", status=1, reason="bug")
        return 1


def run(settings: Settings, log: Logger, *, once: bool) -> int:
    """Run the sidecar until it is told to stop; return the exit status."""
    with ExitStack() as stack:
        ready = stack.enter_context(selectors.DefaultSelector())
        metrics = Metrics()
        watched = tuple(str(path) for path in settings.watch.dirs)
        report = Report(log, metrics, _names(settings), watched)
        forced = 1 if once else 0
        timeout = settings.shutdown_timeout
        wakeup = stack.enter_context(
            Wakeup(ready, timeout, forced, lambda: _overdue(report, forced))
        )
        heart = Heart(wakeup.wake)
        pod_uid = settings.pod.uid or processes.read_pod_uid()
        couriers = _couriers(settings, pod_uid, report, wakeup, stack)
        if settings.events and settings.cluster:
            # the requests are a dozen modules, and who only signals never makes one
            from .recorder import Recorder

            recorder = Recorder(
                settings.pod,
                settings.cluster,
                wake=wakeup.wake,
                problem=lambda text: report.problem("events", text),
            )
            stack.callback(recorder.close)
            report.record_with(recorder)
        port = None
        if settings.http.listen and not once:
            endpoints = Endpoints(
                settings.http.listen,
                status=report.status,
                healthy=heart.reason,
                ready=lambda: _not_ready(settings, report, couriers),
                metrics=metrics.render,
            )
            port = stack.enter_context(endpoints).port
        report.started(
            port=port,
            volumes=watched,
            targets=tuple(courier.target.name for courier in couriers),
            uid=os.geteuid(),
        )
        for finding in check.lasting(settings):
            message = f"{finding.subject}: {finding.text}"
            report.warning(message, code=finding.code, hint=finding.remedy)
        memory = Memory(settings.state_dir, pod_uid, report)
        watch = settings.watch
        pace = Pace(watch.debounce, watch.debounce_max, watch.poll_interval)
        selection = Selection(watch.include, watch.exclude)
        loop = Loop(
            Parts(
                configuration=Configuration(
                    watched,
                    selection,
                    pace,
                    lambda: _go_on(heart, wakeup),
                    memory.before.volumes if memory.before else None,
                ),
                couriers=couriers,
                disclosure=Disclosure(settings.digest_key_file),
                memory=memory,
                report=report,
                heart=heart,
                ready=ready,
                wakeup=wakeup,
                watch=stack.enter_context(Watch(ready)),
                chance=random.random,
                sandbox_started=_sandbox_started(settings),
            ),
            watched,
            pace,
            settings.retry,
        )
        status = 0
        if once:
            status = 0 if loop.run_once() else 1
        else:
            loop.run(timeout)
        report.stopped(status=status)
        return status


def _check(settings: Settings, *, as_json: bool) -> int:
    """Print what is found, for a person or a machine; return the exit status."""
    found = [*check.look(settings), *check.ask(settings)]
    if not any(finding.code == "settings-odd" for finding in found):
        found.insert(0, Finding("settings", "settings", "all of them are right"))
    return _print(found, findings.status(found), as_json=as_json)


def _print_problems(error: SettingsError, *, as_json: bool) -> int:
    found = [Finding("settings-wrong", "settings", text) for text in error.problems]
    return _print(found, 2, as_json=as_json)


def _print(found: Sequence[Finding], status: int, *, as_json: bool) -> int:
    if as_json:
        rows = [finding.as_json() for finding in found]
        text = json.dumps({"status": status, "findings": rows}) + "\n"
    else:
        text = "".join(f"{finding.as_line()}\n" for finding in found)
    return max(status, say(text))


def _couriers(
    settings: Settings,
    pod_uid: str | None,
    report: Report,
    wakeup: Wakeup,
    stack: ExitStack,
) -> list[Courier]:
    verify = settings.verify
    question = _question(settings)

    # requests are a dozen modules, and who only signals never makes one
    def requester(request: RequestSettings, read_limit: int = 0) -> Requester:
        from .request import Requester

        made = Requester(request, wakeup.wake, read_limit=read_limit)
        stack.callback(made.close)
        return made

    baseline = None
    if question:
        from .verification import Baseline

        baseline = Baseline(requester(question, _VERIFY_LIMIT))

    def verification() -> Verification | None:
        if question is None or baseline is None:
            return None
        from .verification import Verification

        return Verification(verify, requester(question, _VERIFY_LIMIT), baseline)

    targets: list[Target] = []
    if settings.process:
        targets.append(
            ProcessTarget(
                settings.process,
                pod_uid=pod_uid,
                alive=verify.alive,
                restart_timeout=verify.timeout,
                verification=verification(),
                wakes=wakeup,
                notes=report,
            )
        )
    for number, webhook in enumerate(settings.webhooks, 1):
        from .webhook_target import WebhookTarget

        targets.append(
            WebhookTarget(
                number,
                webhook,
                requester=requester(webhook),
                verification=verification(),
                notes=report,
            )
        )
    if settings.rollout and settings.cluster:
        from .rollout_target import RolloutTarget

        rollout = RolloutTarget(
            settings.rollout,
            settings.cluster,
            volumes=tuple(map(str, settings.watch.dirs)),
            pod_uid=pod_uid,
            wake=wakeup.wake,
            notes=report,
        )
        stack.callback(rollout.close)
        targets.append(rollout)
    return [
        Courier(target, settings.retry, report, random.random) for target in targets
    ]


def _overdue(report: Report, status: int) -> None:
    """Tell of an end that had to be forced."""
    report.stopped(
        status=status,
        reason="shutdown",
        detail="what was under way did not come to its end in time",
        hint="if this happens again, look for what may hold it up: a log that nobody"
        " reads, a volume that is slow to read, or a regular expression that takes for"
        " ever (PROCESS_CMDLINE, VERIFY_BODY, VERIFY_CHANGES)",
    )


def _go_on(heart: Heart, wakeup: Wakeup) -> None:
    """Beat during long work, and end it when there is a reason to.

    Raises:
        Interrupted: SIGTERM or SIGINT came.
    """
    heart.beat()
    if wakeup.stops():
        raise Interrupted


def _sandbox_started(settings: Settings) -> float | None:
    if not settings.webhooks and not settings.rollout:
        return None  # nobody asks
    me = processes.read_me(processes.read_own_line())
    return sandbox.started(me, proc.boot_offset())


def _question(settings: Settings) -> RequestSettings | None:
    """Make the request for `VERIFY_URL`.

    Credentials and CA of the webhooks go along on the same origin only.
    """
    verify = settings.verify
    if verify.url is None:
        return None
    same = (
        webhook
        for webhook in settings.webhooks
        if _origin(webhook.url) == _origin(verify.url)
    )
    base = next(same, RequestSettings(url=verify.url))
    return replace(
        base,
        url=verify.url,
        method="GET",
        body="",
        expect_status=verify.status,
        timeout=min(_VERIFY_TIMEOUT, verify.timeout),
    )


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname, port


def _names(settings: Settings) -> tuple[str, ...]:
    webhooks = (f"webhook:{n}" for n, _ in enumerate(settings.webhooks, 1))
    process = ("process",) if settings.process else ()
    return (*process, *webhooks, *(("rollout",) if settings.rollout else ()))


def _not_ready(
    settings: Settings, report: Report, couriers: list[Courier]
) -> str | None:
    if not report.status().volumes:
        return "the volumes have not been read yet"
    if settings.http.ready_when == "first-fresh":
        waiting = [c.target.name for c in couriers if not c.was_fresh]
        if waiting:
            return f"not fresh yet: {', '.join(waiting)}"
    return None


def _log_settings() -> LogSettings:
    """Use the chosen log format for the errors too, if the choice itself is right."""
    try:
        chosen = {"WATCH_DIRS": "/", "WEBHOOK_URL": "http://localhost"}
        for name in ("LOG_LEVEL", "LOG_FORMAT"):
            chosen[name] = os.environ.get(name, "")
        return environment.from_env(chosen).log
    except SettingsError:
        return LogSettings()


def _wrong(log: Logger, error: SettingsError) -> int:
    for problem in error.problems:
        log.error("stopped", status=2, problem=problem)
    return 2
