"""What is wrong with a pod that has the sidecar: facts in, flaws out.

Each rule is a small function over the pod, the sidecar and what it is told; `judged`
applies all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set as AbstractSet
from dataclasses import dataclass

from . import identity
from .documents import Path
from .intent import Intent, intent, is_loopback, problems, unknown_variables
from .pod import TOKENS, Container, Mount, Object, Pod, Volume, is_below

OWN_UID = 65532
"""The uid of the sidecar's image."""

_BY_KUBELET = frozenset({"configMap", "secret", "projected", "downwardAPI"})
"""The volumes that the kubelet writes, and replaces as a whole."""


_ROLLED = ("deployment", "statefulset", "daemonset")
"""The kinds that can be rolled; a Pod or a ReplicaSet may belong to one of them."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something wrong; `path` leads there from the pod spec."""

    code: str
    path: Path
    text: str
    mend: str | None = None
    """None for the code's own."""


@dataclass(frozen=True, slots=True)
class Case:
    """A sidecar in its pod."""

    pod: Pod
    sidecar: Container
    intent: Intent
    immutable: frozenset[Object]
    workload: str
    """Whose pod template it is, as `kind/name`."""

    @property
    def watched(self) -> list[tuple[Mount, Volume]]:
        """The volumes that it watches, where they are mounted in it."""
        mounts = (self.mount_of(path) for path in self.intent.directories)
        return [
            (mount, volume)
            for mount in mounts
            if mount and (volume := self.pod.volume(mount.volume))
        ]

    @property
    def objects(self) -> frozenset[Object]:
        """What the volumes hold that it watches."""
        return frozenset[Object]().union(*(v.objects for _, v in self.watched))

    @property
    def programs(self) -> list[Container]:
        """The containers whose processes may be meant: fewer, the more is said."""
        said, found = self.intent.effective, self.pod.applications
        if name := said.get("PROCESS_CONTAINER"):
            return [container for container in found if container.name == name]
        names = {name.strip() for name in said.get("PROCESS_NAME", "").split(",")}
        volumes = {volume.name for _, volume in self.watched}
        named = [
            c for c in found if names & {c.name, identity.image_name(c.image)}
        ] or found
        return [
            container
            for container in named
            if volumes & {mount.volume for mount in container.mounts}
        ] or named

    def mount_of(self, directory: str) -> Mount | None:
        """Return the sidecar's mount that a directory lies on: the deepest one."""
        around = [
            mount
            for mount in self.sidecar.mounts
            if is_below(directory, mount.directory)
        ]
        return max(around, key=lambda mount: len(mount.directory), default=None)

    def at(self, variable: str) -> Path:
        """Return where a variable stands, or could."""
        found = (v.path for v in self.sidecar.variables if v.name == variable)
        return next(found, (*self.sidecar.path, "env"))


def is_frozen(pod: Pod, mount: Mount) -> bool:
    """Say whether a mount keeps what it had when its container started.

    By subPath a container has one file or directory of a volume, and of what the
    kubelet replaces it has the old one for ever.
    """
    volume = pod.volume(mount.volume)
    return mount.sub_path != "" and volume is not None and volume.kind in _BY_KUBELET


def judged(
    pod: Pod, workload: str, immutable: frozenset[Object] = frozenset()
) -> Iterator[Flaw]:
    """Return every flaw of a pod's sidecars, in the order of the rules."""
    for sidecar in pod.sidecars:
        case = Case(pod, sidecar, intent(sidecar), immutable, workload)
        for rule in RULES:
            yield from rule(case)


def _settings(case: Case) -> Iterator[Flaw]:
    for text in problems(case.sidecar):
        yield Flaw("settings-wrong", (*case.sidecar.path, "env"), text)
    for variable, text in unknown_variables(case.sidecar):
        yield Flaw("settings-odd", variable.path, text)


def _mounts(case: Case) -> Iterator[Flaw]:
    for directory in case.intent.directories:
        mount, place = case.mount_of(directory), case.at("WATCH_DIRS")
        if mount is None and is_below(directory, TOKENS):
            # every pod has it without saying so
            yield from _token(case, place, "token", directory)
            continue
        if mount is None:
            text = f"{directory} is watched, and no volume is mounted there"
            yield Flaw("volume-unmounted", place, text)
            continue
        if is_frozen(case.pod, mount):
            text = f"{directory} is watched, and mounted by subPath"
            yield Flaw("sub-path", mount.path, text)
        if not mount.is_read_only:
            text = f"{directory} is watched, and mounted writable"
            yield Flaw("volume-writable", mount.path, text)


