"""The socket that the server listens on."""

import socket

from autotool_core.errors import AutoToolError

NUM_ACCEPTORS = 16


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises AutoToolError if the address cannot be bound."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise AutoToolError(
            f"Cannot listen on {host}:{port}: {error.strerror}. Choose another with --port or --host."
        ) from None
    listener.listen(2048)
    return listener


def acceptors(listener: socket.socket) -> list[socket.socket]:
    """Return a listening socket and further handles to it, to be served all: an event loop accepts with each of them.

    uvloop accepts one connection a turn of its loop, so that in a burst of requests, when turns are long, new connections, and
    the probes of health among them, would wait for tens of seconds.
    """
    return [listener, *(listener.dup() for _ in range(NUM_ACCEPTORS - 1))]


def base_url(listener: socket.socket) -> str:
    """Return the API's base URL for clients on this machine."""
    bound, port = str(listener.getsockname()[0]), listener.getsockname()[1]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bound, bound)  # noqa: S104 compared, not bound
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"
