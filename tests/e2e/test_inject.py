"""A plain application, and one command: what README promises first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.e2e.cluster import Namespace
from tests.waiting import wait_until

IMAGE = os.environ.get("IMAGE", "localhost/config-reload-sidecar:dev")
NGINX = os.environ.get("APPS_IMAGE") or "docker.io/library/nginx:1.28"
# the kubelet's own pace, should it miss that the pod was touched
BOUND = 100.0

PLAIN = f"""\
apiVersion: v1
kind: ConfigMap
metadata: {{name: site}}
data:
  site.conf: |
    server {{ listen 8080; default_type text/plain; return 200 "edition one"; }}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      containers:
        - name: nginx
          image: {NGINX}
          command: [nginx, -g, daemon off;]
          securityContext: {{runAsUser: 0}}   # the image's own, said for any NGINX
          readinessProbe: {{httpGet: {{path: /, port: 8080}}, periodSeconds: 2}}
          volumeMounts:
            - {{name: site, mountPath: /etc/nginx/conf.d}}
      volumes:
        - name: site
          configMap: {{name: site}}
"""


def test_a_plain_nginx_serves_what_changes_after_inject(
    namespace: Namespace, tmp_path: Path
) -> None:
    """Deployment → inject → apply → ConfigMap changed → served, without a restart."""
    command = ["inject", "--signal", "nginx", "--image", IMAGE]
    injected = subprocess.run(
        [sys.executable, "-m", "sidecar", *command],
        input=PLAIN,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    file = tmp_path / "injected.yaml"
    file.write_text(injected.stdout)
    namespace.kubectl("apply", "-f", str(file))
    namespace.kubectl("rollout", "status", "deployment/web", "--timeout=120s")
    pod = namespace.kubectl("get", "pods", "-l", "app=web", "-o", "name").strip()
    assert "edition one" == answer(namespace, pod, "8080/proxy/")

    namespace.kubectl("apply", "-f", str(changed(file)))
    namespace.kubectl("annotate", pod, "synced=now")  # brings the kubelet at once

    wait_until(
        lambda: answer(namespace, pod, "8080/proxy/") == "edition two",
        "nginx serves it",
        BOUND,
    )
    wait_until(lambda: states(namespace, pod) == ["fresh"], "it is fresh")
    counts = "jsonpath={.status.containerStatuses[*].restartCount}"
    assert "0 0" == namespace.kubectl("get", pod, "-o", counts)


def changed(file: Path) -> Path:
    """Edit the ConfigMap in the manifest, as its owner does."""
    file.write_text(file.read_text().replace("edition one", "edition two"))
    return file


def answer(namespace: Namespace, pod: str, path: str) -> str:
    """Return what a pod answers, through the API server's proxy."""
    pods = f"/api/v1/namespaces/{namespace.name}/pods"
    name = pod.removeprefix("pod/")
    return namespace.kubectl("get", "--raw", f"{pods}/{name}:{path}")


def states(namespace: Namespace, pod: str) -> list[str]:
    """Return what the sidecar says of each target."""
    status = json.loads(answer(namespace, pod, "9533/proxy/status"))
    return [target["state"] for target in status["targets"]]
