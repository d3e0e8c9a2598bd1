"""How to reach the cluster: the kubeconfig, as kubectl finds it, or a pod's account.

lightkube reads it and makes the HTTP client: certificates, tokens, and the programs
that fetch one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx2
import msgspec
import yaml
from lightkube.config.client_adapter import Client, ConnectionParams
from lightkube.config.kubeconfig import SERVICE_ACCOUNT, KubeConfig, SingleConfig
from lightkube.config.models import NameValue, User
from lightkube.core.exceptions import ConfigError

from sidecar.errors import SidecarError

_EXEC = "client.authentication.k8s.io"
_HOME = ".kube/config"


class AccessError(SidecarError):
    """The command can't do its work with what it was given; the message mends it."""


@dataclass(frozen=True, slots=True)
class Access:
    """A way to one cluster."""

    http: httpx2.Client
    context: str
    server: str
    namespace: str
    """That the context names, if the command line does not."""


def connect(
    env: Mapping[str, str],
    context: str | None = None,
    account: str = SERVICE_ACCOUNT,
) -> Access:
    """Make a client; nothing is asked yet.

    `account` is the directory of the pod's ServiceAccount.

    Raises:
        AccessError: there is no usable kubeconfig.
    """
    try:
        config = _chosen(env, context, account)
        user = _with_current_protocol(config.user or User())
        config = config._replace(user=user)
        client = Client(config, ConnectionParams())
    except (ConfigError, yaml.YAMLError, msgspec.ValidationError, ValueError) as error:
        raise AccessError(f"the kubeconfig can't be used: {error}") from error
    except (KeyError, TypeError) as error:
        raise AccessError(
            f"the kubeconfig is not whole ({error}): each context needs its cluster and"
            " its user; `kubectl config view` shows it"
        ) from error
    except OSError as error:
        raise AccessError(
            f"the kubeconfig or a file that it names can't be read: {error}"
        ) from error
    return Access(client, config.context_name, config.cluster.server, config.namespace)


def _chosen(env: Mapping[str, str], context: str | None, account: str) -> SingleConfig:
    files = _files(env)
    if not files:
        if not context and env.get("KUBERNETES_SERVICE_HOST"):
            return _required(KubeConfig.from_service_account(account), None)
        raise AccessError(
            f"there is no kubeconfig: set KUBECONFIG to one, or put it at ~/{_HOME};"
            " in a pod, mount a ServiceAccount's token"
        )
    configs = [KubeConfig.from_dict(_document(file), file) for file in files]
    name = context or next(
        (c.current_context for c in configs if c.current_context), ""
    )
    if not name:
        raise AccessError(
            "the kubeconfig names no current context: choose one with --context or"
            " `kubectl config use-context`"
        )
    for config in configs:
        if name in config.contexts:
            return _required(config, name)
    known = sorted({known for config in configs for known in config.contexts})
    raise AccessError(
        f"the kubeconfig has no context {name!r}; it has: {', '.join(known)}"
    )


def _document(file: Path) -> dict[str, object]:
    document = yaml.safe_load(file.read_bytes())
    if not isinstance(document, dict):
        raise AccessError(f"{file} is no kubeconfig: `kubectl config view` shows one")
    return document


def _required(config: KubeConfig, context: str | None) -> SingleConfig:
    chosen = config.get(context)
    if chosen is None:
        raise AccessError("the kubeconfig names no current context")
    return chosen


def _files(env: Mapping[str, str]) -> list[Path]:
    """Return the files of KUBECONFIG, which is a list, or the one in the home."""
    named = [name for name in env.get("KUBECONFIG", "").split(os.pathsep) if name]
    at_home = Path(env.get("HOME", "/"), _HOME)
    files = [Path(name) for name in named] or [at_home]
    found = [file for file in files if file.exists()]
    if named and not found:
        raise AccessError(
            f"KUBECONFIG={env['KUBECONFIG']!r}: there is no such file; name one that"
            " exists"
        )
    return found


def _with_current_protocol(user: User) -> User:
    """Let lightkube run a credential program that speaks the protocol's v1.

    It knows v1beta1, from which v1 differs in this: the program is always told of it.
    """
    command = user.exec
    if command is None or command.apiVersion != f"{_EXEC}/v1":
        return user
    spoken = {"apiVersion": f"{_EXEC}/v1", "kind": "ExecCredential"}
    told = NameValue(
        "KUBERNETES_EXEC_INFO", json.dumps(spoken | {"spec": {"interactive": False}})
    )
    current = msgspec.structs.replace(
        command, apiVersion=f"{_EXEC}/v1beta1", env=[*(command.env or []), told]
    )
    return msgspec.structs.replace(user, exec=current)
