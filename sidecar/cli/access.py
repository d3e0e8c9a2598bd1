"""How to reach the cluster: the kubeconfig, as kubectl finds it, or a pod's account.

lightkube reads it and makes the HTTP client with its certificates and tokens.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import yaml
from lightkube.config.client_adapter import Client, ConnectionParams
from lightkube.config.kubeconfig import SERVICE_ACCOUNT, KubeConfig, SingleConfig
from lightkube.config.models import User
from lightkube.core.exceptions import ConfigError

from .failure import AccessError
from .plugin import PATIENCE, Credentials, Plugin, PluginAuth

Document = dict[str, Any]  # a kubeconfig, or a part of one, as YAML shapes it

_HOME = ".kube/config"

_SECTIONS = {"clusters": "cluster", "contexts": "context", "users": "user"}
"""What a kubeconfig lists, and where each item has its content."""

_FILES = ("certificate-authority", "client-certificate", "client-key", "tokenFile")

_UNKNOWN = {
    "clusters": ("proxy-url", "tls-server-name"),
    "users": ("as", "as-uid", "as-groups", "as-user-extra"),
}
"""What lightkube leaves out without a word."""


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
    plugin = Plugin(user.exec, user.exec.command, env, patience)
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
    merged = _merged(map(_document, files))
    config = KubeConfig.from_dict(merged)
    name = context or config.current_context
    if not name:
        raise AccessError(
            "the kubeconfig names no current context: choose one with --context or"
            " `kubectl config use-context`"
        )
    if name not in config.contexts:
        known = ", ".join(sorted(config.contexts))
        raise AccessError(f"the kubeconfig has no context {name!r}; it has: {known}")
    chosen = _required(config, name)
    _refuse_unknown(merged, chosen)
    return chosen


def _refuse_unknown(merged: Document, chosen: SingleConfig) -> None:
    """Refuse what would be left out, and have requests made as somebody else.

    Raises:
        AccessError: with every such field.
    """
    names = {"clusters": chosen.context.cluster, "users": chosen.context.user}
    problems = [
        f"{_SECTIONS[section]} {item['name']!r} of the kubeconfig has `{field}`, which"
        " is not supported: choose a context without it (--context)"
        for section, fields in _UNKNOWN.items()
        for item in merged[section]
        for field in fields
        if item["name"] == names[section] and item[_SECTIONS[section]].get(field)
    ]
    if problems:
        raise AccessError("\n".join(problems))


def _merged(documents: Iterable[Document]) -> Document:
    """Make one of all, as kubectl does: of two of one name the first counts."""
    merged: Document = {"current-context": ""}
    found: dict[str, dict[str, Document]] = {section: {} for section in _SECTIONS}
    for document in documents:
        merged["current-context"] = (
            merged["current-context"] or document.get("current-context") or ""
        )
        for section, by_name in found.items():
            for item in document.get(section) or []:
                by_name.setdefault(item["name"], item)
    return merged | {section: list(items.values()) for section, items in found.items()}


def _document(file: Path) -> Document:
    """Read one file; what it names relative to itself gets its whole path."""
    document = yaml.safe_load(file.read_bytes())
    if not isinstance(document, dict):
        raise AccessError(f"{file} is no kubeconfig: `kubectl config view` shows one")
    folder = file.parent.absolute()
    for section, key in _SECTIONS.items():
        for item in document.get(section) or []:
            item[key] = _located(dict(item[key] or {}), folder)
    return document


def _located(entry: Document, folder: Path) -> Document:
    for field in _FILES:
        if entry.get(field):
            entry[field] = str(folder / entry[field])
    command = entry.get("exec") and entry["exec"]["command"]
    if command and os.sep in command:
        entry["exec"]["command"] = str(folder / command)
    return entry


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
