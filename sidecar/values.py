"""What a variable's text means: one small function for each kind of value.

Each takes the text, without blanks around it, and returns the value or raises
ValueError with what is wrong and what is accepted. None repeats the text: whoever
reports the problem knows whether it may be shown. None touches a file.
"""

from __future__ import annotations

import ipaddress
import math
import re
import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import unquote

T = TypeVar("T")

LONGEST = 30 * 86_400.0
"""The longest duration anyone can mean, in seconds."""

SHORTEST = 0.001
"""The shortest one but 0, in seconds: less would keep a loop from ever sleeping."""

TERMINATING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL})
"""Signals that mean: end, so that whoever restarts you reads the new content."""

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})

_NUMBER = r"([0-9]+(?:\.[0-9]+)?)"
_DURATION = re.compile(
    rf"(?:{_NUMBER}h)?(?:{_NUMBER}m)?(?:{_NUMBER}s)?(?:{_NUMBER}ms)?|{_NUMBER}"
)
_UNITS = (3600, 60, 1, 0.001, 1)

# RFC 9110, section 5.6.2: `token`
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_NEXT_HEADER = re.compile(rf"[\r\n]+|;(?=[ \t]*{_WORD}:)")
_NEXT_URL = re.compile(r",(?=\s*(?:https?|http\+unix)://)", re.IGNORECASE)
_FRAMING = frozenset({"content-length", "transfer-encoding", "connection"})

_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z_.-]+)(?::([0-9]{0,5}))?")
_LISTEN = re.compile(r"(?:(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z.-]*):)?([0-9]{1,5})")
_SOCKET_PATH_LIMIT = 107
"""Bytes of a unix socket's path; unix(7): `sun_path` is 108 with the final NUL."""

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(rf"(?=.{{1,253}}$){_LABEL.pattern}(?:\.{_LABEL.pattern})*")


def boolean(text: str) -> bool:
    """Read yes or no."""
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError("neither yes nor no; accepted: true/false, 1/0, yes/no, on/off")


def duration(text: str) -> float:
    """Read a duration that may not be 0; return seconds."""
    seconds = duration_or_zero(text)
    if seconds == 0:
        raise ValueError("0 has no meaning here; accepted: 1ms to 30 days (720h)")
    return seconds


def duration_or_zero(text: str) -> float:
    """Read a duration; return seconds."""
    match = _DURATION.fullmatch(text)
    if not text or not match:
        raise ValueError(
            "not a duration; accepted: 250ms, 5s, 1m30s, 2h, or a number of seconds"
        )
    seconds = math.fsum(
        float(number or 0) * unit
        for number, unit in zip(match.groups(), _UNITS, strict=True)
    )
    if seconds and not SHORTEST <= seconds <= LONGEST:
        raise ValueError("out of range; accepted: 1ms to 30 days (720h)")
    return seconds


def one_of(*accepted: T) -> Callable[[str], T]:
    """Make a parser that takes one of these words, in any case."""
    words = {str(word): word for word in accepted}

    def parse(text: str) -> T:
        if text.lower() not in words:
            raise ValueError(f"unknown; accepted: {', '.join(words)}")
        return words[text.lower()]

    return parse


def items(text: str) -> tuple[str, ...]:
    """Split a list at its commas: blanks trimmed, empty items and repeats dropped."""
    stripped = (item.strip() for item in text.split(","))
    found = tuple(dict.fromkeys(item for item in stripped if item))
    if not found:
        raise ValueError("only commas; accepted: items separated by commas")
    return found


def absolute_path(text: str) -> Path:
    """Read a path that does not depend on where or by whom we were started."""
    if not text.startswith("/"):
        raise ValueError(
            "not an absolute path; accepted: a path that begins with / "
            "(`~` and `$VAR` are not expanded)"
        )
    if "\0" in text:
        raise ValueError("holds a NUL; accepted: an absolute path")
    # POSIX lets exactly two slashes at the front mean something else; here they don't
    return Path("/" + text.lstrip("/"))


def directory_path(text: str) -> Path:
    """Read the path of a volume: the directory that holds `..data`, not inside it."""
    path = absolute_path(text)
    if any(part.startswith("..") for part in path.parts):
        raise ValueError(
            "leads through `..` or into a generation; accepted: the directory where "
            "the volume is mounted, the one that holds `..data`"
        )
    return path


def globs(text: str) -> tuple[str, ...]:
    """Read a list of globs over keys."""
    return tuple(glob(item) for item in items(text))


def glob(text: str) -> str:
    """Check one glob; fnmatch would take a bad one for a literal that never matches."""
    accepted = "accepted: globs over keys like *.conf or conf.d/*"
    if text.startswith(("/", "./")):
        raise ValueError(f"keys begin with neither / nor ./; {accepted}")
    if text.endswith("/"):
        raise ValueError(f"names a directory, and keys are files; {accepted}")
    if ".." in text.split("/"):
        raise ValueError(f"keys never lead through `..`; {accepted}")
    if text.count("{") != text.count("}"):
        raise ValueError(f"{{a,b}} is not understood, write two globs; {accepted}")
    # what fnmatch takes for a set: `]` directly after `[` or `[!` is a member of it
    if "[" in re.sub(r"\[!?+\]?+[^\]]*\]", "", text):
        raise ValueError(
            f"a `[` is not closed (a comma begins the next glob); {accepted}"
        )
    return text