def _contents(case: Case) -> Iterator[Flaw]:
    for mount, volume in case.watched:
        if not _may_read(case, volume):
            text = (
                f"the files of the watched volume {volume.name} are root's, with mode "
                f"{volume.mode or 0:04o}: the sidecar can't read them"
            )
            mend = "set fsGroup in the pod's securityContext"
            yield Flaw("volume-unreadable", mount.path, text, mend)
        for kind, name in sorted(volume.objects & case.immutable):
            text = f"{kind} {name} of the watched volume {volume.name} is immutable"
            yield Flaw("immutable", mount.path, text)
        for token in volume.tokens:
            what = f"the volume {volume.name}"
            yield from _token(case, mount.path, token, what)


def _token(case: Case, place: Path, key: str, where: str) -> Iterator[Flaw]:
    if case.intent.selects(key):
        text = f"{where} is watched, and {key} in it is a token, which changes every "
        text += "50 minutes"
        yield Flaw("token-watched", place, text, f"set WATCH_EXCLUDE to {key}")


def _may_read(case: Case, volume: Volume) -> bool:
    """Say whether the kubelet makes files that the sidecar may read.

    They are root's; with an fsGroup they are that group's too, who may read them.
    """
    may_others = volume.mode is None or bool(volume.mode & 0o004)
    own = _own_uid(case)
    return may_others or case.pod.fs_group is not None or own in (0, None)


def _sockets(case: Case) -> Iterator[Flaw]:
    for socket in case.intent.sockets:
        if case.mount_of(socket) is None:
            text = f"{socket} is called, and no volume is mounted there"
            mend = "mount the volume that the program makes it in"
            yield Flaw("volume-unmounted", case.at("WEBHOOK_URL"), text, mend)


def _keys(case: Case) -> Iterator[Flaw]:
    if case.intent.restarts:  # then these change, too
        return
    watched = {volume.name for _, volume in case.watched}
    for container, mount, volume in _frozen(case.pod):
        text = f"{mount.directory} of container {container.name} is mounted by subPath"
        never = f"{text}: it never changes, although its volume is watched"
        is_watched = volume.name in watched or volume.objects & case.objects
        is_program = container in case.programs
        if is_watched and is_program:
            yield Flaw("sub-path", mount.path, never)
        elif is_watched:
            yield Flaw("sub-path-beside", mount.path, never)
        elif watched and is_program and volume.is_configuration:
            text += " and is not watched: the kubelet never updates it"
            yield Flaw("sub-path-unwatched", mount.path, text)


def _frozen(pod: Pod) -> Iterator[tuple[Container, Mount, Volume]]:
    for container in pod.applications:
        for mount in container.mounts:
            volume = pod.volume(mount.volume)
            if volume and is_frozen(pod, mount):
                yield container, mount, volume


def _variables(case: Case) -> Iterator[Flaw]:
    if case.intent.restarts:  # then these change, too
        return
    for container in case.pod.applications:
        for reference in container.references:
            if reference.object in case.objects:
                kind, name = reference.object
                text = (
                    f"container {container.name} has variables from {kind} {name}, "
                    "which is watched: they change only when it restarts"
                )
                yield Flaw("env-from", reference.path, text)


def _namespace(case: Case) -> Iterator[Flaw]:
    pod = case.pod
    if case.intent.signals and not (pod.shares_processes or pod.sees_the_node):
        text = "the sidecar can neither see nor signal processes of other containers"
        yield Flaw("namespace-missing", (), text)
    if case.intent.calls and not case.intent.signals and pod.shares_processes:
        text = "the sidecar only calls webhooks, which needs no shareProcessNamespace"
        yield Flaw("namespace-needless", ("shareProcessNamespace",), text)


def _root(case: Case) -> Iterator[Flaw]:
    if _is_forbidden(case):
        text = "the sidecar runs as uid 0, and runAsNonRoot keeps it from starting"
        uids = _uids_of_programs(case) if case.intent.signals else {OWN_UID}
        place = (*case.sidecar.path, "securityContext")
        yield Flaw("uid-forbidden", place, text, _same_uid(uids))


