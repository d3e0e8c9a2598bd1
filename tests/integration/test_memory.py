"""What the sidecar holds on to: nothing that grows with what it has seen."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.kubelet import KubeletVolume
from tests.waiting import wait_until
from tests.witness import Witness

from .test_main_job import settled_at_start, sidecar

RELOADS = 2_000
EVENTS = 100_000
ALLOWED = 2 * 1024
"""KiB."""


@pytest.mark.timeout(600)
def test_memory_stays_where_it_was(volume: KubeletVolume, witness: Witness) -> None:
    """Many thousand pods run it for months; what leaks is multiplied by both.

    Measured is anonymous memory, because the pages of files come and go with the
    machine's wants; from the first reload on, when everything that is needed is loaded.
    """
    with sidecar(volume.path, witness, DEBOUNCE="0") as process:
        before = settled_at_start(process, witness)
        volume.write({"app": "first"})
        witness.wait_for(before + 1)
        start = anonymous(process.pid)

        for number in range(RELOADS):
            volume.write({"app": str(number)})
            witness.wait_for(before + 2 + number)
        for _ in range(EVENTS // 2):  # one for its making, one for its end
            (volume.path / "new").touch()
            (volume.path / "new").unlink()
        volume.write({"app": "last"})
        wait_until(lambda: {"app": "last"} == witness.readings[-1], "the last reload")

        assert anonymous(process.pid) <= start + ALLOWED


def anonymous(pid: int) -> int:
    """Return a process's anonymous memory in KiB: RssAnon of proc(5)."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^RssAnon:\s+(\d+) kB$", status, re.MULTILINE)
    assert found
    return int(found[1])
