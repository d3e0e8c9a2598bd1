"""What to change in a manifest so that its pod has the sidecar, or has it no more."""

from __future__ import annotations

from collections.abc import Callable

from . import edits, injection, pod
from .documents import Plain
from .edits import Edit, ShapeError, SharedError
from .injection import STATE_VOLUME, RefusedError, Wish
from .intent import intent
from .pod import Container, Pod
from .rules import Flaw
from .workloads import Thing

Change = Callable[[Thing], tuple[list[Edit], list[Flaw]]]
"""What to change about a workload, and what is to be said of it."""


def adding(wish: Wish) -> Change:
    """Return a change that puts the sidecar in."""
    return lambda thing: _explained(thing, lambda spec: _added(thing, spec, wish))


def removing(thing: Thing) -> tuple[list[Edit], list[Flaw]]:
    """Take the sidecar out, with the volume that only it uses."""
    return _explained(thing, lambda spec: _removed(thing, spec))


def _explained(
    thing: Thing, change: Callable[[Pod], tuple[list[Edit], list[Flaw]]]
) -> tuple[list[Edit], list[Flaw]]:
    path = thing.spec_path or ()
    try:
        return change(pod.parse(thing.document.plain(path)))
    except SharedError as error:
        text = "other places use this through an alias, and would change with it"
        flaw = Flaw("manifest-shared", error.path[len(path) :], text)
    except ShapeError as error:
        text = "has neither the shape of a list nor of a mapping, as it should"
        flaw = Flaw("manifest-broken", error.path[len(path) :], text)
    raise RefusedError(flaw)


def _added(thing: Thing, spec: Pod, wish: Wish) -> tuple[list[Edit], list[Flaw]]:
    if spec.sidecars:
        return [], _differences(thing, spec, wish)
    plan = injection.plan(spec, wish)
    document, path = thing.document, thing.spec_path or ()
    done: list[Edit | None] = []
    new: dict[str, Plain] = {}
    if plan.shares_processes and not spec.shares_processes:
        share = edits.set_scalar(document, (*path, "shareProcessNamespace"), True)
        done.append(share)
        if share is None:
            new["shareProcessNamespace"] = True
    lists: dict[str, Plain] = {plan.section: plan.container}
    if spec.volume(STATE_VOLUME) is None:
        lists["volumes"] = plan.state_volume
    for key, item in lists.items():
        done.append(edits.add(document, (*path, key), [item]))
        if done[-1] is None:
            new[key] = [item]
    if new:
        done.append(edits.put_first(document, path, "containers", new))
    return [edit for edit in done if edit], []


def _differences(thing: Thing, spec: Pod, wish: Wish) -> list[Flaw]:
    """Say so if the sidecar that is there is not the one that is asked for."""
    present = spec.sidecars[0]
    said = thing.document.plain((*(thing.spec_path or ()), *present.path))
    try:
        if injection.covers(said, injection.plan(spec, wish).container):
            return []
    except RefusedError:
        pass  # whoever wrote it by hand may have known better
    text = f"container {present.name} is the sidecar already, but not as asked for here"
    return [Flaw("injected-otherwise", present.path, text)]


def _removed(thing: Thing, spec: Pod) -> tuple[list[Edit], list[Flaw]]:
    document, path = thing.document, thing.spec_path or ()
    ours = spec.sidecars
    if not ours:
        return [], []
    rest = [container for container in spec.containers if container not in ours]
    gone = {
        "initContainers": {c.path[-1] for c in ours if c.is_init},
        "containers": {c.path[-1] for c in ours if not c.is_init},
        "volumes": _unused(spec, ours, rest),
    }
    done: list[Edit] = []
    keys: set[str | int] = set()
    for key, indexes in gone.items():
        items = document.plain((*path, key))
        if indexes and isinstance(items, list) and len(indexes) == len(items):
            keys.add(key)
        elif indexes:
            done += edits.take_out(document, (*path, key), indexes)
    flaws = []
    if spec.shares_processes and any(intent(container).signals for container in ours):
        if len(rest) == 1:
            keys.add("shareProcessNamespace")
        else:
            text = "it stays, since the other containers may need it"
            flaws = [Flaw("namespace-needless", ("shareProcessNamespace",), text)]
    return done + edits.take_out(document, path, keys), flaws


def _unused(spec: Pod, ours: list[Container], rest: list[Container]) -> set[str | int]:
    """Return the indexes of the emptyDirs that only our containers mount."""
    mounted = {mount.volume for container in ours for mount in container.mounts}
    needed = {mount.volume for container in rest for mount in container.mounts}
    return {
        volume.index
        for volume in spec.volumes
        if volume.kind == "emptyDir" and volume.name in mounted - needed
    }
