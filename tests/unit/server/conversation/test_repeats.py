"""Loops that would go on for ever: all end within bounds, and no tool that acts runs twice with the same arguments."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from support.grammars import accepts
from support.serving import MODEL, Running, scripted
from support.tools import (
    ADD_1_2,
    CLIENT_TOOL,
    QUESTION,
    Scripted,
    Work,
    adder,
    ask,
    autotool_field,
    called,
    executions,
    fail,
    hang,
    metrics,
    named,
    refuse,
    results,
    with_tools,
)

from autotool_core.calls import Call
from autotool_server.engines.base import EngineRequest
from autotool_server.engines.scripted import ScriptedEngine
from autotool_server.tools.base import OversizeError, TransientError
from autotool_server.tools.results import ALREADY_DONE

MAX_TURNS = 16
"""The server's own limit of turns that may call."""
ORDER = {
    "type": "object",
    "properties": {"sku": {"type": "string"}, "pieces": {"type": "integer"}, "note": {"type": "object"}},
    "required": ["sku", "pieces"],
}
A, B, C = (called("order", {"sku": sku, "pieces": 3}) for sku in "ABC")
OTHER_ORDER_OF_KEYS = called("order", {"pieces": 3, "sku": "A"})
OTHER_NUMBER = called("order", '{"sku": "A", "pieces": 3.0}')
OTHER_TEXT = called("order", '{ "sku":"\\u0041" ,\n"pieces":3}')
DOUBLE_KEY = called("order", '{"sku": "B", "sku": "A", "pieces": 3}')
AS_STRING = called("order", json.dumps(json.dumps({"sku": "A", "pieces": 3})))
INVALID = called("order", {"sku": "A"})
LOOK = called("look", {"sku": "A", "pieces": 3})
BROKEN = called("broken", {"sku": "A", "pieces": 3})
NOTES = [
    called("order", {"sku": "A", "pieces": 3, "note": note}) for note in ({"a": 1, "b": [1, 2]}, {"b": [1.0, 2], "a": 1.0})
]


async def take(arguments: Mapping[str, Any]) -> str:
    await asyncio.sleep(0)
    return f"Took {arguments['pieces']} of {arguments['sku']}."


async def take_slowly(arguments: Mapping[str, Any]) -> str:
    await asyncio.sleep(0.05)
    return await take(arguments)


async def lose(_: Mapping[str, Any]) -> str:
    raise TransientError("The service broke off.")


async def say_too_much(_: Mapping[str, Any]) -> str:
    raise OversizeError(64)


@dataclass(frozen=True)
class Loop:
    """What a model writes, again and again from the beginning, and how the loop ends."""

    texts: Sequence[str] | Callable[[int], str]
    reason: str = "repeated_call"
    turns: int | None = 4
    """How many turns there are; None where only the bound holds."""
    order: Work = take
    broken: Work = refuse
    policy: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """That of the tool `order`."""
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    tools: Sequence[Mapping[str, Any]] = ()


LOOPS = {
    "the same call": Loop([A]),
    "another order of keys": Loop([A, OTHER_ORDER_OF_KEYS]),
    "1.0 for 1": Loop([A, OTHER_NUMBER]),
    "other blanks and escapes": Loop([A, OTHER_TEXT]),
    "a key twice": Loop([A, DOUBLE_KEY]),
    "arguments as a string": Loop([A, AS_STRING]),
    "another order deep inside": Loop(NOTES),
    "all ways to write it": Loop([A, OTHER_ORDER_OF_KEYS, OTHER_NUMBER, OTHER_TEXT, DOUBLE_KEY]),
    "two in a turn": Loop([f"{A}\n{A}"], turns=3),
    "three in a turn": Loop([f"{A}\n{A}\n{OTHER_NUMBER}"], turns=2),
    "two in a turn while the first still runs": Loop([f"{A}\n{A}"], turns=3, order=take_slowly),
    "read-only, two in a turn": Loop([f"{LOOK}\n{LOOK}"], turns=3),
    "read-only, while the first still runs": Loop([f"{A}\n{A}"], turns=3, order=take_slowly, policy={"read_only": True}),
    "idempotent": Loop([A], policy={"idempotent": True}),
    "always an error": Loop([BROKEN], broken=fail),
    "always a refusal": Loop([BROKEN]),
    "always a lost connection": Loop([BROKEN], broken=lose),
    "always too much": Loop([BROKEN], broken=say_too_much),
    "always too late": Loop([A], order=hang, policy={"timeout": 0.05}),
    "two by turns": Loop([A, B], turns=6),
    "three by turns": Loop([A, B, C], turns=8),
    "text before the call": Loop([f"I order now. {A}"]),
    "an order and a look": Loop([f"{A}\n{LOOK}"]),
    "invalid calls between": Loop([A, INVALID], turns=6),
    "always invalid": Loop([INVALID]),
    "always an unknown tool": Loop([called("pay", {})]),
    "never the same": Loop(lambda turn: called("order", {"sku": "A", "pieces": turn}), reason="max_turns", turns=MAX_TURNS + 1),
    "one call a turn": Loop([f"{A}\n{A}"], fields={"parallel_tool_calls": False}),
    "one call in all": Loop([A], reason="max_calls", turns=2, fields={"extra": {"tool_budget": {"max_calls": 1}}}),
    "required": Loop([A], fields={"tool_choice": "required"}),
    "with a client's call": Loop([f"{A}\n{A}\n{called('paint', {})}"], reason="client_tools", turns=1, tools=[CLIENT_TOOL]),
    "escalated": Loop([f"{A}\n{BROKEN}"], settings={"escalate": True}),
    "escalated, always invalid": Loop([f"{A}\n{INVALID}"], turns=None, settings={"escalate": True}),
}


