"""What people and pipelines hand in by mistake."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command import call, run
from tests.unit.test_documentation import ROOT

CHARTS = Path(__file__).parent / "charts"
WEB = (CHARTS / "tokens.yaml").read_text()
BROKEN = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  labels: {a: b\nspec:\n"


def test_broken_yaml_is_refused_with_its_line(tmp_path: Path) -> None:
    """In a stream of a thousand lines, the line is all that helps."""
    file = tmp_path / "web.yaml"
    file.write_text(f"{WEB}---\n{BROKEN}")
    line = WEB.count("\n") + 1 + BROKEN.count("\n")

    for command in (["inject", "--signal", "agent"], ["lint"]):
        result = call(*command, file)
        told = result.stderr if command[0] == "inject" else result.stdout
        assert 1 == result.status
        assert f"{file}:{line}: problem manifest-broken: not YAML: " in told


def test_inject_writes_nothing_if_anything_is_refused(tmp_path: Path) -> None:
    """`kubectl apply` would take half a stream for the whole."""
    (tmp_path / "a.yaml").write_text(WEB)
    (tmp_path / "b.yaml").write_text(BROKEN)
    result = call("inject", "--signal", "agent", tmp_path)

    assert (1, "") == (result.status, result.stdout)


@pytest.mark.parametrize("command", ["lint", "inject --preset nginx"])
def test_who_is_asked_at_a_terminal_learns_it(command: str) -> None:
    """A command that waits in silence looks like one that hangs."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "sidecar", *command.split()],
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        os.close(theirs)
        assert process.stderr
        first = process.stderr.readline()
        os.write(ours, b"\x04")
        process.wait(30)
    os.close(ours)

    assert "waiting for manifests: type them and Ctrl-D, or name files\n" == first


@pytest.mark.parametrize("command", [["lint"], ["inject", "--signal", "agent"]])
def test_who_can_not_be_told_is_no_crash(command: list[str]) -> None:
    """A full disk, a reader that went away, and streams that are closed."""
    web = str(CHARTS / "by-hand.yaml")
    shell = f"{sys.executable} -m sidecar {' '.join(command)}"
    lines = {
        f"{shell} {web} >/dev/full": "stdout can't be written: No space left on device",
        f"{shell} {web} >&-": "stdout can't be written: Bad file descriptor",
        f"{shell} <&-": "stdin:1: problem manifest-broken: can't be read",
    }
    for line, reason in lines.items():
        done = subprocess.run(
            ["sh", "-c", line], check=False, capture_output=True, text=True
        )
        assert (1, True) == (done.returncode, reason in done.stdout + done.stderr)
        assert "Traceback" not in done.stderr


def test_every_broken_document_is_named_at_once(tmp_path: Path) -> None:
    """To mend one and meet the next is a bad afternoon."""
    file = tmp_path / "web.yaml"
    file.write_text(f"{BROKEN}---\n{WEB}---\n{BROKEN}")

    assert 2 == call("lint", file).stdout.count("manifest-broken")


def test_a_template_that_helm_has_not_rendered_is_called_one(tmp_path: Path) -> None:
    """A chart's folder is the first thing that people try."""
    file = tmp_path / "deployment.yaml"
    file.write_text("metadata:\n  name: {{ .Release.Name }}\n  labels:\n{{- x }}\n")

    assert "render templates first, with `helm template`" in call("lint", file).stdout


ROWS = range(1, 5000)
NO_MANIFESTS = {
    "nothing": (b"", "no manifest in it"),
    "comments": (b"# nothing\n---\n# here\n", "no manifest in it"),
    "binary": (b"\x7fELF\x02\x01\x01\x00\x00\xff\xfe", "not UTF-8"),
    "UTF-16": ("kind: Pod\n".encode("utf-16"), "not UTF-8"),
    "control": (b"kind: Pod\nname: \x07\n", "stdin:2: problem manifest-broken"),
    "tabs": (b"kind: Pod\nspec:\n\ta: b\n", "stdin:3: problem manifest-broken"),
    "alias": (b"kind: Pod\nspec: *none\n", "no anchor &none stands before its alias"),
    "itself": (b"kind: Pod\nspec: &a [*a]\n", "no anchor &a stands before its alias"),
    "depth": (b"[" * 5000, "nested deeper than 100 levels"),
    "aliases": (
        b"a0: &a0 []\n" + b"".join(b"a%d: &a%d [*a%d]\n" % (n, n, n - 1) for n in ROWS),
        "stdin:101: problem manifest-broken: not YAML: nested deeper than 100 levels",
    ),
}


