"""Remembers who holds what over a restart of the sidecar, if there is a `STATE_DIR`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from . import proc, state
from .attempt import Target
from .configuration import Configuration
from .errors import StateError
from .report import Report
from .state import Now, State

_CLOCK_MOVED = (
    "the clock was set since the state was saved, so times of files can't be compared:"
    " processes and webhooks are told once"
)


class Memory:
    """The state before the restart, and the state to be found after the next one."""

    def __init__(
        self, directory: Path | None, pod_uid: str | None, report: Report
    ) -> None:
        """Load the state; whatever is wrong with it is reported and it is ignored."""
        self._directory = directory
        self._pod_uid = pod_uid
        self._report = report
        self._saved: State | None = None
        self.before: State | None = None
        if directory is None:
            return
        try:
            before = state.load(directory, self._now())
            self.before = before if before and before.volumes else None
            if self.clock_moved:  # and stays so until it is known who was told
                self._warn(_CLOCK_MOVED)
                return
            # one that can't be replaced could not be taken back either
            state.save(directory, self.before or State(), self._now())
        except StateError as error:
            self.before = None
            self._warn(str(error))

    @property
    def clock_moved(self) -> bool:
        """Whether the clock was set since the state before the restart was saved."""
        return self.before is not None and self.before.clock_moved

    def held(self, name: str, configuration: Configuration) -> Sequence[str] | None:
        """Return who held the content before the restart, if it still is the same.

        None: nothing is remembered.
        """
        if self.before is None:
            return None
        digests = {path: known.digest for path, known in self.before.volumes.items()}
        now = {path: known.digest for path, known in configuration.state().items()}
        return self.before.held.get(name, ()) if digests == now else ()

    def keep(
        self, configuration: Configuration, targets: Sequence[Target], before: float
    ) -> None:
        """Save what is true now, if that is news: of who held the content `before`.

        While something has not settled, who is told may read more than is settled.
        """
        if self._directory is None:
            return
        held = {target.name: target.held(before) for target in targets}
        current = State(configuration.state(), held)
        if current == self._saved:
            return
        self._saved = current
        try:
            state.save(self._directory, current, self._now())
        except StateError as error:
            self._warn(str(error))

    def _now(self) -> Now:
        boot = proc.boot_time()
        return Now(self._pod_uid, state.read_boot_id(), boot, proc.boot_offset())

    def _warn(self, message: str) -> None:
        self._report.warning(message, directory=str(self._directory))
