"""What the sidecar of a pod should look like, by the pod and by what is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from sidecar.presets import PRESETS
from sidecar.rollout import ANNOTATION
from sidecar.settings import POD_FIELDS

from .documents import Path, Plain
from .identity import NAME
from .intent import Intent, is_loopback, problems, told
from .pod import TOKENS, Container, Mount, Pod, is_below, parse, repository
from .rules import OWN_UID, Flaw, is_frozen

IMAGE = "localhost/config-reload-sidecar:dev"
STATE_VOLUME = f"{NAME}-state"
STATE_DIR = "/var/lib/config-reload"
API_VOLUME = f"{NAME}-api"

_RESTARTED = MappingProxyType({"RELOAD_JITTER": "5s", "VERIFY_TIMEOUT": "6m"})
"""What a restart in place needs: replicas take turns, and the kubelet waits up to 5 min
before it starts a container once more."""

_ROLLOUT_FIELDS = MappingProxyType(
    {
        "POD_NAME": POD_FIELDS["POD_NAME"],
        "POD_NAMESPACE": POD_FIELDS["POD_NAMESPACE"],
        "POD_ROLLOUT": f"metadata.annotations['{ANNOTATION}']",
    }
)
"""What a rollout needs of the downward API."""

_NEEDED = (
    "/usr/bin/python3.13",
    "/usr/lib/python3.13",
    "/usr/local/lib/python3.13/dist-packages",
    "/lib",
    "/lib64",
    "/etc/ssl/certs/ca-certificates.crt",
    "/dev",
    "/proc",
    STATE_DIR,
)
"""What the sidecar's own image has and a mount must not cover."""


class RefusedError(Exception):
    """The pod can't have the sidecar as it is asked for."""

    def __init__(self, *flaws: Flaw) -> None:
        super().__init__(*(flaw.text for flaw in flaws))
        self.flaws = flaws


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the user asks for."""

    process: str | None = None
    webhook: str | None = None
    preset: str | None = None
    container: str | None = None
    volumes: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    image: str = IMAGE
    native: bool = False

    @property
    def variables(self) -> dict[str, str]:
        """What the sidecar is to be told."""
        ways = {
            "PRESET": self.preset,
            "PROCESS_NAME": self.process,
            "WEBHOOK_URL": self.webhook,
        }
        return {name: value for name, value in ways.items() if value} | dict(self.env)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be added to a pod spec."""

    container: dict[str, Plain]
    section: str
    """`containers` or `initContainers`."""

    shares_processes: bool
    volumes: list[dict[str, Plain]]


def plan(pod: Pod, wish: Wish) -> Plan:
    """Decide what the pod's sidecar looks like.

    Raises:
        RefusedError: with why, and what to change.
    """
    program = _program(pod, wish)
    watched = _watched(pod, program, wish)
    env = _env(pod, program, watched, wish)
    intent = told(env)
    native = wish.native or pod.restart_policy != "Always"
    volumes = _own_volumes(intent)
    container: dict[str, Plain] = {
        "name": NAME,
        **({"restartPolicy": "Always"} if native else {}),
        "image": wish.image,
        "env": _shown(env, _fields(intent)),
        **_endpoints(intent, native),
        "resources": {
            "requests": {"cpu": "5m", "memory": "40Mi"},
            "limits": {"memory": "96Mi"},
        },
        "securityContext": _security(pod, program if intent.signals else None),
        "volumeMounts": [
            *_read_only(watched | _with_sockets(program, intent)),
            *(mount for _, mount in volumes),
        ],
    }
    _require_right_settings(container)
    _require_own_names(pod)
    return Plan(
        container=container,
        section="initContainers" if native else "containers",
        shares_processes=intent.signals and not pod.sees_the_node,
        volumes=[volume for volume, _ in volumes],
    )