def pattern(text: str) -> re.Pattern[str]:
    """Compile a regular expression."""
    accepted = "accepted: a Python regular expression"
    try:
        with warnings.catch_warnings():
            # "possible nested set" and the like: legal today, and not our user's worry
            warnings.simplefilter("ignore")
            return re.compile(text)
    except re.error as error:
        place = "" if error.pos is None else f" at position {error.pos}"
        raise ValueError(f"{error.msg}{place}; {accepted}") from error
    except (OverflowError, RecursionError) as error:
        raise ValueError(f"too large or too deep; {accepted}") from error


def pattern_with_one_group(text: str) -> re.Pattern[str]:
    """Compile a regular expression whose one group is the value that is meant."""
    compiled = pattern(text)
    if compiled.groups != 1:
        raise ValueError(
            f"has {compiled.groups} groups; accepted: a regular expression with "
            "exactly one, around the value that changes; write other groups (?:...)"
        )
    return compiled


def process_names(text: str) -> tuple[str, ...]:
    """Read a list of process names."""
    names = items(text)
    if any("/" in name for name in names):
        raise ValueError(
            "a name holds a /; accepted: names as `ps -o comm` shows them, without "
            "their directory (PROCESS_CMDLINE searches the whole command line)"
        )
    return names


def label(text: str) -> str:
    """Read a name as Kubernetes gives to containers and namespaces."""
    if not _LABEL.fullmatch(text):
        raise ValueError(
            "not a Kubernetes name; accepted: up to 63 lower-case letters, digits and "
            "inner hyphens"
        )
    return text


def subdomain(text: str) -> str:
    """Read a name as Kubernetes gives to pods."""
    if not _SUBDOMAIN.fullmatch(text):
        raise ValueError(
            "not a Kubernetes name; accepted: up to 253 lower-case letters, digits, "
            "inner hyphens and dots"
        )
    return text


def word(text: str) -> str:
    """Read something without blanks and control characters."""
    if not re.fullmatch(r"[!-~]{1,253}", text):
        raise ValueError("not one word; accepted: up to 253 printable ASCII characters")
    return text


Workload = tuple[Literal["deployment", "statefulset", "daemonset"], str]


def workload(text: str) -> Workload:
    """Read `kind/name` of what a rollout restarts."""
    kind, _, name = text.partition("/")
    if _SUBDOMAIN.fullmatch(name):
        if kind == "deployment":
            return "deployment", name
        if kind == "statefulset":
            return "statefulset", name
        if kind == "daemonset":
            return "daemonset", name
    raise ValueError(
        "not a workload; accepted: deployment/NAME, statefulset/NAME, daemonset/NAME"
    )


def signal_number(text: str) -> int:
    """Read a signal's name, with or without SIG, or its number."""
    accepted = "accepted: a name (SIGHUP, HUP, SIGRTMIN+1) or a number, 1 to 64"
    number = _signal_number(text)
    if number is None:
        raise ValueError(f"not a signal; {accepted}")
    if number == signal.SIGSTOP:
        raise ValueError(
            f"freezes the program, and nothing would ever wake it; {accepted}"
        )
    if number not in signal.valid_signals():
        raise ValueError(f"not a signal, or the C library keeps it; {accepted}")
    return number


def _signal_number(text: str) -> int | None:
    if re.fullmatch(r"[0-9]{1,3}", text):
        return int(text)
    name = text.upper().removeprefix("SIG")
    match = re.fullmatch(r"(RTMIN\+|RTMAX-)([0-9]{1,2})", name)
    if match is None:
        known = signal.Signals.__members__.get(f"SIG{name}")
        return None if known is None else known.value
    offset = int(match[2])
    number = (
        signal.SIGRTMIN + offset if match[1] == "RTMIN+" else signal.SIGRTMAX - offset
    )
    return number if signal.SIGRTMIN <= number <= signal.SIGRTMAX else None


def statuses(text: str) -> tuple[range, ...]:
    """Read a list of HTTP status codes and ranges, both ends included."""
    return tuple(_status_range(item) for item in items(text))


def _status_range(text: str) -> range:
    match = re.fullmatch(r"([0-9]{3})(?:\s*-\s*([0-9]{3}))?", text)
    low = int(match[1]) if match else 0
    high = int(match[2] or low) if match else 0
    if not 100 <= low <= high <= 599:
        raise ValueError(
            "not a list of status codes; accepted: codes and ranges from 100 to 599 "
            "like 200-299,304"
        )
    return range(low, high + 1)


