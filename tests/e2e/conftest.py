"""A namespace for each test, on whatever cluster KUBECONFIG reaches."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping

import pytest

from tests.e2e.cluster import Namespace

SIDECAR = "localhost/config-reload-sidecar"
NGINX = "docker.io/library/nginx"


@pytest.fixture
def images() -> Mapping[str, str]:
    """Which image stands in for which of the manifests'.

    IMAGE is the sidecar's. APPS_IMAGE has the programs, for a cluster that cannot pull
    their own images.
    """
    chosen = {SIDECAR: os.environ.get("IMAGE", f"{SIDECAR}:dev")}
    apps = os.environ.get("APPS_IMAGE")
    return chosen | ({NGINX: apps} if apps else {})


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """A namespace of its own; what it held last is shown for a test that failed."""
    namespace = Namespace(f"reload-{os.urandom(4).hex()}")
    namespace.kubectl("create", "namespace", namespace.name)
    try:
        yield namespace
    finally:
        sys.stdout.write(namespace.kubectl("get", "pods,events", "-o", "wide"))
        namespace.kubectl("delete", "namespace", namespace.name, "--timeout=120s")
