"""What a sidecar container is told by its variables, as far as a manifest shows it.

The settings are read by the code that reads them in the pod. What depends on the pod's
files gets stand-ins here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import unquote

from sidecar import presets, settings, values
from sidecar.errors import SettingsError
from sidecar.selection import Selection
from sidecar.variables import ALIASES, VARIABLES, misspelt

from . import identity
from .pod import Container, Variable

_STAND_INS = MappingProxyType(
    {
        "WATCH_DIRS": "/",
        "CONFIG_DIR": "/",
        "PROCESS_NAME": "unknown",
        "PROCESS_CMDLINE": "unknown",
        "PROCESS_CONTAINER": "unknown",
        "PID_FILE": "/unknown",
        "WEBHOOK_URL": "http://unknown",
        "VERIFY_URL": "http://unknown",
        "POD_NAME": "unknown",
        "POD_NAMESPACE": "unknown",
        "POD_UID": "unknown",
    }
)
"""For what only the cluster knows; the other variables are left out."""

_FILES = frozenset(name for name in VARIABLES if name.endswith("_FILE")) - {"PID_FILE"}
_PATHS = _FILES | {"STATE_DIR"}
_OURS = tuple(
    {f"{name.partition('_')[0]}_" for name in VARIABLES} - {"HTTP_", "LOG_", "POD_"}
)
"""How our variables begin, but for what a container may have for other reasons."""


@dataclass(frozen=True, slots=True)
class Intent:
    """What the sidecar is to do."""

    said: Mapping[str, str | None]
    """Every variable of the container; None where its value can't be known."""

    effective: Mapping[str, str]
    """What is said literally, with what the preset adds."""

    def has(self, name: str) -> bool:
        """Say whether a variable is set, be it to what can't be known."""
        return name in self.effective or self.said.get(name, "") is None

    @property
    def signals(self) -> bool:
        """Whether processes are signalled."""
        return any(map(self.has, presets.SELECTORS))

    @property
    def calls(self) -> bool:
        """Whether webhooks are called."""
        return self.has("WEBHOOK_URL")

    @property
    def restarts(self) -> bool:
        """Whether the program gets what changed by being started again."""
        return self.ends_the_program or self.has("ROLLOUT")

    @property
    def records_events(self) -> bool:
        """Whether it tells the API server what it did."""
        try:
            return values.boolean(self.effective.get("EVENTS", VARIABLES["EVENTS"]))
        except ValueError:
            return False

    @property
    def rolls(self) -> str | None:
        """The workload that it rolls, as `kind/name`, if that can be known."""
        try:
            return "/".join(values.workload(self.effective.get("ROLLOUT", "")))
        except ValueError:
            return None

    @property
    def directories(self) -> tuple[str, ...]:
        """The directories that are watched."""
        text = self.effective.get("WATCH_DIRS") or self.effective.get("CONFIG_DIR", "")
        items = (item.strip() for item in text.split(","))
        return tuple(
            str(values.absolute_path(item)) for item in items if item.startswith("/")
        )

    @property
    def sockets(self) -> tuple[str, ...]:
        """The unix sockets that are called."""
        urls = values.separate_urls(self.effective.get("WEBHOOK_URL", ""))
        parts = (url.partition("://") for url in urls)
        return tuple(
            unquote(rest.partition("/")[0])
            for scheme, _, rest in parts
            if scheme.lower() == "http+unix"
        )

    @property
    def ends_the_program(self) -> bool:
        """Whether the signal is one that asks a program to end."""
        try:
            number = values.signal_number(self.effective.get("RELOAD_SIGNAL", "SIGHUP"))
        except ValueError:
            return False
        return self.signals and number in settings.TERMINATING

    @property
    def is_silent(self) -> bool:
        """Whether it has no endpoints."""
        return self.effective.get("HTTP_LISTEN", "").lower() == "off"

    @property
    def listen(self) -> tuple[str, int] | None:
        """Where its endpoints are; None for nowhere, or where it can't be known."""
        if self.said.get("HTTP_LISTEN", "") is None:
            return None
        try:
            return values.listen_address(
                self.effective.get("HTTP_LISTEN", VARIABLES["HTTP_LISTEN"])
            )
        except ValueError:
            return None

    def selects(self, key: str) -> bool:
        """Say whether a key counts as configuration."""
        include = self.effective.get("WATCH_INCLUDE", "*")
        exclude = self.effective.get("WATCH_EXCLUDE", "")
        try:
            return Selection(
                values.globs(include), values.globs(exclude) if exclude else ()
            ).selects(key)
        except ValueError:
            return False


def is_loopback(host: str) -> bool:
    """Say whether only the pod itself reaches an address."""
    return host == "localhost" or host.startswith("127.") or host == "::1"


def intent(container: Container) -> Intent:
    """Read what a sidecar is told."""
    return told({variable.name: variable.value for variable in container.variables})


def told(said: Mapping[str, str | None]) -> Intent:
    """Read variables; None is the value of one that can't be known."""
    explicit = {n: v.strip() for n, v in said.items() if v is not None and v.strip()}
    try:
        added = presets.defaults(explicit["PRESET"], explicit)
    except (KeyError, ValueError):
        added = {}
    return Intent(MappingProxyType(dict(said)), MappingProxyType(added | explicit))


def unknown_variables(container: Container) -> Iterator[tuple[Variable, str]]:
    """Return the variables that look like ours and are none, with a sentence on each.

    Here it is stricter than in the pod, where a Service of the name `watch` may have
    set them. But `$(NAME)` in one variable may be what another one is for.
    """
    may_be_parts = any(variable.value is None for variable in container.variables)
    for variable in container.variables:
        name = variable.name
        if found := misspelt({name: ""}):
            yield variable, found[0]
        elif name.startswith(_OURS) and name not in VARIABLES and not may_be_parts:
            yield variable, f"{name} is no variable of this program and has no effect"


def problems(container: Container) -> list[str]:
    """Say what the sidecar will find wrong with its settings when it starts."""
    said = intent(container).said
    env = {"KUBERNETES_SERVICE_HOST": "unknown"}  # the kubelet sets it everywhere
    wrong: list[str] = []
    for name in [name for name in (*VARIABLES, *ALIASES) if name in said]:
        value = said[name]
        if value is None:
            env[name] = _STAND_INS.get(name, "")
        elif name in ("WATCH_DIRS", "CONFIG_DIR") and value.strip():
            wrong += _wrong_directories(name, value)
            env[name] = "/"
        elif name in _PATHS:
            wrong += _wrong_path(name, value.strip())
        else:
            env[name] = value
    if container.references or None in (said.get(n, "") for n in identity.TARGETS):
        env = {"WATCH_DIRS": "/", "PROCESS_NAME": "unknown"} | {
            name: value for name, value in env.items() if value.strip()
        }
    try:
        settings.from_env(env)
    except SettingsError as error:
        wrong += error.problems
    return wrong


def _wrong_directories(name: str, text: str) -> Iterator[str]:
    try:
        for item in values.items(text):
            values.directory_path(item)
    except ValueError as error:
        yield f"{name}={text!r}: {error}"


def _wrong_path(name: str, text: str) -> Iterator[str]:
    if not text:
        return
    try:
        values.absolute_path(text)
    except ValueError as error:
        yield f"{name}={text!r}: {error}"
