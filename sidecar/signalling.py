"""One signal to one process, and none to any other.

A PID may be given to another process between looking and sending. A pidfd names one
process for good (pidfd_open(2)), so it is opened first, then the identity is checked
again, and the signal goes through it. Where the kernel or a seccomp profile has none,
the identity is checked and kill(2) follows at once.
"""

from __future__ import annotations

import errno
import os
import select
import signal
from collections.abc import Callable
from types import TracebackType
from typing import Self

from . import proc
from .errors import ReloadError
from .proc import Credentials
from .processes import Process
from .settings import TERMINATING, signal_name

_CAP_KILL = 1 << 5  # capabilities(7), linux/capability.h


class Handle:
    """One process, held on to so that its end is seen and its PID can't mislead.

    As a `with` block it closes what it opened.
    """

    def __init__(self, process: Process) -> None:
        """Take hold of a process; without pidfds, of its PID and start time.

        Raises:
            ReloadError: it is gone.
        """
        self.process = process
        self._pidfd: int | None = None
        try:
            self._pidfd = os.pidfd_open(process.id.pid)
        except ProcessLookupError as error:
            raise _gone(process) from error
        except OSError as error:
            if error.errno == errno.ENOENT:  # the PID is a thread's by now
                raise _gone(process) from error
            if error.errno not in (errno.ENOSYS, errno.EPERM, errno.EINVAL):
                raise

    @property
    def pidfd(self) -> int | None:
        """A descriptor that becomes readable when the process ends, if there is one."""
        return self._pidfd

    def alive(self) -> bool:
        """Whether the process still runs; a zombie does not."""
        if self._pidfd is not None:
            poll = select.poll()
            poll.register(self._pidfd, select.POLLIN)
            return not poll.poll(0)
        now = proc.stat(self.process.id.pid)
        return now is not None and now.start == self.process.id.start

    def send(self, number: int, unchanged: Callable[[], bool]) -> None:
        """Send a signal if `unchanged` still says that this is the process meant.

        Raises:
            ReloadError: it is gone, is another program now, or we may not.
        """
        if not unchanged():
            raise _gone(self.process)
        try:
            self._send(number)
        except ProcessLookupError as error:
            raise _gone(self.process) from error
        except PermissionError as error:
            us, them = proc.credentials("self"), proc.credentials(self.process.id.pid)
            if us is None or them is None:
                raise _gone(self.process) from error
            raise refused(self.process, number, us, them) from error
        except OSError as error:
            raise ReloadError(
                "permission",
                f"{signal_name(number)} to {self.process.comm} (pid"
                f" {self.process.id.pid}) could not be sent: {error.strerror}",
                "a seccomp profile or the sandbox answers so: allow kill and"
                " pidfd_send_signal for this container",
            ) from error

    def _send(self, number: int) -> None:
        if self._pidfd is not None:
            try:
                return signal.pidfd_send_signal(self._pidfd, number)
            except OSError as error:
                if error.errno != errno.ENOSYS:  # a profile that knows pidfd_open only
                    raise
        return os.kill(self.process.id.pid, number)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None


def guard(process: Process, number: int, masks: Credentials) -> None:
    """Refuse a signal that would kill the process, or do nothing at all.

    A signal that the user chose to end the process is not looked at. Blocked counts as
    handled, because a program that takes signals by `signalfd` or `sigwait` blocks it.

    Raises:
        ReloadError: it is neither caught nor blocked, or it is ignored.
    """
    bit = 1 << (number - 1)
    if number in TERMINATING or (masks.caught | masks.blocked) & bit:
        return
    name = signal_name(number)
    who = f"{process.comm} (pid {process.id.pid})"
    if masks.ignored & bit:
        raise ReloadError(
            "ignored",
            f"{who} ignores {name}, so sending it would do nothing",
            "set RELOAD_SIGNAL to the signal that the program reloads on",
        )
    raise ReloadError(
        "unhandled",
        f"{who} does not handle {name}: it was not sent, because it would end it",
        "it is tried again, the handler may come; set RELOAD_SIGNAL to the signal that"
        " the program reloads on, or SIGNAL_GUARD=false if a thread of it waits inside"
        f" sigwait for {name}",
    )


def permitted(us: Credentials, them: Credentials) -> bool:
    """Whether kill(2) lets us signal them, as far as its own rule goes."""
    ours, theirs = {us.uid, us.effective_uid}, {them.uid, them.saved_uid}
    return bool(us.capabilities & _CAP_KILL or ours & theirs)


def refused(
    process: Process, number: int, us: Credentials, them: Credentials
) -> ReloadError:
    """Explain EPERM by kill(2)'s rule: who we are, who they are, what to change."""
    detail = (
        f"{signal_name(number)} to {process.comm} (pid {process.id.pid}, uid"
        f" {them.uid}) was refused: this container runs as uid {us.effective_uid}"
    )
    if permitted(us, them):
        hint = "an AppArmor, SELinux or seccomp profile forbids it: allow signals there"
    elif us.effective_uid == 0:
        hint = (
            "add the capability KILL to this container (it runs as uid 0), or set"
            f" runAsUser: {them.uid} for it too"
        )
    elif them.uid == 0:
        hint = (
            "set runAsUser: 0 for this container (no capability is needed), or run"
            " both as one uid; KILL does nothing for a container that is not root"
        )
    else:
        hint = (
            f"set runAsUser: {them.uid} for this container, or runAsUser: 0 with the"
            " capability KILL; KILL does nothing for a container that is not root"
        )
    return ReloadError("permission", detail, hint)


def _gone(process: Process) -> ReloadError:
    return ReloadError(
        "gone",
        f"{process.comm} (pid {process.id.pid}) ended before the signal was sent",
        "nothing; the process that takes its place is looked at",
    )
