"""The variables: which there are, and how one after the other is read.

A `Reader` goes on after a wrong value, so that everything wrong is said at once, and
it is the one place where a value is written into a message: what may hold a secret is
hidden there.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeVar

from . import presets, values

T = TypeVar("T")

VARIABLES: Mapping[str, str] = MappingProxyType(
    {
        "WATCH_DIRS": "required",
        "WATCH_INCLUDE": "*",
        "WATCH_EXCLUDE": "none",
        "DEBOUNCE": "200ms",
        "DEBOUNCE_MAX": "5s",
        "POLL_INTERVAL": "30s",
        "PRESET": "none",
        "PROCESS_NAME": "none",
        "PROCESS_CMDLINE": "none",
        "PROCESS_CONTAINER": "none",
        "PID_FILE": "none",
        "PROCESS_SELECT": "root",
        "RELOAD_SIGNAL": "SIGHUP",
        "SIGNAL_GUARD": "true",
        "WEBHOOK_URL": "none",
        "WEBHOOK_METHOD": "POST",
        "WEBHOOK_HEADERS": "none",
        "WEBHOOK_BODY": "empty",
        "WEBHOOK_BEARER_TOKEN_FILE": "none",
        "WEBHOOK_BASIC_AUTH_FILE": "none",
        "WEBHOOK_CA_FILE": "system CAs",
        "WEBHOOK_CERT_FILE": "none",
        "WEBHOOK_KEY_FILE": "none",
        "WEBHOOK_TLS_VERIFY": "true",
        "WEBHOOK_EXPECT_STATUS": "200-299",
        "WEBHOOK_TIMEOUT": "10s",
        "RETRY_INITIAL": "1s",
        "RETRY_MAX": "60s",
        "RELOAD_MIN_INTERVAL": "0s",
        "RELOAD_JITTER": "0s",
        "VERIFY_URL": "none",
        "VERIFY_STATUS": "200-299",
        "VERIFY_BODY": "none",
        "VERIFY_CHANGES": "none",
        "VERIFY_TIMEOUT": "30s",
        "VERIFY_ALIVE": "1s",
        "CATCH_UP": "auto",
        "STATE_DIR": "none",
        "ROLLOUT": "none",
        "EVENTS": "false",
        "POD_NAME": "none",
        "POD_NAMESPACE": "none",
        "POD_UID": "none",
        "POD_ROLLOUT": "none",
        "DIGEST_KEY_FILE": "none",
        "HTTP_LISTEN": ":9533",
        "READY_WHEN": "watching",
        "SHUTDOWN_TIMEOUT": "5s",
        "LOG_LEVEL": "info",
        "LOG_FORMAT": "auto",
    }
)
"""Every variable with its default, as README shows them and in its order."""

WORDS = frozenset({"required", "none", "empty", "system CAs"})
"""The defaults that are said rather than written: the variable is simply not set."""

ALIASES: Mapping[str, str] = MappingProxyType({"CONFIG_DIR": "WATCH_DIRS"})


_FAMILIES: Mapping[str, float] = MappingProxyType(
    {"DEBOUNCE": 0.65, "WATCH_": 0.75, "WEBHOOK_": 0.75, "VERIFY_": 0.75}
)
"""Beginnings that are ours, and how alike a name must be to count as misspelt."""

_ELSEWHERE = 0.9
"""The same for every other name: POD_IP or LOG_FILE belong to somebody else."""

_SERVICE_LINK = re.compile(
    r"_SERVICE_(?:HOST|PORT(?:_\w+)?)$|_PORT(?:_[0-9]+_[A-Z]+(?:_(?:PORT|PROTO|ADDR))?)?$"
)
"""What the kubelet sets for a Service, and one may be called `webhook`.