@pytest.mark.parametrize("name", NO_MANIFESTS)
def test_what_is_no_manifest_is_refused_with_the_reason(name: str) -> None:
    """A pipeline whose first half failed hands over anything."""
    stdin, reason = NO_MANIFESTS[name]
    result = run("inject", "--preset", "nginx", stdin=stdin)

    assert (1, "") == (result.status, result.stdout)
    assert reason in result.stderr
    assert "Traceback" not in result.stderr


def nested(name: str, first: str, each: str) -> str:
    """Return 40 levels, each with two of the one below."""
    text = f"{name}0: &{name}0 {first}\n"
    for level in range(1, 41):
        two = ", ".join([f"*{name}{level - 1}"] * 2)
        text += f"{name}{level}: &{name}{level} {each.format(two)}\n"
    return text


ALIASES = {
    "two volumes": (nested("a", "x", "[{}]"), nested("b", "x", "[{}]")),
    "merged lists": (nested("a", "{x: y}", "[{}]"), "b40: &b40 {<<: *a40}\n"),
}


@pytest.mark.parametrize("name", ALIASES)
def test_aliases_of_aliases_take_no_time(name: str) -> None:
    """They make a billion billions, if each is written out or compared."""
    head = "".join(ALIASES[name])
    odd = "        - {name: a, odd: *a40}\n        - {name: b, odd: *b40}\n"
    text = f"{head}{WEB}{odd}"
    begins, _, volumes = text.partition("      volumes:\n")
    # merged, and asked for what is not there
    text = f"{begins}      <<: [*a40, *b40]\n      volumes:\n{volumes}"

    assert 0 == run("inject", "--signal", "agent", stdin=text).status


def test_lists_of_lists_by_aliases_take_no_time() -> None:
    """What stands in a List twice is one object."""
    level = "{{apiVersion: v1, kind: List, items: [{}]}}"
    objects = nested("a", "{apiVersion: v1, kind: Pod}", level)
    text = f"{objects}apiVersion: v1\nkind: List\nitems: [*a40]\n"
    result = run("lint", stdin=text)

    assert "1 pod template, 0 with the sidecar" in result.stderr


MERGES = {
    "one of another": nested("a", "{x: y}", "{{<<: [{}]}}"),
    "all of one": "a: &a\n" + "  k: 1\n" * 2000 + "b:\n" + "- {<<: *a}\n" * 2000,
}


@pytest.mark.parametrize("name", MERGES)
def test_what_is_merged_has_a_bound(name: str) -> None:
    """A merged key is copied: a megabyte could fill the machine's memory."""
    result = run("inject", "--signal", "agent", stdin=f"{MERGES[name]}{WEB}")

    assert (1, "") == (result.status, result.stdout)
    assert "merge keys bring in over 1,000,000 keys" in result.stderr


def test_five_megabytes_come_through_unchanged_but_for_the_sidecar() -> None:
    """A whole cluster's objects; most kinds are none of ours."""
    data = "    some text\n" * 60_000
    other = f"apiVersion: v1\nkind: ConfigMap\ndata:\n  a: |\n{data}"
    text = "---\n".join([*[other] * 6, WEB])
    result = run("inject", "--signal", "agent", stdin=text)
    sidecar = run("inject", "--signal", "agent", stdin=WEB).stdout

    assert 5_000_000 < len(text)
    assert text.removesuffix(WEB) + sidecar == result.stdout


ITEM = """\
- apiVersion: v1
  kind: Secret
  metadata: &m{0} {{name: s{0}, labels: &l{0} {{app: *n{1}}}}}
  type: &n{0} Opaque
"""
FIVE_MEGABYTES = {
    "documents": f"---\n{WEB}" * 8_000,
    "ends": "# some text\n...\n" * 320_000,
    "anchors": "---\napiVersion: v1\nkind: List\nitems: [&n-1 x]\nmore:\n"
    + "".join(ITEM.format(number, number - 1) for number in range(40_000)),
}


@pytest.mark.parametrize("name", FIVE_MEGABYTES)
def test_five_megabytes_of_whatever_take_seconds(name: str) -> None:
    """Each of these took longer with its square, or was read several times."""
    text = FIVE_MEGABYTES[name]
    result = run("lint", stdin=f"{text}---\n{WEB}")

    assert (0, "") == (result.status, result.stdout)
    assert "0 with the sidecar" in result.stderr


