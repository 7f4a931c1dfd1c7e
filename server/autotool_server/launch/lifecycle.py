"""Start, serve, stop: the life of a server process."""

import asyncio
import gc
import multiprocessing
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import NoReturn

import uvicorn

from autotool_core.errors import AutoToolError
from autotool_server.api.app import create_app
from autotool_server.api.state import ServerState
from autotool_server.conversation.service import ConversationService
from autotool_server.engines import profiles
from autotool_server.engines.base import Engine
from autotool_server.engines.create import create, served_name
from autotool_server.launch.listener import base_url, listen
from autotool_server.settings import Settings
from autotool_server.tools.config import registry
from autotool_server.tools.registry import Registry

WhenReady = Callable[[str, ServerState], Awaitable[None]]
"""Run with the base URL once requests are answered."""


class Server(uvicorn.Server):
    """uvicorn's server, except that a signal only asks it to end.

    uvicorn sends itself the signal again once it has ended, which would leave no time to stop the engine.
    """

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        signals = (signal.SIGINT, signal.SIGTERM)
        for one in signals:
            loop.add_signal_handler(one, self.handle_exit, one, None)
        try:
            yield
        finally:
            for one in signals:
                loop.remove_signal_handler(one)


async def serve(settings: Settings, when_ready: WhenReady | None = None) -> bool:
    """Serve until a signal ends it. `when_ready` is run with the base URL once requests are answered.

    The port is taken first, so that a port in use is found before a model is loaded; health answers while it loads.
    False where the signal came before all that was done: a thread may then still load the model, which `leave` ends.
    """
    listener = listen(settings.host, settings.port)
    state = ServerState(settings)
    config = uvicorn.Config(create_app(state), log_level="warning", timeout_graceful_shutdown=30, access_log=False)
    server = Server(config)
    serving = asyncio.create_task(server.serve([listener]))
    started = asyncio.Event()

    async def stay() -> None:
        if when_ready is not None:
            await when_ready(base_url(listener), state)
        started.set()
        await serving

    working = asyncio.create_task(_work(state, stay))
    try:
        await asyncio.wait((serving, working), return_when=asyncio.FIRST_COMPLETED)
        cut = server.should_exit and not started.is_set()
    finally:
        server.should_exit = True
        await serving
    if cut:
        working.cancel()
        # How it ends is nobody's concern any more: Ctrl-C reaches the engine's own processes too, and fails their load.
        await asyncio.gather(working, return_exceptions=True)
    else:
        await working
    return not cut


async def _work(state: ServerState, stay: Callable[[], Awaitable[None]]) -> None:
    """Start what answers requests, and stop it after `stay`."""
    # Tools first: what is wrong with them is found before a model is loaded.
    async with registry(state.settings) as tools, started_engine(state.settings) as engine:
        state.service = make_service(engine, state.settings, tools)
        # What was loaded stays: a collection that looked at all of it would hold every stream up.
        gc.collect()
        gc.freeze()
        await stay()


@asynccontextmanager
async def started_engine(settings: Settings) -> AsyncIterator[Engine]:
    """The engine of the settings, started; stopped at the end."""
    engine = await asyncio.to_thread(create, settings)
    try:
        await engine.start()
        yield engine
    finally:
        await engine.stop()


def make_service(engine: Engine, settings: Settings, tools: Registry | None = None) -> ConversationService:
    """The chat service over a started engine. Raises AutoToolError where the default mode cannot be served."""
    profile = profiles.find(settings.profile, engine.checkpoint, str(engine.tokenizer.chat_template))
    service = ConversationService(engine, profile, served_name(settings, engine), settings, tools)
    if reason := service.renderer.refusals.get(settings.default_mode):
        raise AutoToolError(
            f"Setting default_mode: {settings.default_mode} cannot be served: {reason} Set --default-mode short."
        )
    return service


async def announce(url: str, _: ServerState) -> None:
    """Say where the server answers."""
    print(f"Ready at {url}", flush=True)  # noqa: T201 the command's output


def leave() -> NoReturn:
    """End the process at once, and its children with it: no thread can be made to stop loading a model."""
    for child in multiprocessing.active_children():
        child.kill()  # vLLM's would heed a gentler signal only when its model is loaded
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
