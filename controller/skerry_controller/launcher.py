"""Becomes a command that dies with its parent and cannot gain privileges. Run as a script.

A script of its own, since running Python code between fork and exec of a process with threads can
deadlock.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_UNCHANGED = "-"


def become(arguments: list[str]) -> None:
    """``PARENT-PID USER-ID|- GROUP-ID|- COMMAND ARGUMENT…``; returns only when it must not start."""
    parent, user_id, group_id, *command = arguments
    if user_id != _UNCHANGED:
        os.setgroups([])
        os.setgid(int(group_id))
        os.setuid(int(user_id))
    # After the change of user, which would clear it. None of our children has anything to save, so SIGKILL.
    libc = ctypes.CDLL(None, use_errno=True)
    for option, value in ((_PR_SET_PDEATHSIG, signal.SIGKILL), (_PR_SET_NO_NEW_PRIVS, 1)):
        if libc.prctl(option, *map(ctypes.c_ulong, (int(value), 0, 0, 0))):
            return
    if os.getppid() != int(parent):  # it died before we could ask for the signal
        return
    os.execv(command[0], command)  # noqa: S606 - the command is the controller's


if __name__ == "__main__":
    become(sys.argv[1:])
    sys.exit(1)