@pytest.mark.parametrize("change", ["\r\n", "\ufeff", "no newline"])
def test_marks_of_other_systems_stay(change: str) -> None:
    """Windows' line ends and byte order marks, and a last line without an end."""
    text = WEB.replace("\n", "\r\n") if change == "\r\n" else WEB
    text = f"\ufeff{text}" if change == "\ufeff" else text
    text = text.rstrip() if change == "no newline" else text
    result = run("inject", "--signal", "agent", stdin=text)

    assert 0 == result.status
    assert result.stdout.count("\n") == result.stdout.count(
        "\r\n" if change == "\r\n" else "\n"
    )
    assert text == run("inject", "--remove", stdin=result.stdout).stdout


def test_files_and_folders_become_one_stream(tmp_path: Path) -> None:
    """Each file on its own need not say where its documents begin and end."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.yaml").write_text(WEB.rstrip())
    (tmp_path / "sub" / "b.yml").write_text("apiVersion: v1\nkind: Secret\n")
    (tmp_path / "sub" / "README.md").write_text("no manifest\n")
    last = tmp_path / "last.txt"
    last.write_text("# said first\n---\napiVersion: v1\nkind: Secret\n")
    result = call("inject", "--signal", "agent", tmp_path / "a.yaml", tmp_path, last)
    documents = result.stdout.split("---\n")

    assert ["Deployment", "Deployment", "Secret", "Secret"] == [
        text.partition("kind: ")[2].partition("\n")[0] for text in documents
    ]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "say how the program is told"),
        (["--preset", "nginx", "--env", "DEBOUNCE"], "'DEBOUNCE' is not NAME=VALUE"),
        (["--remove", "--signal", "nginx"], "--remove takes the sidecar out"),
    ],
)
def test_wrong_options_say_what_is_accepted(arguments: list[str], reason: str) -> None:
    """As everywhere: status 2, and no manifest is read."""
    result = run("inject", *arguments, stdin=WEB)

    assert (2, "") == (result.status, result.stdout)
    assert reason in result.stderr


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--preset", "ngnix"], "PRESET='ngnix': unknown (nearest: nginx)"),
        (["--signal", "agent", "--only", "web"], "there are: deployment/agent"),
        (["--signal", "agent", "--container", "web"], "the pod has agent"),
        (["--signal", "agent", "--volume", "web"], "mounts no volume named web"),
        (["--webhook", "localhost/reload"], "WEBHOOK_URL='localhost/reload'"),
        (["--webhook", "http://[a/-/reload"], "WEBHOOK_URL='http://[a/-/reload'"),
        (["--webhook", "http+unix://[/reload"], "WEBHOOK_URL='http+unix://[/reload'"),
        (["missing.yaml", "--signal", "a"], "missing.yaml:1: problem manifest-broken"),
    ],
)
def test_what_is_named_and_not_there_is_said(arguments: list[str], reason: str) -> None:
    """With what is there instead."""
    result = run("inject", *arguments, stdin=WEB)

    assert (1, "") == (result.status, result.stdout)
    assert reason in result.stderr


PORT = "          ports: [{containerPort: 9533}]\n"
CLOSED = WEB.replace(
    "          projected:\n", "          projected:\n            defaultMode: 0400\n"
)
ANYBODY = WEB.replace("          securityContext: {runAsUser: 1000}\n", "")
STATE = "        - {name: config-reload-state, configMap: {name: a}}\n"
VIOLATING = {
    "port-taken": (
        WEB.replace("          volumeMounts", f"{PORT}          volumeMounts"),
        [],
    ),
    "volume-unreadable": (CLOSED, []),
    "kill-node": (
        ANYBODY.replace("      containers", "      hostPID: true\n      containers"),
        [],
    ),
    "volume-taken": (f"{WEB}{STATE}", []),
    "volume-unmounted": (WEB, ["--env", "WATCH_DIRS=/elsewhere"]),
    "rollout-other": (WEB, ["--env", "ROLLOUT=deployment/web"]),
}


@pytest.mark.parametrize("code", VIOLATING)
def test_inject_writes_no_pod_that_lint_calls_wrong(code: str, tmp_path: Path) -> None:
    """Or the pipeline's next step would refuse what this one made."""
    text, options = VIOLATING[code]
    file = tmp_path / "web.yaml"
    file.write_text(text)
    result = call("inject", "--signal", "agent", *options, file)

    assert (1, "") == (result.status, result.stdout)
    assert [code] == re.findall(r": problem ([a-z-]+): deployment/agent", result.stderr)


