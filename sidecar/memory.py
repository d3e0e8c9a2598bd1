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


class Memory:
    """The state before the restart, and the state to be found after the next one."""

    def __init__(self, directory: Path | None, report: Report) -> None:
        """Load the state; whatever is wrong with it is reported and it is ignored."""
        self._directory = directory
        self._report = report
        self._saved: State | None = None
        self.before: State | None = None
        self.clock_moved = False
        if directory is None:
            return
        try:
            before = state.load(directory, _now())
            self.before = before if before and before.volumes else None
            # one that can't be replaced could not be taken back either
            state.save(directory, self.before or State(), _now())
        except StateError as error:
            self.before = None
            self.clock_moved = error.clock_moved
            report.warning(str(error), directory=str(directory))

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
            state.save(self._directory, current, _now())
        except StateError as error:
            self._report.warning(str(error), directory=str(self._directory))


def _now() -> Now:
    return Now(state.read_boot_id(), proc.boot_time(), proc.boot_offset())