def _require_right_settings(container: dict[str, Plain]) -> None:
    (sidecar,) = parse({"containers": [container]}).containers
    if wrong := problems(sidecar):
        mend = "change the option or --env that sets it"
        path: Path = ("containers",)
        raise RefusedError(
            *(Flaw("settings-wrong", path, text, mend) for text in wrong)
        )


def _require_own_names(pod: Pod) -> None:
    """Take no volume of another kind for ours, which may be left from a sidecar."""
    for name, kind in ((STATE_VOLUME, "emptyDir"), (API_VOLUME, "projected")):
        volume = pod.volume(name)
        if volume and volume.kind != kind:
            text = f"the volume {name} is a {volume.kind}, and the sidecar's {kind}"
            raise RefusedError(Flaw("volume-taken", ("volumes", volume.index), text))


def covers(existing: Plain, wanted: Plain) -> bool:
    """Say whether something has all that is wanted, and maybe more.

    The API server adds its defaults to what it was given.
    """
    if isinstance(existing, dict) and isinstance(wanted, dict):
        return all(covers(existing.get(key), value) for key, value in wanted.items())
    if isinstance(existing, list) and isinstance(wanted, list):
        return len(existing) >= len(wanted) and all(map(covers, existing, wanted))
    return existing == wanted


def _program(pod: Pod, wish: Wish) -> Container:
    names = ", ".join(container.name for container in pod.applications)
    if wish.container is not None:
        lookalikes = [c for c in pod.sidecars if not c.look.is_named]
        for container in (*pod.applications, *lookalikes):
            if container.name == wish.container:
                return container
        text = f"no container is named {wish.container}; the pod has {names}"
        mend = "name one of them with --container, or leave this one out with --only"
        raise RefusedError(Flaw("container-unknown", ("containers",), text, mend))
    found = [c for c in pod.applications if _mounts(pod, c, wish)]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(container.name for container in found)
        text = f"{names} mount configuration, and any of them could be the program"
        raise RefusedError(Flaw("container-ambiguous", ("containers",), text))
    raise RefusedError(_nothing(pod, pod.applications, wish))


def _watched(pod: Pod, program: Container, wish: Wish) -> dict[str, Mount]:
    """Return the mounts to watch, by where they go in the sidecar."""
    mounts = _mounts(pod, program, wish)
    missing = set(wish.volumes) - {mount.volume for mount in mounts}
    if missing or not mounts:
        raise RefusedError(_nothing(pod, [program], wish))
    whole = sorted(mounts, key=lambda mount: mount.sub_path != "")
    first = {mount.volume: mount for mount in reversed(whole)}
    ordered = [mount for mount in mounts if first[mount.volume] is mount]
    return dict(_placed(pod, mount) for mount in ordered)


def _mounts(pod: Pod, container: Container, wish: Wish) -> list[Mount]:
    # a container that is started again has every key anew
    heals = told(wish.variables).restarts
    return [
        mount
        for mount in container.mounts
        if _is_meant(pod, mount, wish)
        and (heals if is_frozen(pod, mount) else mount.sub_path is not None)
    ]


def _is_meant(pod: Pod, mount: Mount, wish: Wish) -> bool:
    if wish.volumes:
        return mount.volume in wish.volumes
    volume = pod.volume(mount.volume)
    is_token = mount.directory == TOKENS
    return volume is not None and volume.is_configuration and not is_token


def _nothing(pod: Pod, containers: list[Container], wish: Wish) -> Flaw:
    """Say why there is nothing to watch."""
    for container in containers:
        for mount in container.mounts:
            if is_frozen(pod, mount) and _is_meant(pod, mount, wish):
                text = (
                    f"{mount.directory} of container {container.name} is mounted by "
                    "subPath, and never changes while the container runs"
                )
                mend = (
                    "mount the whole volume as a directory; or restart the program: "
                    "--env RELOAD_SIGNAL=SIGTERM, or --env ROLLOUT=KIND/NAME"
                )
                return Flaw("sub-path", mount.path, text, mend)
    names = ", ".join(container.name for container in containers) or "no container"
    what = "ConfigMap, Secret or projected volume"
    if wish.volumes:
        what = f"volume named {' or '.join(wish.volumes)}"
    path: Path = containers[0].path if len(containers) == 1 else ("containers",)
    mend = "mount one as a directory there, or leave this workload out with --only"
    return Flaw("volume-none", path, f"{names}: mounts no {what}", mend)


