"""Each thing that can be wrong with a pod, made wrong in one that is right."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from sidecar.cli import rules
from sidecar.cli.pod import TOKENS
from tests.cli.command import call

HEAD = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: site}
data: {}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    spec:
      shareProcessNamespace: true
      restartPolicy: Always
"""
WEB = """\
        - name: web
          image: registry.example/web:1
          securityContext: {runAsUser: 101}
          envFrom: []
          volumeMounts:
            - {name: site, mountPath: /etc/web}
"""
SIDECAR = """\
        - name: config-reload
          image: localhost/config-reload-sidecar:dev
          env:
            - {name: WATCH_DIRS, value: /etc/site}
            - {name: PROCESS_NAME, value: web}
            - {name: PROCESS_CONTAINER, value: web}
            - {name: STATE_DIR, value: /state}
          readinessProbe:
            httpGet: {path: /readyz, port: 9533}
          resources:
            limits: {memory: 96Mi}
          securityContext: {runAsUser: 101, capabilities: {drop: [ALL]}}
          volumeMounts:
            - {name: site, mountPath: /etc/site, readOnly: true}
            - {name: state, mountPath: /state}
"""
TAIL = """\
      volumes:
        - name: site
          configMap: {name: site}
        - name: state
          emptyDir: {}
"""
RIGHT = f"{HEAD}      containers:\n{WEB}{SIDECAR}{TAIL}"

WEBHOOK = RIGHT.replace("      shareProcessNamespace: true\n", "").replace(
    "{name: PROCESS_NAME, value: web}\n            - {name: PROCESS_CONTAINER,",
    "{name: WEBHOOK_URL, value: 'http://127.0.0.1'}\n            - {name: POD_NAME,",
)
FIELD = "valueFrom: {fieldRef: {fieldPath: metadata.name}}"
STARTUP = "          startupProbe: {httpGet: {path: /healthz, port: 9533}}\n"
HTTP = "httpGet: {path: /healthz, port: 9533}"
ALWAYS = "          restartPolicy: Always\n"
COMPLETING = (
    f"{HEAD.replace('Always', 'OnFailure')}"
    f"      initContainers:\n{SIDECAR}{ALWAYS}{STARTUP}"
    f"      containers:\n{WEB}{TAIL}"
).replace("readinessProbe:", "livenessProbe:")


@dataclass(frozen=True, slots=True)
class Case:
    """`old` becomes `new`: then `code` is found, in a line that has `place`."""

    code: str
    old: str
    new: str
    place: str
    right: str = RIGHT

    def __str__(self) -> str:
        return f"{self.code}: {self.new}".replace("\n", " ")


