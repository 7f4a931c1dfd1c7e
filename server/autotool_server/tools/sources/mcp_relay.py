"""Runs a stdio MCP server and passes its messages on, up to a size: `python mcp_relay.py MOST_BYTES PROGRAM [ARGUMENT...]`.

The SDK reads a message of many megabytes in quadratic time, on the event loop that serves everybody: 50 MB took it a minute.
A larger message ends the server here instead, with all it has started, and so the call. What goes to the server does not
pass here: it inherits the input. Of what it writes to stderr the beginning is passed on, and the end when it ends: they say why
it did not start.
"""

import os
import signal
import subprocess
import sys
import threading
from typing import IO, cast

MOST_ERROR_BYTES = 16 * 1024
"""Of the beginning, and of the end."""


def main(most: int, command: list[str]) -> int:
    """Pass lines on until the server ends; its exit status."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as server:  # noqa: S603 the operator's
        errors = threading.Thread(target=_pass_ends, args=(server.stderr,), daemon=True)
        errors.start()
        # A server that does not leave when asked is killed with its group, this process included, and not before.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        said = cast("IO[bytes]", server.stdout)
        while line := said.readline(most + 1):
            if len(line) > most:
                os.killpg(0, signal.SIGKILL)
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
        # Not for ever: what the server has left running may hold it open.
        errors.join(timeout=1)
    return server.returncode


def _pass_ends(errors: IO[bytes]) -> None:
    left, rest = MOST_ERROR_BYTES, b""
    while part := os.read(errors.fileno(), 4096):
        sys.stderr.buffer.write(part[:left])
        sys.stderr.buffer.flush()
        rest = (rest + part[left:])[-MOST_ERROR_BYTES:]
        left -= len(part[:left])
    sys.stderr.buffer.write(rest)
    sys.stderr.buffer.flush()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
