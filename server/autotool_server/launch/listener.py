"""The socket that the server listens on."""

import socket

from autotool_core.errors import AutoToolError

NUM_ACCEPTORS = 16
BACKLOG = 2048


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that has an address and does not listen yet. Raises AutoToolError if it cannot have it.

    A server that is still importing its libraries so refuses connections, and a balancer takes another one at once.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise _cannot_listen(host, port, error) from None
    return listener


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address. Raises AutoToolError if it cannot."""
    return _listening(bind(host, port))


def acceptors(listener: socket.socket) -> list[socket.socket]:
    """Let a socket listen, and return it with further handles to it, to be served all: an event loop accepts with each.

    uvloop accepts one connection a turn of its loop, so that in a burst of requests, when turns are long, new connections, and
    the probes of health among them, would wait for tens of seconds. Raises AutoToolError if another process listens there.
    """
    return [_listening(listener), *(listener.dup() for _ in range(NUM_ACCEPTORS - 1))]


def _listening(listener: socket.socket) -> socket.socket:
    try:
        listener.listen(BACKLOG)
    except OSError as error:
        host, port = listener.getsockname()[:2]
        raise _cannot_listen(host, port, error) from None
    return listener


def _cannot_listen(host: str, port: int, error: OSError) -> AutoToolError:
    choice = "Choose another with --port or --host (AUTOTOOL_PORT, AUTOTOOL_HOST)"
    return AutoToolError(f"Cannot listen on {host}:{port}: {error.strerror}. {choice}.")


def base_url(listener: socket.socket) -> str:
    """Return the API's base URL for clients on this machine."""
    bound, port = str(listener.getsockname()[0]), listener.getsockname()[1]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bound, bound)  # noqa: S104 compared, not bound
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"