LAST = "            - {name: STATE_DIR, value: /state}\n"
NETWORK = "hostNetwork: true"
US = "{runAsUser: 101, capabilities: {drop: [ALL]}}"
SITE = "configMap: {name: site}"
SOURCES = f"[{{{SITE}}}, {{serviceAccountToken: {{path: token}}}}]"
REFERENCE = "{configMapKeyRef: {name: site, key: a}}"
SOCKET = "http+unix://%2Frun%2Fweb.sock"
SHARED = "      shareProcessNamespace: true\n      restartPolicy"
# a container that starts again has every key and variable anew
RESTARTED = RIGHT.replace(
    "{name: PROCESS_NAME,",
    "{name: RELOAD_SIGNAL, value: TERM}\n            - {name: PROCESS_NAME,",
).replace("etc/web}", "etc/web, subPath: key}")
ROLLED = (
    RIGHT.replace("      shareProcessNamespace: true\n", "")
    .replace("PROCESS_NAME, value: web", "ROLLOUT, value: deployment/web")
    .replace("PROCESS_CONTAINER, value: web", "POD_ROLLOUT, value: ''")
    .replace("STATE_DIR, value: /state", "POD_NAMESPACE, value: site")
    .replace("etc/web}", "etc/web, subPath: key}")
)
# nobody says which container is meant: each is looked at that may be
NAMING = "            - {name: PROCESS_CONTAINER, value: web}\n"
UNNAMED = RIGHT.replace(NAMING, "")
ELSEWHERE = UNNAMED.replace("{name: site, mountPath: /etc/web}", "{name: state}")
OTHER = WEB.replace("- name: web", "- name: other").replace("/web:1", "/other:1")
PAIR = UNNAMED.replace(WEB, WEB + OTHER.replace("101", "7")).replace(
    "PROCESS_NAME, value: web", "PROCESS_NAME, value: master"
)
BESIDE = OTHER.replace("etc/web}", "etc/web, subPath: a}")
ENDING = COMPLETING.replace(NAMING, "").replace(
    "{name: site, mountPath: /etc/web}", "{name: state}"
)
# the kubelet replaces neither of these: what is mounted by subPath is the same files
EMPTY_DIR = RIGHT.replace(SITE, "emptyDir: {}").replace(
    "etc/web}", "etc/web, subPath: web}"
)
CLAIM = EMPTY_DIR.replace("emptyDir: {}", "persistentVolumeClaim: {}", 1).replace(
    "etc/site, read", "etc/site, subPath: web, read"
)
HOST = RIGHT.replace("shareProcessNamespace", "hostPID").replace(
    US, "{runAsUser: 0, capabilities: {drop: [ALL]}}"
)
HOST = HOST.replace("{runAsUser: 101}", "{runAsUser: 0}")
FORBIDDEN = "{runAsUser: 0, runAsNonRoot: true, capabilities: {drop: [ALL]}}"
NON_ROOT = RIGHT.replace(
    "      restartPolicy",
    "      securityContext: {runAsNonRoot: true}\n      restartPolicy",
)
SECOND = SIDECAR.replace("- name: config-reload", "- name: second").replace(
    "            httpGet: {path: /readyz, port: 9533}", "            exec: {}"
)
# one volume is watched, and of another the program has one key
WHOLE = "{name: other, mountPath: /etc/other}"
KEY = "{name: other, mountPath: /etc/other, subPath: key}"
TWO = RIGHT.replace("/etc/web}", f"/etc/web}}\n            - {WHOLE}").replace(
    TAIL, f"{TAIL}        - name: other\n          secret: {{secretName: other}}\n"
)
NAMED = RIGHT.replace("port: 9533", "port: reload").replace(
    "          readinessProbe",
    "          ports: [{name: reload, containerPort: 9533}]\n          readinessProbe",
)
BY_TCP = COMPLETING.replace(HTTP, "tcpSocket: {port: 9533}")
BY_COMMAND = COMPLETING.replace(HTTP, "exec: {command: [check]}")
WAITING = COMPLETING.replace(STARTUP, STARTUP.replace("healthz", "readyz"))


def told(name: str, value: str) -> str:
    """Return one more variable, after those that are right."""
    return f"{LAST}            - {{name: {name}, value: '{value}'}}\n"


HEALED = TWO.replace(WHOLE, KEY).replace(LAST, told("RELOAD_SIGNAL", "TERM"))
# nobody knows here what is watched
HIDDEN = TWO.replace(WHOLE, KEY).replace(
    "WATCH_DIRS, value: /etc/site", f"WATCH_DIRS, {FIELD}"
)