def _placed(pod: Pod, mount: Mount) -> tuple[str, Mount]:
    """Return where a volume goes in the sidecar: where the program has it, if it can.

    WATCH_DIRS separates directories by commas.
    """
    path, elsewhere = mount.directory, f"/watched/{mount.volume}"
    if is_frozen(pod, mount):  # the sidecar needs all of it, to see it change
        return elsewhere, replace(mount, sub_path="")
    if "," in path or any(is_below(needed, path) for needed in _NEEDED):
        return elsewhere, mount
    return path, mount


def _env(
    pod: Pod, program: Container, mounts: dict[str, Mount], wish: Wish
) -> dict[str, str | None]:
    """Return the sidecar's variables; None is for what the pod's own fields tell."""
    chosen = _with_verification(wish.variables, program)
    intent = told(chosen)
    if intent.ends_the_program:
        chosen |= {k: v for k, v in _RESTARTED.items() if not intent.has(k)}
    tokens = [
        t for m in mounts.values() if (v := pod.volume(m.volume)) for t in v.tokens
    ]
    env: dict[str, str | None] = {"WATCH_DIRS": ",".join(mounts)}
    if tokens:
        env["WATCH_EXCLUDE"] = ",".join(dict.fromkeys(tokens))
    env |= {name: chosen[name] for name in ("PRESET", "PROCESS_NAME") if name in chosen}
    if intent.signals:
        env["PROCESS_CONTAINER"] = program.name
    env |= chosen
    env["STATE_DIR"] = STATE_DIR
    env |= dict.fromkeys(_fields(intent))
    return env | dict(wish.env)


def _fields(intent: Intent) -> dict[str, str]:
    """Return the variables that show fields of the pod, with the fields."""
    rollout = _ROLLOUT_FIELDS if intent.has("ROLLOUT") else {}
    return {**rollout, **(POD_FIELDS if intent.records_events else {})}


def _shown(env: dict[str, str | None], fields: dict[str, str]) -> list[Plain]:
    """Write variables as a manifest does."""
    return [
        {"name": name, "value": value}
        if value is not None
        else {"name": name, "valueFrom": {"fieldRef": {"fieldPath": fields[name]}}}
        for name, value in env.items()
    ]


def _with_verification(chosen: dict[str, str], program: Container) -> dict[str, str]:
    """Add how a program shows that it took what it was told: Prometheus and its kin.

    They may serve everything below a prefix: `/prefix/-/reload`, `/prefix/metrics`.
    """
    origin, reload, rest = chosen.get("WEBHOOK_URL", "").partition("/-/reload")
    scheme, _, authority = origin.partition("://")
    if not reload or rest or any(name.startswith("VERIFY_") for name in chosen):
        return chosen
    image = repository(program.image).rpartition("/")[2]
    preset = chosen.get("PRESET", image.replace("-exporter", "_exporter"))
    usual = PRESETS.get(preset, {}).get("VERIFY_URL")
    if usual is None:
        return chosen
    url = f"{scheme}://{authority.rpartition('@')[2]}/{usual.rpartition('/')[2]}"
    moved = {} if url == usual else {"VERIFY_URL": url}
    return {"PRESET": preset, **moved, **chosen}


def _with_sockets(program: Container, intent: Intent) -> dict[str, Mount]:
    """Return the program's mounts in which the unix sockets lie that are called."""
    return {
        mount.directory: mount
        for mount in program.mounts
        if any(is_below(socket, mount.directory) for socket in intent.sockets)
    }


