"""What a server answers before it is ready."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest
from support.serving import MODEL, scripted

from autotool_core.errors import EngineError, InvalidRequestError
from autotool_core.modes import Mode
from autotool_core.profile import BUILTIN
from autotool_server.conversation.service import ConversationService
from autotool_server.engines.base import EngineRequest, Score, TokenDelta
from autotool_server.engines.scripted import ScriptedEngine
from autotool_server.launch import warm_up as warm_up_module
from autotool_server.launch.warm_up import warm_up
from autotool_server.settings import Settings


class Recording(ScriptedEngine):
    """An engine that records what it is asked for, and fails if it is told to."""

    failure: str | None = None
    is_dead = hangs = is_hanging = False

    async def health(self) -> None:
        if self.is_dead:
            raise EngineError(self.failure or "")

    def __init__(self) -> None:
        plain = scripted("It is four.")
        super().__init__(plain.tokenizer, plain.eos_token_ids, plain.script)
        self.asked: list[EngineRequest] = []
        self.num_scores = 0

    async def generate(self, request: EngineRequest) -> AsyncGenerator[TokenDelta]:
        self.asked.append(request)
        if self.hangs:
            self.is_hanging = True
            await asyncio.Event().wait()
        if self.failure is not None:
            raise EngineError(self.failure)
        async with aclosing(super().generate(request)) as deltas:
            async for delta in deltas:
                yield delta

    async def score(self, *arguments: object, **options: object) -> Score:
        self.num_scores += 1
        return await super().score(*arguments, **options)  # type: ignore[arg-type]


@pytest.fixture
def engine() -> Recording:
    return Recording()


def service_of(engine: Recording, profile: str = "smollm2-autotool") -> ConversationService:
    return ConversationService(engine, BUILTIN[profile], MODEL, Settings(port=0))


async def test_a_decided_turn_and_both_kinds_of_grammar_are_tried(engine: Recording) -> None:
    service = service_of(engine)
    await warm_up(service)
    service.close()
    assert engine.num_scores == 3  # in auto, as a text, as a call and as JSON
    assert sum(request.structural_tag is not None for request in engine.asked) == 2
    assert engine.in_flight() == 0


async def test_modes_that_the_checkpoint_does_not_have_are_left_out(engine: Recording) -> None:
    service = service_of(engine)
    service.renderer.refusals[Mode.AUTO] = "It never learnt to decide."
    service.default_mode = Mode.SHORT
    await warm_up(service)
    service.close()
    assert engine.num_scores == 0
    assert len(engine.asked) >= 3


async def test_an_engine_that_fails_is_not_ready(engine: Recording) -> None:
    service = service_of(engine)
    engine.failure, engine.is_dead = "There is no memory.", True
    with pytest.raises(EngineError, match="no memory"):
        await warm_up(service)
    service.close()


async def test_a_request_that_fails_by_itself_is_left_to_clients(engine: Recording, caplog: pytest.LogCaptureFixture) -> None:
    service = service_of(engine)
    engine.failure = "This grammar allows none of the model's tokens."
    await warm_up(service)
    service.close()
    assert len(engine.asked) == 3
    assert "A request of the warm-up failed" in caplog.text


async def test_a_remote_engine_that_is_away_is_waited_for(engine: Recording) -> None:
    service = service_of(engine)
    engine.failure, engine.in_process = "It is away.", False
    await warm_up(service)
    service.close()


async def test_a_remote_engine_that_hangs_does_not_keep_the_server_from_being_ready(
    engine: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warm_up_module, "REMOTE_SECONDS", 2)
    service = service_of(engine)
    engine.in_process, engine.hangs = False, True
    async with asyncio.timeout(30):
        await warm_up(service)
    service.close()
    assert engine.is_hanging


async def test_what_a_checkpoint_cannot_do_is_left_out(engine: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object) -> None:
        raise InvalidRequestError("No grammar.", "tools")

    service = service_of(engine)
    monkeypatch.setattr(service, "prepare", refuse)
    await warm_up(service)
    service.close()
    assert engine.asked == []
