"""manifests/examples/postgresql.yaml, as a user applies it."""

from __future__ import annotations

from tests.e2e.cluster import PACE, Namespace, Pod
from tests.waiting import wait_until

# What the image's entry point does, for an image that has only the programs; initdb
# wants a uid that has a name, and this is Debian's.
STAND_IN = {
    "securityContext": {"runAsUser": 102, "runAsGroup": 104, "fsGroup": 104},
    "containers": [
        {
            "name": "postgresql",
            "command": [
                "bash",
                "-c",
                "PATH=$(echo /usr/lib/postgresql/*/bin):$PATH; "
                'initdb -D "$PGDATA" >/dev/null && exec "$@"',
                "-",
            ],
        }
    ],
}


def work_mem(pod: Pod) -> str:
    """Return a parameter as a new session has it."""
    ask = ("psql", "-h", "/var/run/postgresql", "-U", "postgres", "-tAc")
    return pod.exec("postgresql", *ask, "SHOW work_mem").strip()


def test_postgresql_takes_a_parameter_of_a_configmap_after_an_update(
    namespace: Namespace, apps_image: str | None
) -> None:
    """The postmaster alone is told, among many processes that have its name."""
    namespace.kubectl(
        "create", "secret", "generic", "postgresql", "--from-literal=password=any"
    )
    pod = namespace.start("postgresql.yaml", STAND_IN if apps_image else None)
    assert "4MB" == work_mem(pod)

    # a kubelet that hands files to fsGroup gives them new times after the start, too
    before = len(pod.events("signal_sent"))
    pod.update("postgresql", "work_mem = 4MB", "work_mem = 16MB")

    wait_until(lambda: work_mem(pod) == "16MB", "PostgreSQL uses it", PACE)
    pod.wait_until_fresh()
    assert {"postgresql": 0, "config-reload": 0} == pod.restarts()
    assert before + 1 == len(pod.events("signal_sent"))
