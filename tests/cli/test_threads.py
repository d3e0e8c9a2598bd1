"""What many threads do at once with what a sidecar and the API server answer."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.sidecar_process import CHECKOUT

# A process of its own, because a crash ends it; and one for each type, because only its
# first use is at stake. Threads take turns as often as they can.
_CHILD = """
import sys, threading
from sidecar.cli.api import Api
from sidecar.cli.client import Reply
from sidecar.cli.verdict import read

sys.setswitchinterval(1e-6)
Api(None, "any")
together = threading.Barrier(10)
document = b'{"version": "1", "volumes": [], "targets": [], "kind": "Status"}'
reply = Reply(200, {}, document)
hear = {"answer": lambda: read(document), "status": lambda: reply.status}

def act():
    together.wait()
    assert hear[sys.argv[1]]()

threads = [threading.Thread(target=act) for _ in range(10)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


@pytest.mark.parametrize("what", ["answer", "status"])
def test_many_pods_may_answer_at_once(what: str) -> None:
    """The first answers come together, and must not be the end of the program."""
    children = [
        subprocess.Popen([sys.executable, "-c", _CHILD, what], cwd=CHECKOUT)
        for _ in range(5)
    ]
    assert [0] * 5 == [child.wait() for child in children]