WRONG = [
    Case("settings-wrong", LAST, told("DEBOUNCE", "soon"), "env:"),
    Case("settings-wrong", "POD_ROLLOUT", "POD", "env:", ROLLED),
    Case("settings-wrong", LAST, told("VERIFY_BODY", "ok"), "env:"),
    Case("settings-wrong", LAST, told("WEBHOOK_CA_FILE", "ca.crt"), "env:"),
    Case("settings-wrong", "value: /etc/site}", "value: '/etc/site,x'}", "env:"),
    Case("settings-odd", LAST, told("WATCH_DIR", "/etc"), "WATCH_DIR,"),
    Case("settings-odd", LAST, told("RETRY_COUNT", "3"), "RETRY_COUNT,"),
    Case("volume-unmounted", "value: /etc/site}", "value: /new}", "WATCH_DIRS"),
    Case("volume-unmounted", LAST, told("WEBHOOK_URL", SOCKET), "WEBHOOK_URL"),
    Case("volume-writable", "readOnly: true", "readOnly: false", "/etc/site"),
    Case("volume-unreadable", SITE, f"{SITE[:-1]}, defaultMode: 0440}}", "/etc/site"),
    Case("sub-path", "readOnly: true", "readOnly: true, subPath: key", "/etc/site"),
    Case("sub-path", "/etc/web}", "/etc/web, subPathExpr: $(KEY)}", "/etc/web"),
    Case("sub-path-beside", WEB, WEB + BESIDE, "subPath: a"),
    Case("sub-path-unwatched", WHOLE, KEY, "subPath: key", TWO),
    Case("immutable", "data: {}", "immutable: true", "/etc/site"),
    Case("env-from", "[]", "[{configMapRef: {name: site}}]", "configMapRef"),
    Case("env-from", "envFrom: []", f"env: [{{valueFrom: {REFERENCE}}}]", REFERENCE),
    Case("token-watched", "value: /etc/site}", f"value: {TOKENS}}}", "WATCH_DIRS"),
    Case("token-watched", SITE, f"projected: {{sources: {SOURCES}}}", "/etc/site"),
    Case("namespace-missing", "shareProcessNamespace: true", "hostIPC: no", " spec:"),
    Case("container-unknown", "- name: web", "- name: app", "PROCESS_CONTAINER"),
    Case("signal-refused", US, "{runAsUser: 102}", "{runAsUser: 102}"),
    Case("signal-refused", US, US.replace("101", "0"), "runAsUser: 0"),
    Case("signal-refused", US, "{}", "securityContext: {}"),
    Case("signal-refused", US, US.replace("101", "8"), "User: 8", ELSEWHERE),
    Case("signal-refused", US, US.replace("101", "8"), "User: 8", PAIR),
    Case("signal-refused", "master", "other", US, PAIR),
    Case("uid-unknown", "{runAsUser: 101}", "{}", US),
    Case("uid-unknown", "{runAsUser: 101}", "{}", US, ELSEWHERE),
    Case("uid-forbidden", US, FORBIDDEN, "runAsUser: 0"),
    Case("uid-forbidden", US, FORBIDDEN, "runAsUser: 0", WEBHOOK),
    Case("uid-forbidden", US, US.replace("101", "0"), "User: 0", NON_ROOT),
    Case("kill-node", "{drop: [ALL]}", "{add: [KILL]}", "KILL", HOST),
    Case("kill-node", ", capabilities: {drop: [ALL]}", "", "runAsUser: 0", HOST),
    Case("kill-in-vain", US, US.replace("]", "], add: [KILL]"), "KILL"),
    Case("kill-root", US, "{runAsUser: 0, capabilities: {add: [CAP_KILL]}}", "KILL"),
    Case("image-latest", "sidecar:dev", "sidecar", "image:"),
    Case("image-latest", "sidecar:dev", "sidecar:latest", "image:"),
    Case("limits-none", "{memory: 96Mi}", "{cpu: 1}", "- name: config-reload"),
    Case("readiness", LAST, told("READY_WHEN", "first-fresh"), "readinessProbe"),
    Case("state-none", "mountPath: /state", "mountPath: /new", "STATE_DIR"),
    Case("state-none", LAST, "", "env:"),
    Case("state-unwritable", "Path: /state", "Path: /state, readOnly: true", "/state"),
    Case("port-taken", "envFrom: []", "ports: [{containerPort: 9533}]", "- name: web"),
    Case("port-taken", WEB, f"{WEB}{SECOND}", "- name: second"),
    Case("port-of-node", "      share", f"      {NETWORK}\n      share", "env:"),
    Case("probe-unserved", LAST, told("HTTP_LISTEN", "off"), "readinessProbe"),
    Case("probe-unserved", LAST, told("HTTP_LISTEN", ":9534"), "readinessProbe"),
    Case("probe-unserved", LAST, told("HTTP_LISTEN", "[::1]:9533"), "readinessProbe"),
    Case("probe-unserved", "port: 9533", "port: reload", "readinessProbe"),
    Case("probe-unserved", HTTP, "tcpSocket: {port: 1}", "startupProbe", COMPLETING),
    Case("rollout-other", "deployment/web", "deployment/api", "ROLLOUT", ROLLED),
    Case("endless", "restartPolicy: Always", "restartPolicy: Never", "- name: config"),
    Case("endless", ALWAYS, "", "- name: config", COMPLETING),
    Case("startup-none", STARTUP, "", "- name: config", COMPLETING),
    Case("state-unwritable", "emptyDir: {}", "configMap: {name: a}", "/state"),
    Case("restart-never", LAST, told("RELOAD_SIGNAL", "TERM"), "TERM", ENDING),
    Case("restart-never", LAST, told("RELOAD_SIGNAL", "TERM"), "TERM", COMPLETING),
    Case(
        "startup-deadlock", LAST, told("READY_WHEN", "first-fresh"), "/readyz", WAITING
    ),
    Case("namespace-needless", "      restartPolicy", SHARED, "shareProcess", WEBHOOK),
]