@pytest.mark.parametrize("watched", ["WATCH_DIRS", "CONFIG_DIR"])
@pytest.mark.parametrize("target", ["WEBHOOK_URL", "ROLLOUT", "PID_FILE"])
def test_who_was_added_by_hand_stays_as_it_is(watched: str, target: str) -> None:
    """Under whatever name and image; a second one would do everything twice."""
    env = f"[{{name: {watched}, value: /etc/agent}}, {{name: {target}, value: a}}]"
    own = f"        - {{name: reloader, image: 'registry.example/r:1', env: {env}}}\n"
    text = WEB.replace("      volumes:\n", f"{own}      volumes:\n")
    result = run("inject", "--signal", "agent", stdin=text)

    assert (0, text) == (result.status, result.stdout)
    assert "container reloader is the sidecar already" in result.stderr


def test_a_program_that_looks_like_a_sidecar_gets_one_if_it_is_named() -> None:
    """Or its user would be told of a sidecar, and have none."""
    env = "[{name: CONFIG_DIR, value: conf}, {name: WEBHOOK_URL, value: chat}]"
    text = WEB.replace(
        "          volumeMounts", f"          env: {env}\n          volumeMounts"
    )
    unnamed = run("inject", "--signal", "agent", stdin=text)
    named = ["inject", "--signal", "agent", "--container", "agent"]
    result = run(*named, stdin=text)

    assert (text, True) == (unnamed.stdout, "--container" in unnamed.stderr)
    assert (0, "") == (result.status, result.stderr)
    assert "name: config-reload\n" in result.stdout
    assert result.stdout == run(*named, stdin=result.stdout).stdout


def test_remove_takes_nobody_out_who_only_looks_like_a_sidecar() -> None:
    """Many programs have a CONFIG_DIR, and some a WEBHOOK_URL of their own."""
    env = "[{name: CONFIG_DIR, value: conf}, {name: WEBHOOK_URL, value: chat}]"
    text = WEB.replace(
        "          volumeMounts", f"          env: {env}\n          volumeMounts"
    )
    own = "        - {name: config-reload, image: a}\n"
    both = text.replace("      volumes:\n", f"{own}      volumes:\n")
    for given in (text, both):
        result = run("inject", "--remove", stdin=given)
        assert (0, text) == (result.status, result.stdout)


def test_what_can_not_be_changed_alone_is_refused() -> None:
    """Keys may be written with `?`; then what is read again says something else."""
    keys = (
        "  ? containers\n  :\n  - ? name\n    : app\n    image: registry.example/a:1\n"
    )
    mounts = "    volumeMounts: [{name: c, mountPath: /c}]\n"
    volumes = "  volumes: [{name: c, configMap: {name: c}}]\n"
    text = f"apiVersion: v1\nkind: Pod\nspec:\n{keys}{mounts}{volumes}"
    result = run("inject", "--webhook", "http://127.0.0.1", "--native", stdin=text)

    assert (1, "") == (result.status, result.stdout)
    assert "can't be changed without changing more" in result.stderr


@pytest.mark.parametrize(
    "spec",
    ["", "spec: text", "spec: {containers: text}", "spec: {containers: [a, 1, null]}"],
)
def test_a_pod_of_the_wrong_shape_is_refused_in_words(spec: str) -> None:
    """The API server would say the same, much later."""
    result = run(
        "inject", "--signal", "a", stdin=f"apiVersion: v1\nkind: Pod\n{spec}\n"
    )

    assert 1 == result.status
    assert "Traceback" not in result.stderr


def test_who_lacks_the_libraries_is_told_the_command_of_the_readme() -> None:
    """It must work where it is read: the package is installed from a checkout."""
    done = subprocess.run(
        [sys.executable, "-S", "-m", "sidecar", "lint"],  # -S: only Python's own
        capture_output=True,
        check=False,
        text=True,
        timeout=90,
    )
    command = "pip install '.[cli]'"

    assert (2, "") == (done.returncode, done.stdout)
    assert f"{command} in a checkout\n" in done.stderr
    assert f"$ {command} " in (ROOT / "README.md").read_text()


def test_a_sidecar_under_another_name_is_said_to_be_taken_out_by_hand() -> None:
    """It may be the program, so it stays; but in silence it would stay unseen."""
    text = (CHARTS / "by-hand.yaml").read_text().replace("config-reload-sidecar", "own")
    removed = run("inject", "--remove", stdin=text)
    added = run("inject", "--preset", "nginx", stdin=text)

    assert (0, text) == (removed.status, removed.stdout)
    assert "warning sidecar-unnamed: " in removed.stderr
    assert "container reloader looks like the sidecar" in removed.stderr
    assert "→ take it out by hand, " in removed.stderr
    assert "→ take it out by hand; " in added.stderr
