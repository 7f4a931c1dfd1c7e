"""Runs a stdio MCP server and passes its messages on, up to a size: `python mcp_relay.py MOST_BYTES PROGRAM [ARGUMENT...]`.

The SDK reads a message of many megabytes in quadratic time, on the event loop of everybody else's streams. A larger message
ends the server here instead, which fails the call. What goes to the server does not pass here: it inherits the input.
"""

import subprocess
import sys


def main(most: int, command: list[str]) -> int:
    """Pass lines on until the server ends or says too much; its exit status, 1 for too much."""
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:  # noqa: S603 the operator's command
        assert server.stdout is not None
        while line := server.stdout.readline(most + 1):
            if len(line) > most:
                server.kill()
                return 1
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
    return server.returncode


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
