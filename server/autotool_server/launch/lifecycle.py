"""The life of a server process: start, serve, stop."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from autotool_core.errors import AutoToolError, EngineError, HungThreadError
from autotool_core.modes import Mode
from autotool_server.api.app import create_app
from autotool_server.api.state import ServerState
from autotool_server.conversation import schema_workers
from autotool_server.conversation.service import ConversationService
from autotool_server.engines import generation_config, profiles
from autotool_server.engines.base import Engine
from autotool_server.engines.create import create_engine, engine_name, import_engine, served_name
from autotool_server.launch import http_server
from autotool_server.launch.listener import acceptors, base_url
from autotool_server.launch.phases import phase
from autotool_server.launch.stop import Server, Stop
from autotool_server.launch.supervisor import Supervisor, freeze_loaded_objects
from autotool_server.launch.warm_up import warm_up
from autotool_server.settings import Settings
from autotool_server.tools.registry import Registry

WhenReady = Callable[[str, ServerState], Awaitable[None]]
"""Called with the base URL once requests are answered."""


async def serve(settings: Settings, registry: Registry, listener: socket.socket, when_ready: WhenReady | None = None) -> bool:
    """Serve on a bound socket until a signal ends the server. `when_ready` is called once requests are answered.

    `registry`: the settings' tools, not started yet. Health answers while the model loads. Returns False if a thread may still
    be at work that only `stop.exit_now` ends: the signal came while the model was loading, requests were cut, or the store of
    spend or the audit log hangs. Raises EngineError if the engine dies more often than it may be started again,
    HungThreadError if it is a thread that hangs, which only `stop.exit_now` ends.
    """
    state = ServerState(settings)
    if state.tracer is not None:
        state.tracer.install()
    server = Server(http_server.config(create_app(state)))
    stop = Stop(server, state)
    started = asyncio.Event()

    async def work() -> None:
        async with _started(state, registry):
            if when_ready is not None:
                await when_ready(base_url(listener), state)
            started.set()
            await _until_end(serving, Supervisor(state, started, lambda: not stop.has_begun), stop)

    with stop.on_signals():
        serving = asyncio.create_task(server.serve(acceptors(listener)))
        working = asyncio.create_task(work())
        try:
            await asyncio.wait((serving, working), return_when=asyncio.FIRST_COMPLETED)
            cut = server.should_exit and not started.is_set()
        finally:
            server.should_exit = True
            await serving
        if cut:
            working.cancel()
            # Its outcome does not matter any more: Ctrl-C reaches the engine's own processes too, so that their load fails.
            await asyncio.gather(working, return_exceptions=True)
        else:
            await _ended(working, lambda: registry.is_at_work or state.quotas.is_at_work)
    return not (cut or state.shutdown.is_cut or state.quotas.is_at_work or registry.is_at_work)


async def _ended(working: asyncio.Task[None], is_at_work: Callable[[], bool]) -> None:
    """Wait for the end. An error of the engine is a HungThreadError where a thread would keep the process from ending."""
    try:
        await working
    except EngineError as error:
        raise HungThreadError(str(error)) if is_at_work() else error from None


async def _until_end(serving: asyncio.Task[None], supervisor: Supervisor, stop: Stop) -> None:
    """Wait until the server has ended. If its engine dies for good before, end it with its requests, and raise EngineError."""
    supervising = asyncio.create_task(supervisor.run())
    await asyncio.wait((serving, supervising), return_when=asyncio.FIRST_COMPLETED)
    # The signal that stops this process may have reached the engine's processes too.
    has_died = supervising.done() and not stop.has_begun
    supervising.cancel()
    if has_died:
        stop.at_once()
    await serving
    if has_died:
        error = supervising.result()
        raise type(error)(f"The engine has died, and the server with it: {error}")


@asynccontextmanager
async def _started(state: ServerState, registry: Registry) -> AsyncIterator[None]:
    """Start tools and engine, and stop them at the end."""
    schema_workers.preload()
    # Tools come first, so that a fault in them is reported before a model is loaded.
    async with registry as tools, started_engine(state.settings) as engine:
        service = make_service(engine, state.settings, tools)
        freeze_loaded_objects()  # before a request: what one leaves refers to the engine, which is to end before the process
        try:
            with phase("Answering a request of each kind", "Answered a request of each kind"):
                await warm_up(service)
            state.service = service
            yield
        finally:
            service.close()  # the state has none if its engine has failed for good
            # Else the interpreter's last collection would not see them, and libraries would report leaks at the exit.
            gc.unfreeze()


@asynccontextmanager
async def started_engine(settings: Settings) -> AsyncIterator[Engine]:
    """Start the engine of the settings, and stop it at the end."""
    name = engine_name(settings)
    with phase(f"Importing the {name} engine", f"Imported the {name} engine"):
        await asyncio.to_thread(import_engine, settings)
    engine = await asyncio.to_thread(create_engine, settings)
    try:
        with phase("Loading the model", "Loaded the model"):
            await engine.start()
        yield engine
    finally:
        await engine.stop()


def make_service(engine: Engine, settings: Settings, tools: Registry | None = None) -> ConversationService:
    """Return the service over a started engine. Raises AutoToolError if the default mode cannot be served."""
    profile = profiles.find(settings.profile, engine.checkpoint, engine.tokenizer).profile
    defaults = generation_config.find(settings.generation_config, engine.checkpoint)
    service = ConversationService(engine, profile, served_name(settings, engine), settings, tools, generation_config=defaults)
    refusals = service.renderer.refusals
    if reason := refusals.get(service.default_mode):
        served = next(mode for mode in Mode if mode not in refusals)
        raise AutoToolError(
            f"Setting default_mode: {service.default_mode} cannot be served: {reason} Set --default-mode {served}."
        )
    if (settings.target is not None or settings.alias_targets) and Mode.AUTO in refusals:
        name = "target" if settings.target is not None else "alias_targets"
        raise AutoToolError(f"Setting {name}: auto cannot be served, so that nothing is decided: {refusals[Mode.AUTO]}")
    return service