def _read_only(mounts: dict[str, Mount]) -> list[Plain]:
    return [
        {
            "name": mount.volume,
            "mountPath": path,
            **({"subPath": mount.sub_path} if mount.sub_path else {}),
            "readOnly": True,
        }
        for path, mount in mounts.items()
    ]


def _own_volumes(intent: Intent) -> list[tuple[dict[str, Plain], Plain]]:
    """Return the volumes that only the sidecar has, each with its mount."""
    found: list[tuple[dict[str, Plain], Plain]] = []
    if intent.effective.get("STATE_DIR") == STATE_DIR:
        mount: Plain = {"name": STATE_VOLUME, "mountPath": STATE_DIR}
        found.append(({"name": STATE_VOLUME, "emptyDir": {}}, mount))
    if _fields(intent):
        # the pod may not have its token mounted into every container
        sources: list[Plain] = [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
            {
                "configMap": {
                    "name": "kube-root-ca.crt",
                    "items": [{"key": "ca.crt", "path": "ca.crt"}],
                }
            },
        ]
        mount = {"name": API_VOLUME, "mountPath": TOKENS, "readOnly": True}
        found.append(({"name": API_VOLUME, "projected": {"sources": sources}}, mount))
    return found


def _endpoints(intent: Intent, native: bool) -> dict[str, Plain]:
    """Return the port and the probes, if there is somebody whom the kubelet may ask."""
    listen = intent.listen
    if listen is None or is_loopback(listen[0]):
        return {}
    # the program starts once this has succeeded; /readyz might wait for the program
    often = {"periodSeconds": 1, "failureThreshold": 30}
    startup: dict[str, Plain] = {"startupProbe": {**_probe("/healthz"), **often}}
    return {
        "ports": [{"name": "reload", "containerPort": listen[1]}],
        **(startup if native else {}),
        "livenessProbe": _probe("/healthz"),
        "readinessProbe": _probe("/readyz"),
    }


def _probe(path: str) -> dict[str, Plain]:
    return {"httpGet": {"path": path, "port": "reload"}}


def _security(pod: Pod, signalled: Container | None) -> dict[str, Plain]:
    """Return the least that does, without what the pod says for all its containers."""
    uid, added = _uid(pod, signalled)
    if pod.non_root and uid["runAsNonRoot"]:
        del uid["runAsNonRoot"]
    capabilities: dict[str, Plain] = {"drop": ["ALL"]}
    if added:
        capabilities["add"] = added
    uid |= {
        "allowPrivilegeEscalation": False,
        "capabilities": capabilities,
        "readOnlyRootFilesystem": True,
    }
    if not pod.filters_calls:
        uid["seccompProfile"] = {"type": "RuntimeDefault"}
    return uid


def _uid(pod: Pod, signalled: Container | None) -> tuple[dict[str, Plain], list[Plain]]:
    """Return who the sidecar runs as, and the capabilities that it needs."""
    if signalled is None:
        if pod.uid == 0:
            return _identity(OWN_UID, OWN_UID), []
        return {"runAsNonRoot": True}, []
    uid = pod.uid_of(signalled)
    if uid:
        # what the pod says for all its containers, it says for the sidecar
        inherited = signalled.uid is None
        group = signalled.gid if inherited else pod.gid_of(signalled)
        return _identity(None if inherited else uid, group), []
    if pod.may_not_be_root(signalled):
        text = (
            f"container {signalled.name} must not run as root, and no other uid is "
            "given for it: the sidecar would have to be root to signal it"
        )
        raise RefusedError(
            Flaw("uid-forbidden", (*signalled.path, "securityContext"), text)
        )
    # the last resort: root may signal anybody, with this one capability
    return _identity(0, 0), [] if uid == 0 else ["KILL"]


def _identity(uid: int | None, gid: int | None) -> dict[str, Plain]:
    told: dict[str, Plain] = {}
    if uid is not None:
        told["runAsUser"] = uid
    if gid is not None:
        told["runAsGroup"] = gid
    told["runAsNonRoot"] = uid != 0
    return told
