"""Pods whose kubelets and sidecars do as the real ones do, each in a line."""

from __future__ import annotations

from collections.abc import Callable

from sidecar import digest
from sidecar.status import Result, State, Status, TargetStatus, VolumeStatus
from tests.cli import specs
from tests.cli.api_server import ApiServer, reply
from tests.hook import Answer

FRESH = TargetStatus("process", State.FRESH, attempts=1)
OLD, NEW = {"site.conf": "one"}, {"site.conf": "two"}


def digest_of(data: dict[str, str]) -> str:
    """Return what the sidecar shows of this content."""
    return digest.of_volume(
        {k.encode(): digest.of_content(v.encode()) for k, v in data.items()}
    )


def holding(data: dict[str, str], target: TargetStatus = FRESH) -> Status:
    """Return the status of a sidecar that sees this content."""
    volume = VolumeStatus("/etc/site", "kubelet", "..1", 1.0, digest_of(data), ("k",))
    return Status("0.1.0", "inotify", 0.0, (volume,), (target,))


REJECTING = holding(
    NEW,
    TargetStatus(
        "process",
        State.STALE,
        attempts=4,
        last_result=Result.REJECTED,
        last_error="it died",
    ),
)


class Shop:
    """The pods of one namespace, and what each of their sidecars says now."""

    def __init__(self, api: ApiServer) -> None:
        self.api = api
        self.said: dict[str, Status] = {}
        self.becomes: dict[str, Status] = {}
        """What a sidecar says once its kubelet has synced; `NEW` if not named."""

        api.objects["configmaps/site"] = specs.config_map(data=NEW)
        api.on_touch = self.synced

    def add(self, *names: str, said: Status | None = None) -> None:
        """Start pods that hold the old content, or what is said."""
        for name in names:
            self.api.pods[name] = specs.pod(name)
            self.said[name] = said or holding(OLD)
            self.api.sidecars[f"{name}:9533"] = self._answer(name)

    def synced(self, name: str) -> None:
        """Do what a kubelet does when its pod was patched."""
        if name in self.said:
            self.said[name] = self.becomes.get(name, holding(NEW))

    def _answer(self, name: str) -> Callable[[], Answer]:
        return lambda: reply(dict(self.said[name].as_json()))