def _is_forbidden(case: Case) -> bool:
    return _own_uid(case) == 0 and case.pod.may_not_be_root(case.sidecar)


def _uids_of_programs(case: Case) -> AbstractSet[int | None]:
    return {case.pod.uid_of(program) for program in case.programs}


def _uids(case: Case) -> Iterator[Flaw]:
    pod, sidecar = case.pod, case.sidecar
    security = (*sidecar.path, "securityContext")
    own = _own_uid(case)
    if "KILL" in sidecar.added and own != 0:
        text = f"KILL has no effect: the sidecar runs as {_shown(own)}"
        yield Flaw("kill-in-vain", security, text)
    if not case.intent.signals or _is_forbidden(case):
        return
    if pod.may_kill(sidecar):
        if pod.sees_the_node:
            text = "hostPID and KILL let the sidecar signal every process of the node"
            yield Flaw("kill-node", security, text)
        elif "KILL" in sidecar.added:
            text = "the sidecar may signal any process of the pod"
            yield Flaw("kill-root", security, text)
        return
    uids = _uids_of_programs(case)
    if not uids or (own is not None and own in uids):
        return
    who = ", ".join(
        f"container {program.name} as {_shown(pod.uid_of(program))}"
        for program in case.programs
    )
    text = f"the sidecar runs as {_shown(own)}, {who}: "
    if own is None or None in uids:
        text += "whether it may be signalled can't be told"
        yield Flaw("uid-unknown", security, text)
    else:
        text += "the kernel refuses the signal"
        yield Flaw("signal-refused", security, text, _same_uid(uids))


def _same_uid(uids: AbstractSet[int | None]) -> str | None:
    if len(uids) != 1 or None in uids:
        return None
    (uid,) = uids
    root = "" if uid else ", and runAsNonRoot: false"
    return f"set runAsUser: {uid} for the sidecar{root}"


def _own_uid(case: Case) -> int | None:
    uid = case.pod.uid_of(case.sidecar)
    is_ours = identity.image_name(case.sidecar.image) == identity.PROGRAM
    return OWN_UID if uid is None and is_ours else uid


def _shown(uid: int | None) -> str:
    return "the uid of its image" if uid is None else f"uid {uid}"


def _program(case: Case) -> Iterator[Flaw]:
    pod, name = case.pod, case.intent.effective.get("PROCESS_CONTAINER")
    names = [container.name for container in pod.applications]
    if name is not None and name not in names:
        text = f"PROCESS_CONTAINER is {name}, and the pod has {', '.join(names)}"
        yield Flaw("container-unknown", case.at("PROCESS_CONTAINER"), text)
    never = pod.restart_policy != "Always"
    stays = never and not all(program.is_native for program in case.programs)
    if case.intent.ends_the_program and stays:
        text = (
            f"{case.intent.effective['RELOAD_SIGNAL']} ends the program, and with "
            f"restartPolicy: {pod.restart_policy} it may stay ended"
        )
        yield Flaw("restart-never", case.at("RELOAD_SIGNAL"), text)


def _rollout(case: Case) -> Iterator[Flaw]:
    rolled, kind = case.intent.rolls, case.workload.partition("/")[0]
    if rolled and kind in _ROLLED and rolled != case.workload:
        text = f"ROLLOUT names {rolled}, and this is the template of {case.workload}"
        mend = f"set ROLLOUT to {case.workload}"
        yield Flaw("rollout-other", case.at("ROLLOUT"), text, mend)


def _life(case: Case) -> Iterator[Flaw]:
    sidecar = case.sidecar
    if sidecar.is_init and not sidecar.restarts_always:
        text = "an init container that never ends: the program is never started"
        yield Flaw("endless", sidecar.path, text)
    if not sidecar.is_init and case.pod.restart_policy != "Always":
        text = (
            f"restartPolicy: {case.pod.restart_policy} is for pods that complete, and "
            "this one never does: the sidecar goes on"
        )
        yield Flaw("endless", sidecar.path, text)
    first_fresh = case.intent.effective.get("READY_WHEN", "").lower() == "first-fresh"
    startup = sidecar.probe("startupProbe")
    if sidecar.is_native and startup is None:
        text = "without a startup probe the program does not wait for the sidecar"
        yield Flaw("startup-none", sidecar.path, text)
    if sidecar.is_native and startup and startup.http_path == "/readyz" and first_fresh:
        text = "/readyz waits for the program, which waits for this probe"
        yield Flaw("startup-deadlock", startup.path, text)
    readiness = sidecar.probe("readinessProbe")
    if readiness and readiness.http_path == "/readyz" and first_fresh:
        text = "with READY_WHEN=first-fresh a program that never takes its content"
        text += " keeps the pod out of service, also after a restart of the sidecar"
        yield Flaw("readiness", readiness.path, text)


