"""The page for people: one document that needs nothing else, and no script.

Everything on it was named by others (keys, processes, paths), so every value goes
through `_text`, and what is assembled here is the only markup there is.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from html import escape
from typing import Final

from .status import (
    ReloadStatus,
    State,
    Status,
    TargetStatus,
    VolumeStatus,
    timestamp,
)

_NONE: Final = '<span class="none">none</span>'

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5a6676; --line: #d9dee5;
  --paper: #f6f7f9; --card: #fff; --link: #0b5cad; --good: #17703a; --bad: #b3261e;
  --wait: #8a5a00; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ee; --soft: #a3adba; --line: #333c48; --paper: #14181d;
    --card: #1c2229; --link: #7db8f5; --good: #6fcf8f; --bad: #ff8a80;
    --wait: #f0bf5f; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 1.25rem 1rem 2rem;
  background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.25rem; }
h2 { margin: 1.75rem 0 .5rem; font-size: 1.05rem; }
h3 { margin: 0; font-size: 1rem; overflow-wrap: anywhere; }
p { margin: .25rem 0; }
a { color: var(--link); }
header p, .none, dt, th { color: var(--soft); }
article, .scroll, .notes { background: var(--card); border: 1px solid var(--line);
  border-radius: .5rem; padding: .75rem 1rem; margin: 0 0 .75rem; }
article header { display: flex; flex-wrap: wrap; gap: 0 .75rem;
  justify-content: space-between; margin-bottom: .25rem; }
dl { display: grid; grid-template-columns: minmax(6rem, auto) 1fr;
  gap: .15rem 1rem; margin: 0; }
dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
code { font: .9em/1.4 ui-monospace, monospace; unicode-bidi: isolate;
  white-space: pre-wrap; }
ul { margin: .25rem 0; padding-left: 1.25rem; }
li, small { overflow-wrap: anywhere; }
dd ul { margin: 0; padding: 0; list-style: none; }
h3 code { font-weight: 600; }
small { display: block; color: var(--soft); }
time span { white-space: nowrap; }
summary { cursor: pointer; }
.scroll { overflow-x: auto; padding: .25rem 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .35rem 1rem .35rem 0; }
th { font-weight: 500; white-space: nowrap; }
tbody td { border-top: 1px solid var(--line); }
td:last-child, th:last-child { padding-right: 0; }
.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
.good, .bad, .wait { font-weight: 600; }
.good { color: var(--good); } .bad { color: var(--bad); } .wait { color: var(--wait); }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; list-style: none;
  padding: 0; }
@media (max-width: 30rem) {
  dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: .35rem; }
  .scroll { padding: .25rem .75rem; }
  th, td { padding-right: .6rem; font-size: .85rem; }
}
"""

_MARKS: Final = {
    "fresh": ("good", "\N{BLACK CIRCLE}"),
    "succeeded": ("good", "\N{BLACK CIRCLE}"),
    "stale": ("bad", "\N{BLACK UP-POINTING TRIANGLE}"),
    "failed": ("bad", "\N{BLACK UP-POINTING TRIANGLE}"),
    "rejected": ("bad", "\N{BLACK UP-POINTING TRIANGLE}"),
    "unknown": ("wait", "\N{WHITE CIRCLE}"),
    "superseded": ("wait", "\N{WHITE CIRCLE}"),
}


def policy() -> str:
    """Return the Content-Security-Policy that allows this page's style alone."""
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )


def render(status: Status) -> str:
    """Return the whole document."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_text(_verdict(status))} - config-reload-sidecar</title>
<style>{_STYLE}</style>
</head>
<body>
<header>
<h1>config-reload-sidecar</h1>
<p>Version {_text(status.version)}, since {_time(status.started)},
watching by {_text(status.watch_mode)}</p>
</header>
<main>
<p>{_badge(_state(status), _verdict(status))}</p>
{_section("Warnings", _warnings(status.warnings)) if status.warnings else ""}
{_section("Targets", _all(map(_target, status.targets)))}
{_section("Volumes", _all(map(_volume, status.volumes)))}
{_section("Last reloads", _reloads(status.reloads))}
</main>
<nav aria-label="Endpoints">
<ul>
<li><a href="status">status (JSON)</a></li>
<li><a href="metrics">metrics</a></li>
<li><a href="healthz">healthz</a></li>
<li><a href="readyz">readyz</a></li>
</ul>
</nav>
</body>
</html>
"""


def _state(status: Status) -> State:
    """Return the worst state of all targets."""
    states = {target.state for target in status.targets}
    for state in (State.STALE, State.UNKNOWN):
        if state in states:
            return state
    return State.FRESH


