"""What Ctrl-C and SIGTERM do: the first lets requests end, the second ends them, the third ends the process."""

import asyncio
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

import uvicorn

from autotool_server.api.state import ServerState

SIGNALS = (signal.SIGINT, signal.SIGTERM)
REFUSAL_SECONDS = 0.02
"""Time in which requests that are still on their way are refused, before those that run are counted."""
FLUSH_SECONDS = 5.0
"""Time for the last bytes to reach clients, before connections whose clients do not read are closed."""
INTERRUPTED = 130
"""Exit code of a process that Ctrl-C has ended, as shells report it."""


class Server(uvicorn.Server):
    """Uvicorn's server, which leaves signals to `Stop`.

    Uvicorn raises the signal again once it has ended, which would leave no time to stop the engine.
    """

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Stop:
    """Ends a server step by step, one for each signal."""

    def __init__(self, server: Server, state: ServerState) -> None:
        self._server = server
        self._state = state
        self._num_signals = 0
        self._ending: asyncio.Task[None] | None = None

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Take signals meanwhile."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._next)
        try:
            yield
        finally:
            for number in SIGNALS:
                loop.remove_signal_handler(number)

    @property
    def has_begun(self) -> bool:
        """Whether a signal has come."""
        return self._num_signals > 0

    def _next(self) -> None:
        self._num_signals += 1
        if self._num_signals == 1:
            self._drain()
        elif self._num_signals == 2:
            self.at_once()
        else:
            exit_now(INTERRUPTED)

    def _drain(self) -> None:
        """Take no more requests, and let running ones end."""
        self._state.shutdown.drain()
        self._ending = asyncio.create_task(self._end_when_idle())
        asyncio.get_running_loop().call_later(self._state.settings.drain_seconds, self.at_once)

    async def _end_when_idle(self) -> None:
        """Keep the port open, so that probes and clients are told, until running requests have ended."""
        await asyncio.sleep(REFUSAL_SECONDS)
        waiting = self._state.admission.in_flight
        requests = "1 request" if waiting == 1 else f"{waiting} requests"
        _say(f"Waiting for {requests}; Ctrl-C again to stop." if waiting else "Stopping.")
        await self._state.admission.idle()
        self._end()

    def at_once(self) -> None:
        """End the server, and running requests with an error."""
        self._state.shutdown.drain()
        self._state.shutdown.cut()
        self._end()

    def _end(self) -> None:
        """Close the port, and connections when they have what was written to them."""
        self._server.should_exit = True
        asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._close_connections)

    def _close_connections(self) -> None:
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()


def _say(line: str) -> None:
    # The reader may be gone, as `tee` is that Ctrl-C has ended too.
    with suppress(OSError):
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def exit_now(code: int = 0) -> NoReturn:
    """End the process and its children at once: a thread that loads a model cannot be stopped."""
    for child in multiprocessing.active_children():
        child.kill()  # vLLM's processes handle SIGTERM only when their model is loaded
    for output in (sys.stdout, sys.stderr):
        with suppress(OSError):
            output.flush()
    os._exit(code)
