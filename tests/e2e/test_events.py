"""EVENTS on a real cluster, with the Role that is shipped for it."""

from __future__ import annotations

from tests.e2e.cluster import Namespace
from tests.sidecar_process import CHECKOUT
from tests.waiting import wait_until

ROLE = CHECKOUT / "manifests/events/role.yaml"
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
FIELDS = {
    "POD_NAME": "metadata.name",
    "POD_NAMESPACE": "metadata.namespace",
    "POD_UID": "metadata.uid",
}
SIDECAR = {
    "name": "config-reload",
    "env": [
        {"name": "EVENTS", "value": "true"},
        *(
            {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
            for name, path in FIELDS.items()
        ),
    ],
    "volumeMounts": [{"name": "api", "mountPath": ACCOUNT, "readOnly": True}],
}
TOKEN = {
    "name": "api",
    "projected": {
        "sources": [
            {"serviceAccountToken": {"path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt"}},
        ]
    },
}


def test_kubectl_describe_shows_what_became_of_a_change(namespace: Namespace) -> None:
    """It is where people look first."""
    role = ROLE.read_text().replace(
        "namespace: default", f"namespace: {namespace.name}"
    )
    assert not namespace.run("apply", "-f", "-", sent=role).returncode
    account = "config-reload-events"
    pod = namespace.start(
        "restricted.yaml",
        {"serviceAccountName": account, "containers": [SIDECAR], "volumes": [TOKEN]},
    )

    pod.update("web", "edition one", "edition two")
    pod.wait_until_served("edition two\n")

    def described() -> bool:
        return "ConfigReloaded" in namespace.kubectl("describe", "pod", pod.name)

    wait_until(described, "the pod has the event")
    assert [] == pod.status()["warnings"]
