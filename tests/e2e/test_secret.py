"""manifests/examples/tls-secret.yaml: a certificate is renewed."""

from __future__ import annotations

import json
import ssl
from base64 import b64encode

import trustme

from tests.e2e.cluster import PACE, Namespace, Pod
from tests.waiting import wait_until

# from inside, because the API server's proxy shows no certificates
SHOW = "import ssl; print(ssl.get_server_certificate(('127.0.0.1', 8443)))"


def issued(certificate: trustme.LeafCert) -> dict[str, str]:
    """Return what a Secret of this type holds."""
    files = {
        "tls.crt": certificate.cert_chain_pems[0].bytes(),
        "tls.key": certificate.private_key_pem.bytes(),
    }
    return {name: b64encode(content).decode() for name, content in files.items()}


def served(pod: Pod) -> bytes:
    """Return the certificate that nginx shows to who connects now."""
    shown = pod.exec("config-reload", "/usr/bin/python3.13", "-c", SHOW)
    return ssl.PEM_cert_to_DER_cert(shown.strip())


def der(certificate: trustme.LeafCert) -> bytes:
    """Return a certificate in the form in which two are compared."""
    return ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())


def test_nginx_shows_a_renewed_certificate(namespace: Namespace) -> None:
    """Certificate and key change together, and no digest of them is shown."""
    ca = trustme.CA()
    old, new = ca.issue_cert("web.test"), ca.issue_cert("web.test")
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": "web-tls"},
        "data": issued(old),
    }
    namespace.create(secret)
    pod = namespace.start("tls-secret.yaml")
    assert der(old) == served(pod)

    # a kubelet that hands files to fsGroup gives them new times after the start, too
    before = len(pod.events("signal_sent"))

    change = json.dumps({"data": issued(new)})
    namespace.kubectl("patch", "secret", "web-tls", "--type=merge", "-p", change)
    pod.sync()

    wait_until(lambda: served(pod) == der(new), "nginx shows the new one", PACE)
    pod.wait_until_fresh()
    assert before + 1 == len(pod.events("signal_sent"))
    assert {"nginx": 0, "config-reload": 0} == pod.restarts()
    volumes = {volume["path"]: volume for volume in pod.status()["volumes"]}
    assert ["tls.crt", "tls.key"] == volumes["/etc/tls"]["keys"]
    assert None is volumes["/etc/tls"]["digest"]
    assert None is not volumes["/etc/web"]["digest"]
