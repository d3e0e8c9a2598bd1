"""A pod spec with the sidecar, or without it: from what a manifest says, and pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from . import injection, pod
from .documents import Plain
from .injection import RefusedError, Wish
from .intent import intent
from .pod import Container, Pod
from .rules import Flaw

Spec = dict[str, Plain]


@dataclass(frozen=True, slots=True)
class Change:
    """What a pod spec becomes, and what is to be said of it."""

    spec: Spec
    flaws: list[Flaw] = field(default_factory=list)


_MEND_OF_LOOKALIKES = (
    "take it out by hand; or, if it is the program, name it with --container"
)

Changing = Callable[[Spec], Change]
"""Raises RefusedError, with what to change."""


def adding(wish: Wish) -> Changing:
    """Return what puts the sidecar in."""
    return lambda spec: _added(spec, wish)


def _added(spec: Spec, wish: Wish) -> Change:
    known = pod.parse(spec)
    # who is only told the like is the program, if the user says so
    present = [c for c in known.sidecars if c.look.is_named or c.name != wish.container]
    if present:
        return Change(spec, _differences(spec, known, present[0], wish))
    plan = injection.plan(known, wish)
    new = {**spec}
    flaws = []
    if plan.shares_processes:
        if spec.get("shareProcessNamespace") is False:
            text = "it said false; now all containers of the pod see each other's"
            text += " processes, and may see their files"
            flaws = [Flaw("namespace-opened", ("shareProcessNamespace",), text)]
        new["shareProcessNamespace"] = True
    new[plan.section] = [*_items(spec, plan.section), plan.container]
    names = {volume.name for volume in known.volumes}
    if fresh := [v for v in plan.volumes if v["name"] not in names]:
        new["volumes"] = [*_items(spec, "volumes"), *fresh]
    return Change(new, flaws)


def _items(spec: Spec, key: str) -> list[Plain]:
    items = spec.get(key)
    if isinstance(items, list):
        return items
    if items is None:
        return []
    raise RefusedError(Flaw("manifest-broken", (key,), f"{key} is no list"))


def _differences(spec: Spec, known: Pod, present: Container, wish: Wish) -> list[Flaw]:
    """Say so if the sidecar that is there is not the one that is asked for."""
    section, index = present.path
    try:
        wanted = injection.plan(known, wish).container
        if injection.covers(_items(spec, str(section))[int(index)], wanted):
            return []
    except RefusedError:
        pass  # whoever wrote it by hand may have known better
    text = f"container {present.name} is the sidecar already, but not as asked for here"
    mend = None if present.look.is_named else _MEND_OF_LOOKALIKES
    return [Flaw("injected-otherwise", present.path, text, mend)]


def removing(spec: Spec) -> Change:
    """Take the sidecar out, with the volume that only it uses."""
    known = pod.parse(spec)
    # who is only told the like may be the program
    ours = [container for container in known.sidecars if container.look.is_named]
    if not ours:
        return Change(spec, [_lookalike(container) for container in known.sidecars])
    rest = [container for container in known.containers if container not in ours]
    gone = {container.path for container in ours} | _unused(known, ours, rest)
    new = {**spec}
    for key in ("initContainers", "containers", "volumes"):
        items = _items(spec, key)
        kept = [item for n, item in enumerate(items) if (key, n) not in gone]
        if kept:
            new[key] = kept
        elif items:  # all that was there was ours
            del new[key]
    flaws = []
    if known.shares_processes and any(intent(container).signals for container in ours):
        # other init containers than native sidecars have ended when the program starts
        if len(known.applications) <= 1:
            del new["shareProcessNamespace"]
        else:
            text = "it stays, since the other containers may need it"
            flaws = [Flaw("namespace-needless", ("shareProcessNamespace",), text)]
    return Change(new, flaws)


def _lookalike(container: Container) -> Flaw:
    text = (
        f"container {container.name} looks like the sidecar, but neither it nor its "
        "image bears its name: it stays"
    )
    return Flaw("sidecar-unnamed", container.path, text)


def _unused(
    known: Pod, ours: list[Container], rest: list[Container]
) -> set[tuple[str | int, ...]]:
    """Return where the emptyDirs and tokens are that only our containers mount."""
    mounted = {mount.volume for container in ours for mount in container.mounts}
    needed = {mount.volume for container in rest for mount in container.mounts}
    return {
        ("volumes", volume.index)
        for volume in known.volumes
        if volume.name in mounted - needed
        and (volume.kind == "emptyDir" or volume.tokens)
    }