def engine_of(loop: Loop) -> ScriptedEngine:
    """An engine that writes the loop's texts where the grammar allows it, as a real engine does."""
    number = 0

    def write(request: EngineRequest) -> str:
        nonlocal number
        text = loop.texts(number) if callable(loop.texts) else loop.texts[number % len(loop.texts)]
        number += 1
        return text if request.structural_tag is None or accepts(request.structural_tag, text) else "I stop."

    return scripted(write)


async def send(server: Running, loop: Loop, *, streamed: bool) -> tuple[dict[str, Any], str]:
    """Return the record and the content of the answer."""
    tools = [*named("order", "look", "broken"), *loop.tools]
    if not streamed:
        answer = await ask(server, tools, **dict(loop.fields))
        return autotool_field(answer), answer.choices[0].message.content or ""
    create: Any = server.client.chat.completions.create
    fields = dict(loop.fields)
    extra = {"mode": "short", **fields.pop("extra", {})}
    request = await create(model=MODEL, messages=QUESTION, tools=tools, stream=True, extra_body=extra, **fields)
    chunks = [chunk async for chunk in request]
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    return autotool_field(chunks[-1]), text


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS.keys())
async def test_a_loop_ends_and_what_acts_is_done_once(loop: Loop, streamed: bool) -> None:
    order, look = Scripted("order", loop.order, ORDER, **loop.policy), Scripted("look", take, ORDER, read_only=True)
    broken = Scripted("broken", loop.broken, ORDER)
    async with with_tools(engine_of(loop), order, look, broken, **loop.settings) as server:
        record, content = await send(server, loop, streamed=streamed)
        await server.idle()
    runs = Counter(Call(tool.spec.name, call).canonical() for tool in (order, look, broken) for call in tool.calls)
    assert set(runs.values()) <= {1}
    assert record["stop_reason"] == loop.reason
    assert len(record["turns"]) == loop.turns or (loop.turns is None and len(record["turns"]) <= MAX_TURNS + 2)
    assert "tool_call>" not in content
    waiting = {"paint"}
    calls = [call for message in record["transcript"] for call in message.get("tool_calls", ())]
    answered = [message["tool_call_id"] for message in record["transcript"] if message["role"] == "tool"]
    assert answered == [call["id"] for call in calls if call["function"]["name"] not in waiting]


async def test_a_repeat_is_answered_from_the_first_result_and_charged_to_no_budget() -> None:
    tool = adder()
    async with with_tools(scripted(ADD_1_2, ADD_1_2, "It is 3."), tool) as server:
        answer = await ask(server, named("math.add"), extra={"tool_budget": {"max_calls": 2}})
        page = await metrics(server)
    assert executions(answer) == [[("math.add", "ok")], [("math.add", "repeated")], []]
    assert results(answer) == ["3", f"{ALREADY_DONE}3"]
    assert autotool_field(answer)["stop_reason"] == "answer"
    assert 'autotool_tool_calls_total{outcome="repeated",tool="math.add"} 1.0' in page


