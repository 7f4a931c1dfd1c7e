"""Run a stdio MCP server and forward its messages, up to a size: `python mcp_relay.py MAX_BYTES PROGRAM [ARGUMENT...]`.

The SDK reads a message of many megabytes in quadratic time on the event loop that serves all requests: 50 MB took a minute.
Here a larger message ends the server and its children instead, and so the call. The server inherits standard input, so
messages to it do not pass through this process. The beginning of its stderr is forwarded at once and the end when it ends:
they usually have the reason why it did not start.
"""

import os
import signal
import subprocess
import sys
import threading
from typing import IO, cast

MAX_STDERR_BYTES = 16 * 1024
"""The size of the beginning, and of the end, of stderr that is forwarded."""


def main(max_bytes: int, command: list[str]) -> int:
    """Forward lines until the server ends. Return its exit status."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as server:  # noqa: S603 the operator's
        errors = threading.Thread(target=_forward_stderr, args=(server.stderr,), daemon=True)
        errors.start()
        # The SDK kills the group if the server does not end. Until then this process stays to forward its output.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        output = cast("IO[bytes]", server.stdout)
        while line := output.readline(max_bytes + 1):
            if len(line) > max_bytes:
                os.killpg(0, signal.SIGKILL)
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
        # The wait has a limit: processes that the server has left running may hold stderr open.
        errors.join(timeout=1)
    return server.returncode


def _forward_stderr(errors: IO[bytes]) -> None:
    remaining, end = MAX_STDERR_BYTES, b""
    while part := os.read(errors.fileno(), 4096):
        sys.stderr.buffer.write(part[:remaining])
        sys.stderr.buffer.flush()
        end = (end + part[remaining:])[-MAX_STDERR_BYTES:]
        remaining -= len(part[:remaining])
    sys.stderr.buffer.write(end)
    sys.stderr.buffer.flush()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