def method(text: str) -> str:
    """Read an HTTP method; return it in capitals."""
    if not re.fullmatch(_WORD, text):
        raise ValueError("not a method; accepted: one word like POST, PUT or GET")
    return text.upper()


def headers(text: str) -> tuple[tuple[str, str], ...]:
    """Read request headers: `Name: value`, one a line.

    A `;` separates too where another `Name:` follows, since a manifest's author may
    not want a block of lines; values hold `;` of their own (`text/html; q=0.9`).
    Messages count the headers, because a name may be a misplaced piece of a secret.
    """
    lines = [line.strip(" \t") for line in _NEXT_HEADER.split(text)]
    return tuple(
        _header(line, f"header {number}")
        for number, line in enumerate(filter(None, lines), 1)
    )


def _header(line: str, which: str) -> tuple[str, str]:
    accepted = "accepted: `Name: value`, one a line"
    name, colon, value = line.partition(":")
    if not colon or not re.fullmatch(_WORD, name):
        raise ValueError(f"{which} does not begin with a name and a colon; {accepted}")
    if name.lower() in _FRAMING:
        raise ValueError(
            f"{which}: {name} follows from the body and the connection and can't be "
            "chosen; remove it"
        )
    value = value.strip(" \t")
    if not re.fullmatch(r"[\t -~]*", value):
        raise ValueError(
            f"{which}: the value holds a control character or one outside ASCII; "
            f"{accepted}"
        )
    return name, value


def separate_urls(text: str) -> tuple[str, ...]:
    """Split a list of URLs only where the next one begins: queries may hold commas."""
    urls = (url.strip(", \t\r\n") for url in _NEXT_URL.split(text))
    return tuple(dict.fromkeys(filter(None, urls)))


def url(text: str) -> str:
    """Check a URL that httpx can call; return it with its scheme in lower case."""
    scheme, separator, rest = text.partition("://")
    scheme = scheme.lower()
    accepted = (
        "accepted: http://host:port/path, https://... or "
        "http+unix://%2Frun%2Fapp.sock/path"
    )
    if not separator or scheme not in {"http", "https", "http+unix"}:
        raise ValueError(f"the scheme is missing or unknown; {accepted}")
    if len(text) > 8000 or any(not c.isprintable() or c.isspace() for c in text):
        raise ValueError(
            f"too long, or holds a blank or a control character; {accepted}"
        )
    if "#" in rest:
        raise ValueError(
            "a fragment (#...) is never sent; remove it, or write # as %23; " + accepted
        )
    authority = re.split(r"[/?]", rest, maxsplit=1)[0]
    try:
        (_check_socket if scheme == "http+unix" else _check_host)(authority)
    except ValueError as error:
        raise ValueError(f"{error}; {accepted}") from error
    return f"{scheme}://{rest}"


def has_credentials(url: str) -> bool:
    """Say whether a URL that `url` returned holds a user name or a password."""
    return "@" in re.split(r"[/?]", url.partition("://")[2], maxsplit=1)[0]


def _check_socket(authority: str) -> None:
    if "@" in authority:
        raise ValueError(
            "credentials don't go into this URL; use WEBHOOK_BASIC_AUTH_FILE"
        )
    path = unquote(authority)
    if not path.startswith("/") or ":" in authority or "\0" in path:
        raise ValueError(
            "the host is not the socket's absolute path with each / written as %2F"
        )
    if len(path.encode()) > _SOCKET_PATH_LIMIT:
        raise ValueError(f"the socket's path is over {_SOCKET_PATH_LIMIT} bytes")


def _check_host(authority: str) -> None:
    match = _AUTHORITY.fullmatch(authority.rpartition("@")[2])
    if match is None:
        raise ValueError(
            "the host or port is missing or malformed "
            "(in a user name or password, write / ? # @ : as %2F %3F %23 %40 %3A)"
        )
    check_address(match[1])
    if match[2] and not 1 <= int(match[2]) <= 65_535:
        raise ValueError("the port is not between 1 and 65535")


def check_address(host: str) -> None:
    """Refuse what looks like an IP address and is none."""
    try:
        if host.startswith("["):
            ipaddress.IPv6Address(host[1:-1])
        elif re.fullmatch(r"[0-9.]+", host):
            ipaddress.IPv4Address(host)
    except ValueError as error:
        raise ValueError("the host is not an IP address") from error


def listen_address(text: str) -> tuple[str, int] | None:
    """Read where to listen; an empty host is every address, None is nowhere."""
    if text.lower() == "off":
        return None
    accepted = "accepted: :9533, 127.0.0.1:9533, [::1]:9533, a port, or off"
    match = _LISTEN.fullmatch(text)
    if match is None:
        raise ValueError(f"not an address; {accepted}")
    host, port = match[1] or "", int(match[2])
    try:
        check_address(host)
    except ValueError as error:
        raise ValueError(f"{error}; {accepted}") from error
    if port > 65_535:
        raise ValueError(f"the port is over 65535; {accepted}")
    return host.strip("[]"), port
