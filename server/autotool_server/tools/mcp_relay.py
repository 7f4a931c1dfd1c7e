"""Runs a stdio MCP server and passes its messages on, up to a size: `python mcp_relay.py MOST_BYTES PROGRAM [ARGUMENT...]`.

The SDK reads a message of many megabytes in quadratic time, on the event loop that serves everybody: 50 MB took it a minute.
A larger message ends the server here instead, with all it has started, and so the call. What goes to the server does not
pass here: it inherits the input.
"""

import os
import signal
import subprocess
import sys
from typing import IO, cast


def main(most: int, command: list[str]) -> int:
    """Pass lines on until the server ends; its exit status."""
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:  # noqa: S603 the operator's command
        # A server that does not leave when asked is killed with its group, this process included, and not before.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        said = cast("IO[bytes]", server.stdout)
        while line := said.readline(most + 1):
            if len(line) > most:
                os.killpg(0, signal.SIGKILL)
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
    return server.returncode


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
