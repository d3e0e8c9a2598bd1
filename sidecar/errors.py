"""Every failure this program names, and who acts on each.

* `SettingsError`: the operator. Raised before anything starts; exit status 2.
* `WatchError`:    another way. The kernel will not tell us about a volume now;
  polling takes over and the watch is tried again.
* `VolumeError`:   time. A volume cannot be read at this moment; it is read again.
* `ReloadError`:   the schedule. One attempt did not reach the target, or reached it
  and was not taken; it is tried again as the retry settings say.

Anything else that escapes is a bug: it is logged with its traceback, exit status 1.
"""

from __future__ import annotations


class SidecarError(Exception):
    """Base of the errors raised on purpose."""


class SettingsError(SidecarError):
    """The environment cannot be turned into settings."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class WatchError(SidecarError):
    """inotify cannot be had. `reason` is a label of `watch_errors_total`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class VolumeError(SidecarError):
    """A volume cannot be read now; the message says which and why."""


class ReloadError(SidecarError):
    """An attempt did not reach the target.

    `reason` is a log field and comes from the closed set in `docs/REASONS.md`;
    `detail` says what happened, `hint` what to change to mend it, if that is known.
    """

    def __init__(self, reason: str, detail: str, hint: str | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.hint = hint
