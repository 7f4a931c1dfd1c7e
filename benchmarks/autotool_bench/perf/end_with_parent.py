"""Become a command that ends with the process that started it: `python end_with_parent.py PARENT_PID COMMAND...`.

A process that is killed cannot stop the server that it started: Linux sends the server SIGTERM in its place. Elsewhere the
command runs on as any other does.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""Its meaning: https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html"""


def main(parent: int, command: list[str]) -> None:
    """Replace this process by the command, unless the parent has already ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        # The parent may have ended before the signal was asked for.
        if os.getppid() != parent:
            sys.exit(1)
    os.execv(command[0], command)  # noqa: S606 the command of the process that started this one


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
