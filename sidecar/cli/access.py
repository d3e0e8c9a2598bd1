"""How to reach the cluster: the kubeconfig, as kubectl finds it, or a pod's account.

lightkube reads it and makes the HTTP client with its certificates and tokens.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx2
import msgspec
import yaml
from lightkube.config.client_adapter import Client, ConnectionParams
from lightkube.config.kubeconfig import SERVICE_ACCOUNT, KubeConfig, SingleConfig
from lightkube.config.models import User
from lightkube.core.exceptions import ConfigError

from .failure import AccessError
from .plugin import PATIENCE, Credentials, Plugin, PluginAuth

_HOME = ".kube/config"


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
    patience: float = PATIENCE,
) -> Access:
    """Make a client; the server is not asked anything yet.

    `account` is the directory of the pod's ServiceAccount, `patience` how many seconds
    a program that fetches credentials may take.

    Raises:
        AccessError: there is no usable kubeconfig, or there are no credentials.
    """
    try:
        config = _chosen(env, context, account)
        client = _client(config, env, patience)
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


def _client(
    config: SingleConfig, env: Mapping[str, str], patience: float
) -> httpx2.Client:
    user = config.user or User()
    if user.token or user.token_file:
        return Client(config, ConnectionParams())
    if user.exec is None:
        if user.auth_provider and not user.username:
            raise _given_up(config.context_name, user.auth_provider.get("name"))
        return Client(config._replace(user=user), ConnectionParams())
    command = user.exec.command
    if os.sep in command:
        command = str(config.abs_file(command))
    plugin = Plugin(user.exec, command, env, patience)
    found = plugin.fetch()
    user = _with_certificate(user, found)
    client = Client(config._replace(user=user), ConnectionParams())
    if found.token:
        client.auth = PluginAuth(plugin.fetch, found.token)
    return client


def _given_up(context: str, provider: object) -> AccessError:
    return AccessError(
        f"the user of context {context!r} logs in by auth-provider {provider!r}, which"
        " Kubernetes has given up: let the provider's own program write the kubeconfig"
        " again, with `exec` in it"
    )


def _with_certificate(user: User, found: Credentials) -> User:
    """Leave nothing for lightkube to run."""
    if found.certificate is None:
        return msgspec.structs.replace(user, exec=None)
    certificate, key = found.certificate
    return msgspec.structs.replace(
        user, exec=None, client_cert_data=certificate, client_key_data=key
    )


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