def _means(case: Case) -> Iterator[Flaw]:
    sidecar = case.sidecar
    if not sidecar.limits_memory:
        text = "the sidecar may take all the memory of its node"
        yield Flaw("limits-none", sidecar.path, text)
    tag = sidecar.image.rpartition("/")[2].partition(":")[2]
    if "@" not in sidecar.image and tag in ("", "latest"):
        text = f"{sidecar.image or 'no image'} may be another one tomorrow"
        yield Flaw("image-latest", (*sidecar.path, "image"), text)


def _port(case: Case) -> Iterator[Flaw]:
    listen = case.intent.listen
    for other in case.pod.containers:
        if listen and other != case.sidecar and listen[1] in _ports(case.pod, other):
            text = f"container {other.name} listens on {listen[1]} as well"
            yield Flaw("port-taken", other.path, text)
    if listen and listen[1] and case.pod.has_the_nodes_ports:
        text = f"with hostNetwork the endpoints take port {listen[1]} of the node"
        yield Flaw("port-of-node", case.at("HTTP_LISTEN"), text)


def _probes(case: Case) -> Iterator[Flaw]:
    listen = case.intent.listen
    for probe in case.sidecar.probes:
        if probe.port is None:
            continue
        if case.intent.is_silent:
            text = "HTTP_LISTEN is off, so that nobody answers the probe"
            yield Flaw("probe-unserved", probe.path, text)
        elif isinstance(probe.port, str):
            text = (
                f"the probe asks port {probe.port}, and none of that name is declared"
            )
            mend = "declare it in ports, or let the probe ask the port's number"
            yield Flaw("probe-unserved", probe.path, text, mend)
        elif listen and probe.port != listen[1]:
            text = f"the probe asks port {probe.port}, and it listens on {listen[1]}"
            yield Flaw("probe-unserved", probe.path, text)
        elif listen and is_loopback(listen[0]):
            text = f"the kubelet asks the pod's address, and it listens on {listen[0]}"
            yield Flaw("probe-unserved", probe.path, text)


def _ports(pod: Pod, container: Container) -> Iterator[int]:
    """Return where a container listens for as long as the pod runs."""
    if container in pod.sidecars:
        listen = intent(container).listen
        yield from [listen[1]] if listen and listen[1] else []
    elif container in pod.applications:
        yield from container.ports


def _state(case: Case) -> Iterator[Flaw]:
    directory = case.intent.effective.get("STATE_DIR")
    is_hidden = "STATE_DIR" in case.intent.said and directory is None
    if is_hidden or not (case.intent.signals or case.intent.calls):
        return
    mount = case.mount_of(directory) if directory else None
    if directory is None:
        text = "after a restart of the sidecar everybody may be told once more"
        yield Flaw("state-none", (*case.sidecar.path, "env"), text)
    elif mount is None:
        text = f"{directory} lies on no volume, and ends with the container"
        yield Flaw("state-none", case.at("STATE_DIR"), text)
    elif mount.is_read_only:
        text = f"{directory} is mounted read-only"
        yield Flaw("state-unwritable", mount.path, text)
    elif (volume := case.pod.volume(mount.volume)) and volume.kind in _BY_KUBELET:
        text = f"{directory} is on the {volume.kind} volume {volume.name}"
        yield Flaw("state-unwritable", mount.path, text)


RULES: tuple[Callable[[Case], Iterator[Flaw]], ...] = (
    _settings,
    _mounts,
    _contents,
    _sockets,
    _keys,
    _variables,
    _namespace,
    _root,
    _uids,
    _program,
    _rollout,
    _life,
    _means,
    _port,
    _probes,
    _state,
)
