"""An app on a real port, over any engine."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from openai import AsyncOpenAI

from autotool_core.errors import EngineError
from autotool_core.profile import BUILTIN, Profile
from autotool_server.api.app import create_app
from autotool_server.api.state import ServerState
from autotool_server.conversation.service import ConversationService
from autotool_server.engines.base import Engine, EngineRequest
from autotool_server.engines.scripted import ScriptedEngine
from autotool_server.launch import http_server
from autotool_server.launch.listener import acceptors, base_url, listen
from autotool_server.settings import Settings
from autotool_server.tools.registry import Registry
from support.tiny import make_tokenizer

MODEL = "tested"


@dataclass(frozen=True)
class Running:
    """A server under test."""

    url: str
    client: AsyncOpenAI
    state: ServerState

    async def idle(self) -> None:
        """Wait until nothing is in flight, in the server and in its engine; fails after some seconds."""
        engine = self.state.service.engine
        for _ in range(1000):
            if engine.in_flight() == 0 and self.state.admission.in_flight == 0:
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"still in flight: engine {engine.in_flight()}, server {self.state.admission.in_flight}")


@asynccontextmanager
async def running(
    engine: Engine,
    profile: Profile = BUILTIN["smollm2-autotool"],
    model: str = MODEL,
    registry: Registry | None = None,
    **settings: Any,
) -> AsyncIterator[Running]:
    """Serve over a started engine, with a started registry, on a free port of the loopback address."""
    state = ServerState(Settings(port=0, **settings))
    state.service = service = ConversationService(engine, profile, model, state.settings, registry)
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(http_server.config(create_app(state)))
    task = asyncio.create_task(server.serve(acceptors(listener)))
    url = base_url(listener)
    try:
        async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0, timeout=240) as client:
            yield Running(url, client, state)
    finally:
        server.should_exit = True
        await task
        service.close()


def scripted(*texts: str | Callable[[EngineRequest], str], log_odds: float = 0.0) -> ScriptedEngine:
    """An engine that decodes the texts in turn, the last one for ever, each followed by the end of the turn."""
    tokenizer = make_tokenizer()
    left = list(texts)

    def script(request: EngineRequest) -> Sequence[int]:
        text = left.pop(0) if len(left) > 1 else left[0]
        text = text(request) if callable(text) else text
        return [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]

    return ScriptedEngine(tokenizer, (tokenizer.eos_token_id,), script, log_odds=log_odds)


def held(engine: ScriptedEngine, after: int = 1) -> asyncio.Event:
    """Pause the engine after some tokens, until the event is set."""
    release, seen = asyncio.Event(), 0

    def gate() -> Any:
        nonlocal seen
        seen += 1
        return asyncio.ensure_future(release.wait()) if seen > after else None

    engine.gate = gate
    return release


def failing(engine: ScriptedEngine, after: int = 0) -> None:
    """Let the engine fail after some tokens, with the message `The engine is gone.`"""
    left = after

    def gate() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise EngineError("The engine is gone.")

    engine.gate = gate
