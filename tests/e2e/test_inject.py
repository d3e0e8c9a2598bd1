"""A plain application, and one command: what README promises first."""

from __future__ import annotations

import subprocess
import sys

from tests.e2e.cluster import Namespace
from tests.e2e.conftest import SIDECAR

NGINX = "docker.io/library/nginx"
PLAIN = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: site}
data:
  site.conf: |
    server { listen 8080; default_type text/plain; return 200 "edition one"; }
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: nginx
          image: docker.io/library/nginx:1.28
          command: [nginx, -g, daemon off;]
          securityContext: {runAsUser: 0}   # any image may stand in for nginx's
          readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 2}
          volumeMounts:
            - {name: site, mountPath: /etc/nginx/conf.d}
      volumes:
        - name: site
          configMap: {name: site}
"""


def test_a_plain_nginx_serves_what_changes_after_inject(namespace: Namespace) -> None:
    """Deployment → inject → apply → ConfigMap changed → served, without a restart."""
    images = namespace.images
    plain = PLAIN.replace(f"{NGINX}:1.28", images.get(NGINX, f"{NGINX}:1.28"))
    command = ["inject", "--signal", "nginx", "--image", images[SIDECAR]]
    injected = subprocess.run(
        [sys.executable, "-m", "sidecar", *command],
        input=plain,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    applied = namespace.run("apply", "-f", "-", sent=injected.stdout)
    assert (0, "") == (applied.returncode, applied.stderr)
    namespace.kubectl("rollout", "status", "deployment/web", "--timeout=120s")
    pod = namespace.pod()
    assert "edition one" == pod.get(8080)

    pod.update("site", "edition one", "edition two")

    pod.wait_until_served("edition two")
    assert {"nginx": 0, "config-reload": 0} == pod.restarts()
    assert 1 == len(pod.events("signal_sent"))
