"""A container ends, the configuration changes while it is away, and it comes back."""

from __future__ import annotations

from tests.e2e.cluster import PACE, Namespace, Pod
from tests.waiting import wait_until

# of the container itself: its PID is not 1 in a shared namespace
END_SIDECAR = """
import os, pathlib, signal
for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    if path.read_bytes().endswith(b"-m\\0sidecar\\0"):
        os.kill(int(path.parent.name), signal.SIGTERM)
"""


def end(pod: Pod, container: str) -> None:
    """End the program of a container, and wait until the kubelet has noticed."""
    before = pod.containers()[container]["containerID"]
    if container == "nginx":
        pod.exec(container, "nginx", "-c", "/etc/web/nginx.conf", "-s", "quit")
    else:
        pod.exec(container, "/usr/bin/python3.13", "-c", END_SIDECAR)

    def ended() -> bool:
        now = pod.containers()[container]
        return "running" not in now["state"] or now["containerID"] != before

    wait_until(ended, f"{container} has ended")


def change_while_away(pod: Pod, container: str) -> None:
    """End a container, and have its volume change before it runs again.

    The kubelet starts it at once the first time, and after 10 s the second time.
    """
    end(pod, container)
    wait_until(lambda: "running" in pod.containers()[container]["state"], "it is back")
    end(pod, container)
    pod.update("web", "edition one", "edition two")
    wait_until(
        lambda: (
            pod.restarts()[container] == 2
            and "running" in pod.containers()[container]["state"]
        ),
        "it is back again",
        PACE,
    )
    pod.wait_until_served("edition two\n")
    now = pod.containers()[container]
    ended = now["lastState"]["terminated"]["finishedAt"]
    swapped = pod.status()["volumes"][0]["published"]
    # they are all in UTC; the kubelet's are cut to seconds
    assert ended[:19] <= swapped < now["state"]["running"]["startedAt"][:19], "not away"


def test_a_program_that_was_away_during_a_change_is_not_told_of_it(
    namespace: Namespace,
) -> None:
    """It read the new content when it started, and a reload would be noise."""
    # it is looked for again more often, so that nobody waits here
    often = {"name": "config-reload", "env": [{"name": "RETRY_MAX", "value": "1s"}]}
    pod = namespace.start("restricted.yaml", {"containers": [often]})

    change_while_away(pod, "nginx")

    assert [] == pod.events("signal_sent")
    assert {"nginx": 2, "config-reload": 0} == pod.restarts()


def test_a_change_is_told_although_the_sidecar_was_away_when_it_came(
    namespace: Namespace,
) -> None:
    """Nobody saw it happen: it is found by comparing."""
    pod = namespace.start("restricted.yaml")

    change_while_away(pod, "config-reload")

    assert {"nginx": 0, "config-reload": 2} == pod.restarts()
    # and the one that ended was told to
    ended = pod.containers()["config-reload"]["lastState"]["terminated"]
    assert 0 == ended["exitCode"]


def test_a_sidecar_that_comes_back_tells_nobody_what_it_holds(
    namespace: Namespace,
) -> None:
    """STATE_DIR outlives the container, and says that nginx was told already."""
    pod = namespace.start("restricted.yaml")
    pod.update("web", "edition one", "edition two")
    pod.wait_until_served("edition two\n")

    end(pod, "config-reload")

    wait_until(lambda: pod.restarts()["config-reload"] == 1, "it is back")
    wait_until(lambda: pod.answer(9533, "/readyz"), "it watches again")
    pod.wait_until_fresh()
    assert [] == pod.events("signal_sent")