def found_in(text: str, tmp_path: Path) -> dict[str, str]:
    """Return what `lint` finds: codes, and the text of the lines that it names."""
    file = tmp_path / "manifest.yaml"
    file.write_text(text)
    lines = text.splitlines()
    found = json.loads(call("lint", "--output", "json", file).stdout)
    return {finding["code"]: lines[finding["line"] - 1] for finding in found}


UNKNOWN = RIGHT.replace("PROCESS_NAME, value: web", f"PROCESS_NAME, {FIELD}")
EMPTY = WEBHOOK.replace(LAST, told("PROCESS_NAME", ""))


RIGHTS = (
    RIGHT,
    WEBHOOK,
    COMPLETING,
    WAITING,
    UNKNOWN,
    EMPTY,
    RESTARTED,
    ROLLED,
    ELSEWHERE,
    PAIR,
    EMPTY_DIR,
    CLAIM,
    HOST,
    NON_ROOT,
    NAMED,
    BY_TCP,
    BY_COMMAND,
    TWO,
    HEALED,
    HIDDEN,
)


@pytest.mark.parametrize("right", RIGHTS)
def test_lint_finds_nothing_wrong_with_what_is_right(
    right: str, tmp_path: Path
) -> None:
    """Or nobody would believe it about the others."""
    assert {} == found_in(right, tmp_path)


@pytest.mark.parametrize("case", WRONG, ids=str)
def test_lint_finds_what_is_wrong_and_where(case: Case, tmp_path: Path) -> None:
    """One thing is wrong, and one is found."""
    assert 1 == case.right.count(case.old)
    found = found_in(case.right.replace(case.old, case.new), tmp_path)

    assert [case.code] == list(found)
    assert case.place in found[case.code]


def test_an_immutable_object_of_another_namespace_is_another_one(
    tmp_path: Path,
) -> None:
    """A whole cluster's manifests have many of one name."""
    fixed = RIGHT.replace("data: {}", "immutable: true")
    there = fixed.replace(
        "metadata: {name: site}", "metadata: {name: site, namespace: a}"
    )
    both = there.replace("metadata: {name: web}", "metadata: {name: web, namespace: a}")

    assert ["immutable"] == list(found_in(fixed, tmp_path))
    assert [] == list(found_in(there, tmp_path))
    assert ["immutable"] == list(found_in(both, tmp_path))


def test_every_rule_is_broken_once() -> None:
    """A rule that is never seen to speak may be mute."""
    codes = re.findall(r'Flaw\(\s*"([a-z-]+)"', Path(rules.__file__).read_text())

    assert set(codes) == {case.code for case in WRONG}
