"""The image as `make image` left it in the store of podman or docker."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest

import sidecar
from tests.sidecar_process import CHECKOUT

IMAGE = os.environ.get("IMAGE", "localhost/config-reload-sidecar:dev")
TOOL = os.environ.get("CONTAINERS", "podman")
DOCKERFILE = (CHECKOUT / "Dockerfile").read_text()
BASE = re.findall(r"^FROM (\S+)$", DOCKERFILE, re.MULTILINE)[-1]
MEBI = 1 << 20

# The names of everything that can be imported from outside the standard library.
INSTALLED = """
import importlib.metadata as m
print(*sorted(d.name.lower().replace("_", "-") for d in m.distributions()))
"""
HEAVY = {"email", "hashlib", "html", "httpx", "http.client", "http.server", "ruamel"}
# What is imported without cached bytecode, and so would be compiled at every start; the
# interpreter has some modules within itself.
UNCOMPILED = """
import importlib, os, pkgutil, sys
import httpx, sidecar
for found in pkgutil.walk_packages(sidecar.__path__, "sidecar."):
    importlib.import_module(found.name)
# the CAs are the base's affair
httpx.Client(verify=False).close()
for name, module in sorted(sys.modules.items()):
    spec = module.__spec__
    if spec and spec.has_location and (spec.origin or "").endswith(".py"):
        if not os.path.exists(importlib.util.cache_from_source(spec.origin)):
            print(name)
"""


def inspect(image: str) -> dict[str, Any]:  # any JSON, as both tools shape it
    """Return what the tool knows of an image."""
    output = subprocess.check_output([TOOL, "image", "inspect", image])
    document: dict[str, Any] = json.loads(output)[0]
    return document


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a container as a pod would: read-only, without capabilities or network."""
    hardened = ("--read-only", "--cap-drop=all", "--network=none")
    return subprocess.run(
        [TOOL, "run", "--rm", *hardened, *command],
        check=False,
        capture_output=True,
        text=True,
    )


def python(script: str) -> str:
    """Return what a script prints in the image."""
    flags = ("-OO", "-I", "-c", script)
    result = run("--entrypoint=/usr/bin/python3.13", IMAGE, *flags)
    assert not result.returncode, result.stderr
    return result.stdout


def test_the_labels_say_what_it_is() -> None:
    """Registries, scanners and people read them."""
    labels = inspect(IMAGE)["Config"]["Labels"]
    prefix = "org.opencontainers.image."
    found = {
        name.removeprefix(prefix): text
        for name, text in labels.items()
        if name.startswith(prefix)
    }
    revision = found.pop("revision")

    assert {
        "title": "config-reload-sidecar",
        "description": "Tells the program in your pod that its mounted ConfigMap or"
        " Secret changed",
        "version": sidecar.__version__,
        "licenses": "Apache-2.0",
        "base.name": BASE,
    } == found
    assert re.fullmatch("[0-9a-f]{40}|unknown", revision)


def test_it_runs_as_nobody_and_starts_without_a_shell() -> None:
    """A numeric uid, so that the kubelet can check `runAsNonRoot`."""
    config = inspect(IMAGE)["Config"]

    assert "65532:65532" == config["User"]
    assert ["/usr/bin/python3.13", "-OO", "-I", "-m", "sidecar"] == config["Entrypoint"]
    assert not config.get("Cmd")


def test_it_adds_little_to_its_base(capsys: pytest.CaptureFixture[str]) -> None:
    """Every node pulls it."""
    size, base = inspect(IMAGE)["Size"] / MEBI, inspect(BASE)["Size"] / MEBI
    with capsys.disabled():
        sys.stdout.write(f"\nimage: {size:.1f} MiB, of which the base has {base:.1f}\n")

    assert size - base < 20


def test_it_holds_what_the_lock_names_and_nothing_else() -> None:
    """No tool of the build, no test, no package of the commands for people."""
    lock = (CHECKOUT / "requirements.lock").read_text()
    locked = sorted(re.findall(r"^([a-z0-9-]+)==", lock, re.MULTILINE))

    assert locked == python(INSTALLED).split()


def test_it_has_no_shell() -> None:
    """What is not there can't be used by who got in."""
    shells = ("sh", "bash", "dash", "busybox")
    script = f"import shutil; print(*filter(shutil.which, {shells!r}))"

    assert [] == python(script).split()


def test_everything_it_imports_was_compiled_when_it_was_built() -> None:
    """Its file system is read-only: what is compiled at a start is never kept."""
    assert [] == python(UNCOMPILED).split()


def test_who_only_signals_loads_no_second_library_of_each_kind() -> None:
    """OpenSSL's hashes take 2 MiB, http.server with email and html 1, in every pod."""
    script = f"import sys, sidecar.command; print(*{HEAVY!r} & sys.modules.keys())"

    assert [] == python(script).split()


def test_it_says_what_is_missing_and_exits_with_two() -> None:
    """The first thing that most people see of it."""
    result = run(IMAGE)

    assert 2 == result.returncode
    assert "WATCH_DIRS is not set" in result.stderr


def test_two_builds_make_the_same_layers() -> None:
    """Who builds a release again can see that it is what was published."""
    again, arguments = f"{IMAGE}-again", os.environ.get("BUILD_ARGS", "")
    subprocess.run(
        ["make", "image", f"IMAGE={again}", f"BUILD_ARGS={arguments} --no-cache"],
        check=True,
        cwd=CHECKOUT,
        stdout=subprocess.DEVNULL,
    )
    try:
        assert inspect(IMAGE)["RootFS"] == inspect(again)["RootFS"]
    finally:
        subprocess.run([TOOL, "image", "rm", again], check=False)
