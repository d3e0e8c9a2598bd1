"""Become a program whose `pidfd_send_signal` ends with an error: a seccomp profile.

    python -m tests.seccomp ERRNO PROGRAM [ARGUMENT ...]

Source: seccomp(2) and linux/filter.h; the call has this number on every machine.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

PIDFD_SEND_SIGNAL = 424

_PR_SET_SECCOMP = 22
_PR_SET_NO_NEW_PRIVS = 38
_MODE_FILTER = 2
_LOAD_NUMBER = (0x20, 0, 0, 0)  # the first word of struct seccomp_data
_RETURN = 0x06
_JUMP_IF_EQUAL = 0x15
_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000


def refuse(number: int, error: int) -> None:
    """Let a system call fail from now on, also in what we become."""
    program = b"".join(
        struct.pack("HBBI", *instruction)
        for instruction in (
            _LOAD_NUMBER,
            (_JUMP_IF_EQUAL, 0, 1, number),
            (_RETURN, 0, 0, _ERRNO | error),
            (_RETURN, 0, 0, _ALLOW),
        )
    )
    instructions = ctypes.create_string_buffer(program, len(program))
    described = struct.pack("HP", len(program) // 8, ctypes.addressof(instructions))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    for arguments in (
        (_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (_PR_SET_SECCOMP, _MODE_FILTER, described, 0, 0),
    ):
        if prctl(*arguments):
            raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    refuse(PIDFD_SEND_SIGNAL, int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606  # to become it is the purpose
