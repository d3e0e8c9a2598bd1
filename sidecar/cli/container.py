"""The sidecar's container in a pod, as far as the pod's spec tells.

What is not written there literally is not known: the answer is then None, and whoever
asks has to do without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lightkube.models.core_v1 import Container, PodSpec

from sidecar import values
from sidecar.selection import Selection
from sidecar.variables import VARIABLES

from . import identity

_LOOPBACK = ("127.", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class Sidecar:
    """One sidecar of a pod."""

    container: Container
    directories: frozenset[str] | None
    """What it watches; None if the spec does not tell."""

    selection: Selection | None
    """Which keys count for it; None if the spec does not tell."""

    port: int | None
    """Where the API server reaches it; None if nowhere."""

    restarts: bool
    """Whether it has the program started again, which then reads everything anew."""


def running(spec: PodSpec) -> Iterator[Container]:
    """Return the containers that run as long as the pod does."""
    yield from spec.containers
    for container in spec.initContainers or ():
        if container.restartPolicy == "Always":
            yield container


def sidecars(spec: PodSpec) -> list[Sidecar]:
    """Find the containers that are sidecars of ours."""
    return [_read(found) for found in identity.sidecars(running(spec), _look)]


def _look(container: Container) -> identity.Look:
    told = frozenset(variable.name for variable in container.env or ())
    return identity.Look(container.name, container.image or "", told)


def _read(container: Container) -> Sidecar:
    return Sidecar(
        container,
        directories=_directories(container),
        selection=_selection(container),
        port=_port(container),
        restarts=_restarts(container),
    )


def _literal(container: Container, name: str) -> str | None:
    """Return a variable as the sidecar gets it, empty if unset; None: not known.

    Of two entries of one name the later counts. `$(NAME)` is for the kubelet to expand.
    """
    for variable in reversed(container.env or []):
        if variable.name == name:
            text = variable.value or ""
            unknown = variable.valueFrom is not None or "$(" in text
            return None if unknown else text.strip()
    return None if container.envFrom else ""


def _directories(container: Container) -> frozenset[str] | None:
    for name in identity.DIRECTORIES:
        text = _literal(container, name)
        if text is None:
            return None
        if text:
            # not values.items: what is wrong here its own log says
            items = (item.strip() for item in text.split(","))
            return frozenset(directory(item) for item in items if item)
    return None


def directory(path: str) -> str:
    """Write a directory's path as `/status` shows it."""
    return "/" + "/".join(part for part in path.split("/") if part not in ("", "."))


def _selection(container: Container) -> Selection | None:
    include = _literal(container, "WATCH_INCLUDE")
    exclude = _literal(container, "WATCH_EXCLUDE")
    if include is None or exclude is None:
        return None
    try:
        return Selection(
            values.globs(include or VARIABLES["WATCH_INCLUDE"]),
            values.globs(exclude) if exclude else (),
        )
    except ValueError:
        return None  # it would not even start


def _port(container: Container) -> int | None:
    """Return the port of the endpoints, unless nobody outside the pod reaches it."""
    text = _literal(container, "HTTP_LISTEN")
    if text is None:
        declared = container.ports or []
        return declared[0].containerPort if declared else _default_port()
    try:
        address = values.listen_address(text or VARIABLES["HTTP_LISTEN"])
    except ValueError:
        return None
    if address is None or address[0].startswith(_LOOPBACK) or address[1] == 0:
        return None
    return address[1]


def _restarts(container: Container) -> bool:
    """Say whether it ends or replaces who reads the content, as far as is known."""
    if _literal(container, "ROLLOUT"):
        return True
    try:
        number = values.signal_number(_literal(container, "RELOAD_SIGNAL") or "")
    except ValueError:
        return False
    return number in values.TERMINATING


def _default_port() -> int | None:
    address = values.listen_address(VARIABLES["HTTP_LISTEN"])
    return address[1] if address else None
