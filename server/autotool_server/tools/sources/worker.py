"""What surrounds a function in its worker process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_pipes() -> Iterator[None]:
    """Keep the pipes to the server out of the function's reach.

    anyio already replaces `sys.stdin` and `sys.stdout`; this is for what goes past them: C code and processes that the
    function starts, whose output would be read by the server as an answer.
    """
    saved = [os.dup(number) for number in (0, 1)]
    null = os.open(os.devnull, os.O_RDWR)
    try:
        for number in (0, 1):
            os.dup2(null, number)
        yield
    finally:
        for number, before in enumerate(saved):
            os.dup2(before, number)
            os.close(before)
        os.close(null)
