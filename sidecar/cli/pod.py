"""What a pod spec says, as far as the sidecar is concerned.

Pure, and patient: what has the wrong shape counts as not there, for the API server
says it better.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from . import identity
from .documents import Path, Plain

TOKENS = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Where every pod has its service account's token; that is no configuration."""

_HANDLERS = ("httpGet", "tcpSocket", "grpc", "exec")
"""How a probe may ask."""

Object = tuple[str, str]
"""Kind and name of what a volume or a variable comes from."""


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume of the pod."""

    index: int
    name: str
    kind: str
    """`configMap`, `secret`, `projected`, or any other that Kubernetes has."""

    objects: frozenset[Object]
    mode: int | None
    """`defaultMode`, in which its files are made."""

    tokens: tuple[str, ...]
    """The keys that hold a service account's token, which changes by itself."""

    @property
    def is_configuration(self) -> bool:
        """Whether the kubelet brings changes of objects into it."""
        return bool(self.objects)


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume's place in a container."""

    path: Path
    volume: str
    directory: str
    is_read_only: bool
    sub_path: str | None
    """What of the volume it is; empty for all of it, None if its variables say."""


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of a container; its value where the manifest says it literally."""

    path: Path
    name: str
    value: str | None


@dataclass(frozen=True, slots=True)
class Reference:
    """A variable, or several, that come from an object when the container starts."""

    path: Path
    object: Object


@dataclass(frozen=True, slots=True)
class Probe:
    """A probe, of any kind."""

    path: Path
    http_path: str
    """Empty if it does not ask by HTTP."""

    port: int | str | None
    """A name that the container declares no port of stays one; None for no port."""


@dataclass(frozen=True, slots=True)
class Container:
    """A container of the pod."""

    path: Path
    name: str
    image: str
    restarts_always: bool
    variables: tuple[Variable, ...]
    references: tuple[Reference, ...]
    mounts: tuple[Mount, ...]
    ports: tuple[int, ...]
    probes: tuple[Probe, ...]
    uid: int | None
    gid: int | None
    non_root: bool | None
    added: frozenset[str]
    """Capabilities, without `CAP_`."""

    dropped: frozenset[str]
    limits_memory: bool

    @property
    def look(self) -> identity.Look:
        """What it is known by."""
        told = frozenset(variable.name for variable in self.variables)
        return identity.Look(self.name, self.image, told)

    @property
    def is_init(self) -> bool:
        """Whether it stands among the init containers."""
        return self.path[0] == "initContainers"

    @property
    def is_native(self) -> bool:
        """Whether it is what Kubernetes calls a sidecar."""
        return self.is_init and self.restarts_always

    def probe(self, kind: str) -> Probe | None:
        """Return its `startupProbe`, `livenessProbe` or `readinessProbe`."""
        return next((p for p in self.probes if p.path[-1] == kind), None)


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod spec."""

    containers: tuple[Container, ...]
    """Init containers first, as they start."""

    volumes: tuple[Volume, ...]
    shares_processes: bool
    sees_the_node: bool
    has_the_nodes_ports: bool
    restart_policy: str
    uid: int | None
    gid: int | None
    fs_group: int | None
    non_root: bool | None
    filters_calls: bool
    """Whether it has a seccomp profile for all its containers."""

    @property
    def sidecars(self) -> list[Container]:
        """Those that are ours."""
        return identity.sidecars(self.containers, lambda container: container.look)

    @property
    def applications(self) -> list[Container]:
        """Those that run for as long as the pod does and are not ours."""
        ours = self.sidecars
        return [
            container
            for container in self.containers
            if container not in ours and (container.is_native or not container.is_init)
        ]

    def volume(self, name: str) -> Volume | None:
        """Return a volume by its name."""
        return next((volume for volume in self.volumes if volume.name == name), None)

    def uid_of(self, container: Container) -> int | None:
        """Return the uid that it runs as; None if its image decides."""
        if container.uid is not None:
            return container.uid
        return self.uid if self.uid is not None else image_uid(container.image)

    def gid_of(self, container: Container) -> int | None:
        """Return the gid that it runs as; None if its image decides."""
        return container.gid if container.gid is not None else self.gid

    def may_kill(self, container: Container) -> bool:
        """Whether it has the capability KILL: only root can, and has it by default."""
        if self.uid_of(container) != 0:
            return False
        dropped = container.dropped & {"ALL", "KILL"}
        return bool(container.added & {"ALL", "KILL"}) or not dropped

    def may_not_be_root(self, container: Container) -> bool:
        """Whether the kubelet refuses to start it as uid 0."""
        own = container.non_root
        return bool(self.non_root if own is None else own)


def is_below(path: str, directory: str) -> bool:
    """Say whether a path is a directory's, or lies in it."""
    return f"{path}/".startswith(f"{directory.rstrip('/')}/")


def repository(image: str) -> str:
    """Return an image's name in full, without its tag and digest.

    `nginx:1.28` is `docker.io/library/nginx`, as every runtime reads it.
    """
    name = image.partition("@")[0]
    head, slash, last = name.rpartition("/")
    name = f"{head}{slash}{last.partition(':')[0]}"
    first = name.partition("/")[0]
    if "/" in name and ("." in first or ":" in first or first == "localhost"):
        return name
    return f"docker.io/{name}" if "/" in name else f"docker.io/library/{name}"


def image_uid(image: str) -> int | None:
    """Return the uid of the one image whose users never say it in a manifest."""
    # its master stays root to open ports and logs: "Controlling nginx"
    return 0 if repository(image) == "docker.io/library/nginx" else None


