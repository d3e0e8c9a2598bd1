"""A namespace for each test, on whatever cluster KUBECONFIG reaches."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

from tests.e2e.cluster import Namespace

SIDECAR = "localhost/config-reload-sidecar"
# what the examples run, and one image with all of it may stand in for
PROGRAMS = (
    "docker.io/library/haproxy",
    "docker.io/library/nginx",
    "docker.io/library/postgres",
    "docker.io/nginxinc/nginx-unprivileged",
    "docker.io/prom/prometheus",
)


@pytest.fixture(scope="session")
def apps_image() -> str | None:
    """The image with all programs, for a cluster that can't pull their own."""
    return os.environ.get("APPS_IMAGE")


@pytest.fixture
def namespace(apps_image: str | None) -> Iterator[Namespace]:
    """A namespace of its own; what it held last is shown for a test that failed."""
    # IMAGE is the sidecar's
    images = {SIDECAR: os.environ.get("IMAGE", f"{SIDECAR}:dev")}
    if apps_image:
        images |= dict.fromkeys(PROGRAMS, apps_image)
    namespace = Namespace(f"reload-{os.urandom(4).hex()}", images)
    namespace.kubectl("create", "namespace", namespace.name)
    try:
        yield namespace
    finally:
        sys.stdout.write(namespace.kubectl("get", "pods,events", "-o", "wide"))
        sidecars = ("-c", "config-reload", "--tail=40", "-l", "app.kubernetes.io/name")
        sys.stdout.write(namespace.run("logs", *sidecars).stdout)
        # nobody waits for it: the next test has a namespace of its own
        namespace.kubectl("delete", "namespace", namespace.name, "--wait=false")