async def test_a_repeatable_tool_is_run_each_time() -> None:
    tool = adder(repeatable=True)
    texts = (f"{ADD_1_2}\n{ADD_1_2}", ADD_1_2, ADD_1_2, "It is 3.")
    async with with_tools(scripted(*texts), tool) as server:
        answer = await ask(server, named("math.add"))
    assert len(tool.calls) == 4
    assert autotool_field(answer)["stop_reason"] == "answer"


async def test_a_failed_call_is_made_again_where_its_turn_is_decoded_again() -> None:
    # The refusal says that nothing was done, and the model that thinks about it has not seen the first try.
    tool = Scripted("math.add", refuse)
    texts = (ADD_1_2, f"Hm.\n</think>\n\n{ADD_1_2}", ADD_1_2, "It does not work.")
    async with with_tools(scripted(*texts), tool, escalate=True) as server:
        answer = await ask(server, named("math.add"))
    assert executions(answer) == [[("math.add", "error")], [("math.add", "error")], [("math.add", "repeated")], []]
    assert len(tool.calls) == 2
    assert results(answer)[1].endswith("Error: There is no such number.")


async def test_a_conversation_that_goes_on_without_a_new_question_repeats_no_call_either() -> None:
    tool = Scripted("order", take, ORDER)
    texts = (f"{A}\n{called('paint', {})}", A, "Ordered and painted.")
    async with with_tools(scripted(*texts), tool) as server:
        tools = [*named("order"), CLIENT_TOOL]
        answer = await ask(server, tools)
        (call,) = answer.choices[0].message.tool_calls or []
        painted = {"role": "tool", "tool_call_id": call.id, "content": "painted"}
        history = [*QUESTION, *autotool_field(answer)["transcript"], painted]
        follow = await ask(server, tools, history)
    assert executions(follow) == [[("order", "repeated")], []]
    assert len(tool.calls) == 1


async def test_a_call_that_a_budget_kept_from_running_is_run_by_the_next_request() -> None:
    tool = Scripted("order", take, ORDER)
    texts = (f"{A}\n{B}\n{called('paint', {})}", f"{A}\n{B}", "Ordered and painted.")
    async with with_tools(scripted(*texts), tool) as server:
        tools = [*named("order"), CLIENT_TOOL]
        answer = await ask(server, tools, extra={"tool_budget": {"max_calls": 1}})
        assert executions(answer) == [[("order", "ok"), ("order", "budget")]]
        (call,) = answer.choices[0].message.tool_calls or []
        painted = {"role": "tool", "tool_call_id": call.id, "content": "painted"}
        follow = await ask(server, tools, [*QUESTION, *autotool_field(answer)["transcript"], painted])
    assert executions(follow) == [[("order", "repeated"), ("order", "ok")], []]


async def test_what_the_user_asks_for_again_is_done_again() -> None:
    tool = Scripted("order", take, ORDER)
    async with with_tools(scripted(A, "Ordered.", A, "Ordered again."), tool) as server:
        answer = await ask(server, named("order"))
        again = await ask(server, named("order"), [*QUESTION, *autotool_field(answer)["transcript"], *QUESTION])
    assert again.choices[0].message.content == "Ordered again."
    assert len(tool.calls) == 2


@pytest.mark.parametrize(
    ("mode", "texts"),
    [("short", (ADD_1_2, "I stop.")), ("long", (f"Hm.\n</think>\n\n{ADD_1_2}", "Hm.\n</think>", "I stop."))],
)
async def test_no_call_can_be_written_in_the_turn_without_tools(mode: str, texts: tuple[str, ...]) -> None:
    engine = scripted(*texts)
    async with with_tools(engine, adder()) as server:
        answer = await ask(server, named("math.add"), extra={"mode": mode, "tool_budget": {"max_turns": 1}})
    tag = engine.requests[-1].structural_tag
    assert answer.choices[0].message.content == "I stop."
    assert accepts(tag, "It is 3 < 4, <tool_cal and so on.")
    assert not accepts(tag, ADD_1_2)
    assert not accepts(tag, "It is </tool_call>")


async def test_the_turn_without_tools_has_the_form_that_was_asked_for() -> None:
    engine = scripted(ADD_1_2, '{"sum": 3}')
    schema = {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"], "additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "sum", "schema": schema}}
    async with with_tools(engine, adder()) as server:
        extra = {"tool_budget": {"max_turns": 1}}
        answer = await ask(server, named("math.add"), extra=extra, response_format=form)
    assert answer.choices[0].message.content == '{"sum": 3}'
    assert accepts(engine.requests[-1].structural_tag, '{"sum": 3}')
    assert not accepts(engine.requests[-1].structural_tag, "It is 3.")