def parse(spec: Plain) -> Pod:
    """Read a pod spec."""
    said = _dict(spec)
    security = _dict(said.get("securityContext"))
    return Pod(
        containers=tuple(
            _container((section, index), container)
            for section in ("initContainers", "containers")
            for index, container in _dicts(said.get(section))
        ),
        volumes=tuple(_volume(*volume) for volume in _dicts(said.get("volumes"))),
        shares_processes=said.get("shareProcessNamespace") is True,
        sees_the_node=said.get("hostPID") is True,
        has_the_nodes_ports=said.get("hostNetwork") is True,
        restart_policy=_text(said.get("restartPolicy")) or "Always",
        uid=_number(security.get("runAsUser")),
        gid=_number(security.get("runAsGroup")),
        fs_group=_number(security.get("fsGroup")),
        non_root=_flag(security.get("runAsNonRoot")),
        filters_calls="seccompProfile" in security,
    )


def _container(path: Path, said: dict[str, Plain]) -> Container:
    security = _dict(said.get("securityContext"))
    limits = _dict(_dict(said.get("resources")).get("limits"))
    capabilities = _dict(security.get("capabilities"))
    return Container(
        path=path,
        name=_text(said.get("name")),
        image=_text(said.get("image")),
        restarts_always=said.get("restartPolicy") == "Always",
        variables=tuple(
            Variable((*path, "env", index), _text(env.get("name")), _literal(env))
            for index, env in _dicts(said.get("env"))
        ),
        references=tuple(_references(path, said)),
        mounts=tuple(
            Mount(
                path=(*path, "volumeMounts", index),
                volume=_text(mount.get("name")),
                directory=_text(mount.get("mountPath")).rstrip("/") or "/",
                is_read_only=mount.get("readOnly") is True,
                sub_path=(
                    None if mount.get("subPathExpr") else _text(mount.get("subPath"))
                ),
            )
            for index, mount in _dicts(said.get("volumeMounts"))
        ),
        ports=tuple(
            number
            for _, port in _dicts(said.get("ports"))
            if (number := _number(port.get("containerPort"))) is not None
        ),
        probes=tuple(_probes(path, said)),
        uid=_number(security.get("runAsUser")),
        gid=_number(security.get("runAsGroup")),
        non_root=_flag(security.get("runAsNonRoot")),
        added=_capabilities(capabilities.get("add")),
        dropped=_capabilities(capabilities.get("drop")),
        limits_memory="memory" in limits,
    )


def _probes(path: Path, said: dict[str, Plain]) -> Iterator[Probe]:
    named = {
        _text(port.get("name")): _number(port.get("containerPort"))
        for _, port in _dicts(said.get("ports"))
    }
    for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
        probe = _dict(said.get(kind))
        ways = (probe.get(handler) for handler in _HANDLERS)
        asked = next((way for way in ways if isinstance(way, dict)), None)
        if asked is not None:
            port = asked.get("port")
            number = named.get(port, port) if isinstance(port, str) else _number(port)
            yield Probe((*path, kind), _text(asked.get("path")), number)


def _capabilities(value: Plain) -> frozenset[str]:
    names = value if isinstance(value, list) else []
    return frozenset(_text(name).upper().removeprefix("CAP_") for name in names)


def _literal(env: dict[str, Plain]) -> str | None:
    value = env.get("value")
    if "valueFrom" in env or isinstance(value, dict | list):
        return None
    # the kubelet puts other variables in there, and we can't tell what they hold
    text = _text(value)
    return None if "$(" in text else text


def _references(path: Path, said: dict[str, Plain]) -> Iterator[Reference]:
    for index, env in _dicts(said.get("env")):
        source = _dict(env.get("valueFrom"))
        for key, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
            if name := _text(_dict(source.get(key)).get("name")):
                yield Reference((*path, "env", index), (kind, name))
    for index, source in _dicts(said.get("envFrom")):
        for key, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
            if name := _text(_dict(source.get(key)).get("name")):
                yield Reference((*path, "envFrom", index), (kind, name))


def _volume(index: int, said: dict[str, Plain]) -> Volume:
    kind = next((key for key in said if key != "name"), "emptyDir")
    source = _dict(said.get(kind))
    parts = [part for _, part in _dicts(source.get("sources"))]
    objects = set()
    for part in parts if kind == "projected" else [said]:
        if name := _text(_dict(part.get("configMap")).get("name")):
            objects.add(("ConfigMap", name))
        secret = _dict(part.get("secret"))
        if name := _text(secret.get("secretName") or secret.get("name")):
            objects.add(("Secret", name))
    tokens = (_dict(part.get("serviceAccountToken")).get("path") for part in parts)
    return Volume(
        index=index,
        name=_text(said.get("name")),
        kind=kind,
        objects=frozenset(objects),
        mode=_number(source.get("defaultMode")),
        tokens=tuple(text for token in tokens if (text := _text(token))),
    )


def _dict(value: Plain) -> dict[str, Plain]:
    return value if isinstance(value, dict) else {}


def _dicts(value: Plain) -> list[tuple[int, dict[str, Plain]]]:
    items = value if isinstance(value, list) else []
    return [(index, item) for index, item in enumerate(items) if isinstance(item, dict)]


def _text(value: Plain) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int) else ""


def _number(value: Plain) -> int | None:
    if isinstance(value, bool):
        return None
    return value if isinstance(value, int) else None


def _flag(value: Plain) -> bool | None:
    return value if isinstance(value, bool) else None
