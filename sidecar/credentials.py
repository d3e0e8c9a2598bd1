"""The Authorization header, from files that are read again for every request."""

from __future__ import annotations

import base64
import errno
import re
from pathlib import Path
from typing import Final

from .errors import ReloadError
from .files import read_regular
from .settings import RequestSettings

_LIMIT: Final = 64 * 1024


def authorization(settings: RequestSettings, user_info: str | None) -> str | None:
    """Return the header's value; a file goes before what the URL says.

    Raises:
        ReloadError: a file cannot be read, or holds nothing that can be sent.
    """
    if settings.bearer_token_file is not None:
        path = settings.bearer_token_file
        return f"Bearer {_token(f'{settings.bearer_name}={path}', path)}"
    if settings.basic_auth_file is not None:
        user_info = _user_and_password(settings.basic_auth_file)
    if user_info is None:
        return None
    sent = base64.b64encode(user_info.encode(errors="surrogateescape"))
    return f"Basic {sent.decode()}"


def _token(name: str, path: Path) -> str:
    token = _text(name, path)
    if not re.fullmatch(r"[!-~]+", token):
        hint = "put the token alone into the file: one line, no spaces, no `Bearer`"
        raise _unusable(name, "this is no token", hint)
    return token


def _user_and_password(path: Path) -> str:
    name = f"WEBHOOK_BASIC_AUTH_FILE={path}"
    text = _text(name, path)
    if ":" not in text:
        hint = "put user:password on one line into the file"
        raise _unusable(name, "there is no colon in it", hint)
    return text


def _text(name: str, path: Path) -> str:
    try:
        text = _content(name, path).rstrip(b"\r\n").decode()
    except UnicodeDecodeError as error:
        hint = "write the file as UTF-8"
        raise _unusable(name, "this is not UTF-8", hint) from error
    if not text:
        hint = "check that the Secret's key is not empty and the right one is mounted"
        raise _unusable(name, "the file is empty", hint)
    if re.search(r"[\x00-\x1f\x7f-\x9f]", text):
        hint = "put one line of text into the file"
        raise _unusable(name, "it has control characters", hint)
    return text


def _content(name: str, path: Path) -> bytes:
    hint = "mount the Secret's key there, readable for this container's runAsUser"
    try:
        content, _ = read_regular(path, _LIMIT + 1)
    except OSError as error:
        irregular = error.errno == errno.EINVAL
        said = "this is no regular file" if irregular else str(error.strerror)
        raise _unusable(name, said, hint) from error
    if len(content) > _LIMIT:
        raise _unusable(name, "this is over 64 KiB", hint)
    return content


def _unusable(name: str, said: str, hint: str) -> ReloadError:
    """Say what is wrong with a file, and never what it holds."""
    return ReloadError("credentials", f"{name}: {said}", hint)