def _verdict(status: Status) -> str:
    states = [target.state for target in status.targets]
    parts = [
        f"{states.count(state)} of {len(states)} targets {state}"
        for state in (State.STALE, State.UNKNOWN)
        if state in states
    ]
    return ", ".join(parts) or "Every target holds the newest content"


def _target(target: TargetStatus) -> str:
    facts = [
        ("Selector", _code(target.selector)),
        ("Signal", _code(target.signal)),
        ("URL", _code(target.url)),
        ("Workload", _code(target.workload)),
        ("Processes", _processes(target)),
        ("Stale since", _time(target.stale_since)),
        ("Attempts", str(target.attempts) if target.attempts else ""),
        ("Last result", _badge(target.last_result) if target.last_result else ""),
        ("Last error", _text(target.last_error or "")),
        ("What to do", _text(target.hint or "")),
    ]
    return _card(_text(target.name), _badge(target.state), facts)


def _processes(target: TargetStatus) -> str:
    if target.url is not None or target.workload is not None:
        return ""
    return _list(
        f"pid {process.pid}, uid {process.uid}: {_badge(process.state)}"
        for process in target.processes
    )


def _volume(volume: VolumeStatus) -> str:
    facts = [
        ("Kind", _text(volume.kind)),
        ("Generation", _code(volume.generation)),
        ("Published", _time(volume.published)),
        ("Digest", _code(volume.digest) or '<span class="none">not shown</span>'),
        ("Keys", _keys(volume.keys)),
    ]
    return _card(_code(volume.path), "", facts)


def _keys(keys: tuple[str, ...]) -> str:
    names = _list(map(_code, keys))
    if len(keys) <= 10:
        return names
    return f"<details><summary>{len(keys)} keys</summary>{names}</details>"


def _reloads(reloads: tuple[ReloadStatus, ...]) -> str:
    if not reloads:
        return f"<p>{_NONE}</p>"
    names = ("Started", "Target", "Result", "Took")
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    rows = "".join(map(_reload, reversed(reloads)))
    return (
        '<div class="scroll" role="region" aria-labelledby="last-reloads" tabindex="0">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _reload(reload: ReloadStatus) -> str:
    reason = f"<small>{_text(reload.reason)}</small>" if reload.reason else ""
    attempts = (
        f"<small>{reload.attempts} attempts</small>" if reload.attempts > 1 else ""
    )
    return (
        f"<tr><td>{_time(reload.started)}</td><td>{_text(reload.target)}</td>"
        f"<td>{_badge(reload.result)}{reason}</td>"
        f'<td class="number">{reload.seconds:.3f} s{attempts}</td></tr>'
    )


def _warnings(warnings: tuple[str, ...]) -> str:
    return f'<div class="notes">{_list(map(_text, warnings))}</div>'


def _section(title: str, body: str) -> str:
    name = title.lower().replace(" ", "-")
    heading = f'<h2 id="{name}">{title}</h2>'
    return f'<section aria-labelledby="{name}">{heading}{body}</section>'


def _card(title: str, badge: str, facts: Iterable[tuple[str, str]]) -> str:
    """Return a box of facts; those that are empty are left out."""
    rows = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts if value)
    return f"<article><header><h3>{title}</h3>{badge}</header><dl>{rows}</dl></article>"


def _all(cards: Iterable[str]) -> str:
    return "".join(cards) or f"<p>{_NONE}</p>"


def _list(items: Iterable[str]) -> str:
    rows = "".join(f"<li>{item}</li>" for item in items)
    return f"<ul>{rows}</ul>" if rows else _NONE


def _badge(state: str, text: str | None = None) -> str:
    """Return a state in words, with a colour, and a mark that stays beside them."""
    kind, mark = _MARKS[state]
    return (
        f'<span class="{kind}"><span aria-hidden="true">{mark}</span>&nbsp;'
        f"{_text(text or state)}</span>"
    )


def _time(seconds: float | None) -> str:
    written = timestamp(seconds)
    if written is None:
        return ""
    day, _, hour = written.partition("T")
    halves = f"<span>{day}</span> <span>{hour[:8]} UTC</span>"
    return f'<time datetime="{written}">{halves}</time>'


def _code(value: str | None) -> str:
    return f"<code>{_text(value)}</code>" if value else ""


def _text(value: str) -> str:
    """Escape a value, and show what is not printable instead of obeying it."""
    shown = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in value
    )
    return escape(shown)