Source: kubernetes pkg/kubelet/envvars, `FromServices`.
"""


def misspelt(env: Mapping[str, str]) -> list[str]:
    """Say which names look like one of ours and are none."""
    known = [*VARIABLES, *ALIASES]
    found = []
    for name in sorted(env):
        # our longest name has 25 letters; longer ones would only cost time
        if name in known or len(name) > 40 or _SERVICE_LINK.search(name):
            continue
        family = next((f for f in _FAMILIES if name.upper().startswith(f)), None)
        cutoff = _FAMILIES[family] if family else _ELSEWHERE
        for nearest in difflib.get_close_matches(name.upper(), known, 1, cutoff):
            # a name is written as repr: it may hold bytes that are no text
            shown = name if name.isascii() and name.isprintable() else repr(name)
            found.append(
                f"{shown} is no variable of this program and has no effect; the "
                f"nearest one is {nearest}"
            )
    return found


_URL = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*://)?(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)


def redacted(url: str) -> str:
    """Return a URL that may be shown: without credentials, query and fragment.

    Any text is taken. A password with a bare `/`, `?` or `#` ends the authority early,
    as everybody reads URLs; so where an `@` comes later, nothing is sure to be no
    piece of a password, and everything goes.
    """
    match = _URL.fullmatch(url)
    if match is None or "@" in match["path"] + match["rest"]:
        return "***"
    host = match["authority"].rpartition("@")[2]
    return f"{match['scheme'] or ''}{host}{match['path']}"


def _redacted_urls(text: str) -> str:
    return ",".join(redacted(url) for url in values.separate_urls(text))


def _hidden(_text: str) -> str:
    return "***"


_SHOWN: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {
        "WEBHOOK_URL": _redacted_urls,
        "VERIFY_URL": redacted,
        "WEBHOOK_HEADERS": _hidden,
        "WEBHOOK_BODY": _hidden,
    }
)
"""How the values that may hold secrets are shown in a message."""

_SENT_AS_IS = frozenset({"WEBHOOK_BODY"})


class Reader:
    """Takes the variables one by one and remembers what is wrong with them."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.warnings: list[str] = []
        self._problems: list[tuple[str, str]] = []
        self._names: dict[str, str] = {}
        self.explicit = self._given_by(env)
        self._values: Mapping[str, str] = self.explicit
        preset = self.optional(
            "PRESET", lambda text: presets.defaults(text, self.explicit)
        )
        self._values = (preset or {}) | self.explicit

    @property
    def problems(self) -> list[str]:
        """Everything that is wrong, in the order of the table."""
        order = list(VARIABLES)
        ordered = sorted(self._problems, key=lambda problem: order.index(problem[0]))
        return list(dict.fromkeys(message for _, message in ordered))

    def given(self, *names: str) -> list[str]:
        """Return those of the variables that are set, by the user or by the preset."""
        return [name for name in names if name in self._values]

    def optional(self, name: str, parse: Callable[[str], T]) -> T | None:
        """Read a variable; None if it is unset or wrong."""
        if name not in self._values:
            return None
        try:
            return parse(_checked(self._values[name]))
        except ValueError as error:
            self.wrong(name, str(error))
            return None

    def value(self, name: str, parse: Callable[[str], T]) -> T:
        """Read a variable; its default if it is unset or wrong."""
        # None may be a value (HTTP_LISTEN=off), so it can't stand for "wrong" here
        try:
            return parse(_checked(self._values.get(name, VARIABLES[name])))
        except ValueError as error:
            self.wrong(name, str(error))
            return parse(VARIABLES[name])

    def wrong(self, name: str, what: str, text: str | None = None) -> None:
        """Note a problem: of the variable, or of this text that is a part of it."""
        self._problems.append((name, f"{self.shown(name, text)}: {what}"))

    def missing(self, name: str, what: str) -> None:
        """Note that a variable is not set and should be."""
        self._problems.append((name, f"{name} is not set: {what}"))

    def suspicious(self, name: str, what: str, text: str | None = None) -> None:
        """Note a warning, like `wrong`."""
        self.warnings.append(f"{self.shown(name, text)}: {what}")

    def shown(self, name: str, text: str | None = None) -> str:
        """Write NAME='value' as it may be shown."""
        if text is None:
            text = self._values.get(name, VARIABLES[name])
        text = _SHOWN.get(name, str)(text)
        # repr keeps a message on one line and writes undecodable bytes as escapes
        return f"{self._names.get(name, name)}={_shortened(text)!r}"

    def _given_by(self, env: Mapping[str, str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for name in VARIABLES:
            text = env.get(name, "")
            if text.strip():
                found[name] = text if name in _SENT_AS_IS else text.strip()
        for alias, name in ALIASES.items():
            text = env.get(alias, "").strip()
            if text and name not in found:
                found[name], self._names[name] = text, alias
            elif text and _differ(text, found[name]):
                self._problems.append(
                    (
                        name,
                        f"{alias}={_shortened(text)!r}: {name} is set too, to "
                        f"{_shortened(found[name])!r}; set only {name}",
                    )
                )
        return found


def _checked(text: str) -> str:
    """Refuse what has no place in a log, a label or a request, whatever it is for."""
    try:
        # surrogates stand for bytes that Python could not decode: os.fsdecode
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("not UTF-8; accepted: text in UTF-8") from error
    if "\0" in text:
        raise ValueError("holds a NUL; accepted: text without it")
    return text


def _shortened(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:197]}..."


def _differ(one: str, other: str) -> bool:
    return {item.strip() for item in one.split(",")} != {
        item.strip() for item in other.split(",")
    }
