"""The environment of a function in its worker process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def detached_stdio() -> Iterator[None]:
    """Redirect file descriptors 0 and 1, which are the pipes to the server, to the null device.

    anyio replaces `sys.stdin` and `sys.stdout` alone. The server would read the output of C code and of processes that the
    function starts as an answer.
    """
    saved = [os.dup(number) for number in (0, 1)]
    null = os.open(os.devnull, os.O_RDWR)
    try:
        for number in (0, 1):
            os.dup2(null, number)
        yield
    finally:
        for number, original in enumerate(saved):
            os.dup2(original, number)
            os.close(original)
        os.close(null)
