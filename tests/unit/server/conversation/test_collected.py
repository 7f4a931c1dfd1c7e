"""What is read once more of a turn that has ended, where the engine has decoded more than is part of the answer."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest
from support.tiny import make_tokenizer

from autotool_core.modes import Mode
from autotool_core.parsing.collect import collect
from autotool_core.profile import BUILTIN
from autotool_core.prompt import PromptRenderer
from autotool_server.conversation.plan import TurnLimits
from autotool_server.conversation.turn import Turn
from autotool_server.conversation.turn_request import TurnRequest
from autotool_server.engines.base import EngineRequest, Sampling, TokenDelta
from autotool_server.engines.scripted import ScriptedEngine
from autotool_server.targets.load import UNRELIEVED

PROFILE = BUILTIN["smollm2-autotool"]
TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'
BROKEN = '<tool_call>\n{"name": "add", "arguments": {"a"'


class AtOnce(ScriptedEngine):
    """Yields a whole generation as one delta, as an engine does that is ahead of its reader."""

    async def generate(self, request: EngineRequest) -> AsyncGenerator[TokenDelta]:
        yield TokenDelta([*self.script(request)], finish_reason="stop")


async def run(
    text: str, limits: TurnLimits | None = None, kind: type[ScriptedEngine] = AtOnce, **fields: Any
) -> tuple[Turn, list[Any]]:
    """Return a turn that has ended, and the events of its stream."""
    tokenizer = make_tokenizer()
    script = [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]
    renderer = PromptRenderer(tokenizer, PROFILE)
    prompt = renderer.render([{"role": "user", "content": "?"}], TOOLS, Mode.SHORT)
    limits = limits or TurnLimits(500)
    request = TurnRequest("t", 0, prompt, Mode.SHORT, 0.0, limits, Sampling(), tools=TOOLS, **fields)
    engine = kind(tokenizer, (tokenizer.eos_token_id,), lambda _: script)
    turn = Turn(engine, renderer, PROFILE, request, load=UNRELIEVED)
    return turn, [event async for output in turn.run() for event in output.events]


@pytest.mark.parametrize(
    ("text", "fields", "num_calls"),
    [
        (f"Here:\n{CALL}\n{CALL}", {}, 2),
        (f"Here:\n{CALL}\n{CALL}", {"parallel_tool_calls": False}, 1),
        (f"{CALL}\n{BROKEN}", {"parallel_tool_calls": False}, 1),
        (f"{CALL} Done. {CALL}", {"stop": ("Done.",)}, 1),
    ],
    ids=["parallel", "single", "a second one is broken", "stop string"],
)
async def test_it_ends_where_the_stream_has_ended(text: str, fields: dict[str, Any], num_calls: int) -> None:
    turn, events = await run(text, **fields)
    collected = turn.collected()
    assert collected == collect(events)
    assert len(collected.calls or ()) == num_calls


@pytest.mark.parametrize("kind", [AtOnce, ScriptedEngine])
async def test_a_stop_token_of_the_request_is_no_text(kind: type[ScriptedEngine]) -> None:
    [stop] = make_tokenizer().encode("#", add_special_tokens=False)
    turn, events = await run(f"{CALL}#{CALL}", TurnLimits(500, stop_token_ids=(stop,)), kind)
    assert turn.stop_token_id == stop
    assert turn.collected() == collect(events)
    assert "#" not in turn.collected().content


@pytest.mark.parametrize(("kind", "num_calls"), [(AtOnce, 0), (ScriptedEngine, 1)])
async def test_a_stop_string_before_the_least_number_of_tokens_ends_nothing(kind: type[ScriptedEngine], num_calls: int) -> None:
    """Where all tokens come at once there are enough of them as the first stop string is found."""
    turn, events = await run(f"Done. {CALL} Done. {CALL}", TurnLimits(500, min_tokens=10), kind, stop=("Done.",))
    assert turn.collected() == collect(events)
    assert len(turn.collected().calls or ()) == num_calls


async def test_a_call_that_is_broken_stays_so() -> None:
    turn, events = await run(f"{CALL}\n{BROKEN}")
    assert turn.collected() == collect(events)
    assert turn.collected().calls is None
