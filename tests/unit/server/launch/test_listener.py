"""The listening socket."""

import asyncio
import importlib.util
import socket
from contextlib import ExitStack

import pytest

from autotool_core.errors import AutoToolError
from autotool_server.launch.listener import acceptors, bind, listen

BURST = 128


@pytest.mark.skipif(importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed")
async def test_uvloop_accepts_a_burst_within_a_few_turns_of_its_loop() -> None:
    """Or else /health/live waits behind a burst of requests for as many turns as there are connections."""
    import uvloop

    def run() -> int:
        return uvloop.run(turns_until_accepted())

    assert await asyncio.to_thread(run) <= BURST / 16 + 4


async def turns_until_accepted() -> int:
    """Return how many turns the loop takes to accept a burst of connections."""
    accepted: list[asyncio.BaseTransport] = []

    class Counting(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            accepted.append(transport)

    loop = asyncio.get_running_loop()
    with ExitStack() as stack:
        handles = acceptors(listen("127.0.0.1", 0))
        servers = [await loop.create_server(Counting, sock=handle, backlog=BURST) for handle in handles]
        for _ in range(BURST):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(handles[0].getsockname())
        turns = 0
        while len(accepted) < BURST:
            await asyncio.sleep(0)
            turns += 1
        for server in servers:
            server.close()
    return turns


def test_a_bound_socket_refuses_connections_until_it_is_served() -> None:
    """A server that imports its libraries answers nobody: a balancer learns at once that it must take another."""
    listener = bind("127.0.0.1", 0)
    with socket.socket() as client, pytest.raises(ConnectionRefusedError):
        client.connect(listener.getsockname())
    handles = acceptors(listener)
    with socket.socket() as client:
        client.connect(listener.getsockname())
    for handle in handles:
        handle.close()


def test_of_two_servers_that_start_at_one_port_the_second_says_so() -> None:
    first = bind("127.0.0.1", 0)
    second = bind(*first.getsockname())
    handles = acceptors(first)
    with pytest.raises(AutoToolError, match="--port"):
        acceptors(second)
    for handle in [*handles, second]:
        handle.close()
