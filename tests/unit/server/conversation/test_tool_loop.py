"""The loop of server tools: exact scripts over the API, by the official client."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from support.engines import until
from support.serving import MODEL, scripted
from support.tools import (
    ADD_1_2,
    ADD_3_3,
    CLIENT_TOOL,
    NUMBERS,
    QUESTION,
    Scripted,
    Work,
    add,
    adder,
    ask,
    autotool_field,
    called,
    clock,
    executions,
    hang,
    metrics,
    named,
    refuse,
    results,
    stream,
    with_tools,
)

from autotool_server.engines.base import EngineRequest
from autotool_server.tools.base import OversizeError, TransientError


async def test_two_calls_in_sequence_are_answered_in_one_request() -> None:
    engine, tool = scripted(ADD_1_2, ADD_3_3, "It is 6."), adder()
    async with with_tools(engine, tool) as server:
        answer = await ask(server, named("math.add"))
        await server.idle()
    assert answer.choices[0].message.content == "It is 6."
    assert answer.choices[0].message.tool_calls is None
    assert answer.choices[0].finish_reason == "stop"
    assert tool.calls == [{"a": 1, "b": 2}, {"a": 3, "b": 3}]
    assert executions(answer) == [[("math.add", "ok")], [("math.add", "ok")], []]
    assert results(answer) == ["3", "6"]
    assert autotool_field(answer)["stop_reason"] == "answer"
    assert [message["role"] for message in autotool_field(answer)["transcript"]] == ["assistant", "tool"] * 2 + ["assistant"]


async def test_usage_is_the_sum_of_the_turns() -> None:
    async with with_tools(scripted(ADD_1_2, "It is 3."), adder()) as server:
        answer = await ask(server, named("math.add"))
    turns = autotool_field(answer)["turns"]
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == sum(turn["prompt_tokens"] for turn in turns)
    assert answer.usage.completion_tokens == sum(turn["content_tokens"] for turn in turns)
    assert turns[1]["prompt_tokens"] > turns[0]["prompt_tokens"]


async def test_calls_of_one_turn_run_in_parallel_and_their_results_keep_their_order() -> None:
    met = asyncio.Barrier(2)

    async def meet(arguments: Mapping[str, Any]) -> str:
        # Ends only if both run at once; the first one ends last.
        async with asyncio.timeout(10):
            await met.wait()
        await asyncio.sleep(0.05 if arguments["a"] == 1 else 0)
        return str(arguments["a"])

    engine = scripted(f"{ADD_1_2}\n{ADD_3_3}", "Done.")
    async with with_tools(engine, Scripted("math.add", meet)) as server:
        answer = await ask(server, named("math.*"))
    assert results(answer) == ["1", "3"]
    assert executions(answer) == [[("math.add", "ok"), ("math.add", "ok")], []]


async def test_a_stream_tells_what_happens_between_the_turns() -> None:
    engine = scripted(f"First. {ADD_1_2}", "It is 3.")
    async with with_tools(engine, adder()) as server:
        chunks = await stream(server, named("math.add"))
        await server.idle()
    events = [autotool_field(chunk) for chunk in chunks if "event" in (chunk.model_extra or {}).get("autotool", {})]
    assert [event["event"] for event in events] == ["tool_started", "tool_result", "turn"]
    assert json.loads(events[0]["arguments"]) == {"a": 1, "b": 2}
    assert (events[1]["outcome"], events[1]["content"], events[1]["id"]) == ("ok", "3", events[0]["id"])
    assert events[2]["executions"][0]["id"] == events[0]["id"]
    assert all(not chunk.choices for chunk in chunks if "event" in (chunk.model_extra or {}).get("autotool", {}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == "First.\n\nIt is 3."
    assert not any(chunk.choices[0].delta.tool_calls for chunk in chunks if chunk.choices)
    assert autotool_field(chunks[-1])["stop_reason"] == "answer"


async def test_a_stream_and_an_answer_say_the_same() -> None:
    texts = (f"First. {ADD_1_2}", "It is 3.")
    async with with_tools(scripted(*texts), adder()) as server:
        answer = await ask(server, named("math.add"))
    assert answer.choices[0].message.content == "First.\n\nIt is 3."


async def test_the_openai_clients_stream_helper_passes_over_the_events() -> None:
    async with with_tools(scripted(ADD_1_2, "It is 3."), adder()) as server:
        helper: Any = server.client.chat.completions.stream
        body = {"tools": named("math.add"), "mode": "short"}
        async with helper(model=MODEL, messages=QUESTION, extra_body=body) as answer:
            async for _ in answer:
                pass
            final = await answer.get_final_completion()
    assert final.choices[0].message.content == "It is 3."


async def test_calls_of_client_tools_end_the_request_and_the_transcript_goes_on_without_loss() -> None:
    engine = scripted(f"{ADD_1_2}\n{called('paint', {'colour': 'red'})}", "Painted, and it is 3.")
    tools = [*named("math.add"), CLIENT_TOOL]
    async with with_tools(engine, adder()) as server:
        answer = await ask(server, tools)
        (call,) = answer.choices[0].message.tool_calls or []
        assert call.type == "function"
        assert (call.function.name, json.loads(call.function.arguments)) == ("paint", {"colour": "red"})
        assert answer.choices[0].finish_reason == "tool_calls"
        assert autotool_field(answer)["stop_reason"] == "client_tools"
        result = {"role": "tool", "tool_call_id": call.id, "content": "painted"}
        follow = await ask(server, tools, [*QUESTION, *autotool_field(answer)["transcript"], result])
    assert follow.choices[0].message.content == "Painted, and it is 3."
    prompt = engine.tokenizer.decode(engine.requests[-1].prompt_ids)
    assert prompt.index('"a": 1') < prompt.index("tool\n3") < prompt.index("painted")


async def test_a_streamed_client_call_has_the_id_of_the_transcript_and_index_0() -> None:
    engine = scripted(f"{ADD_1_2}\n{called('paint', {})}")
    async with with_tools(engine, adder()) as server:
        chunks = await stream(server, [*named("math.add"), CLIENT_TOOL])
    deltas = [one for chunk in chunks if chunk.choices for one in chunk.choices[0].delta.tool_calls or ()]
    assert {one.index for one in deltas} == {0}
    assert deltas[0].id == autotool_field(chunks[-1])["transcript"][0]["tool_calls"][1]["id"]


async def test_replaying_the_transcript_renders_what_the_loop_rendered() -> None:
    engine = scripted("Hm.\n</think>\n\n" + ADD_1_2, "So 3.\n</think>\n\nIt is 3.", "Again.\n</think>\n\nYes.")
    async with with_tools(engine, adder()) as server:
        answer = await ask(server, named("math.add"), extra={"mode": "long"})
        transcript = autotool_field(answer)["transcript"]
        await ask(server, named("math.add"), [*QUESTION, *transcript[:-1]], extra={"mode": "long"})
    assert list(engine.requests[1].prompt_ids) == list(engine.requests[2].prompt_ids)


async def test_each_turn_decides_its_own_mode() -> None:
    engine = scripted(ADD_1_2, "It is 3.", log_odds=-50.0)
    async with with_tools(engine, adder()) as server:
        answer = await ask(server, named("math.add"), extra={"mode": "auto"})
    assert [turn["decided_by"] for turn in autotool_field(answer)["turns"]] == ["model", "model"]
    assert [turn["decision_tokens"] for turn in autotool_field(answer)["turns"]] == [1, 1]


async def test_a_call_inside_the_think_block_is_never_run() -> None:
    tool = adder(read_only=True)
    engine = scripted(f"I could {ADD_1_2} here.\n</think>\n\nNo.")
    async with with_tools(engine, tool) as server:
        answer = await ask(server, named("math.add"), extra={"mode": "long"})
    assert tool.calls == []
    assert answer.choices[0].message.content == "No."


async def test_read_only_calls_start_while_the_model_still_decodes() -> None:
    started = asyncio.Event()

    async def note(_: Mapping[str, Any]) -> str:
        started.set()
        return "noted"

    def gate() -> Any:
        # The engine goes on past the first call only once that call has started.
        if len(decoded) > len(ADD_1_2):
            return asyncio.ensure_future(started.wait())
        decoded.append(0)
        return None

    decoded: list[int] = []
    engine = scripted(f"{ADD_1_2}\n{ADD_3_3} and more text", "Done.")
    engine.gate = gate
    async with with_tools(engine, Scripted("math.add", note, read_only=True)) as server:
        answer = await ask(server, named("math.add"))
    assert executions(answer)[0] == [("math.add", "ok"), ("math.add", "ok")]


async def test_the_overlap_of_an_eager_call_is_recorded() -> None:
    async def slow(_: Mapping[str, Any]) -> str:
        await asyncio.sleep(0.05)
        return "ok"

    def wait() -> Any:
        return asyncio.ensure_future(asyncio.sleep(0.002))

    texts = (ADD_1_2 + " and text" * 10, "Done.")
    overlaps: list[float] = []
    for read_only in (True, False):
        engine = scripted(*texts)
        engine.gate = wait
        async with with_tools(engine, Scripted("math.add", slow, read_only=read_only)) as server:
            answer = await ask(server, named("math.add"))
        overlaps.append(autotool_field(answer)["turns"][0]["executions"][0]["overlap_seconds"])
    assert overlaps[0] > 0.01
    assert overlaps[1] == 0


@pytest.mark.parametrize(
    ("budget", "reason", "ran"),
    [({"max_turns": 2}, "max_turns", 2), ({"max_calls": 3}, "max_calls", 3)],
)
async def test_a_model_that_repeats_its_call_for_ever_is_ended_by_the_budget(
    budget: dict[str, int], reason: str, ran: int
) -> None:
    tool = adder(repeatable=True)
    engine = scripted(lambda request: ADD_1_2 if b"Tools" in _prompt(engine, request) else "I give up.")
    async with with_tools(engine, tool) as server:
        answer = await ask(server, named("math.add"), extra={"tool_budget": budget})
        page = await metrics(server)
    assert len(tool.calls) == ran
    assert autotool_field(answer)["stop_reason"] == reason
    assert answer.choices[0].message.content == "I give up."
    assert f'autotool_tool_budget_stops_total{{budget="{reason}"}} 1.0' in page


async def test_calls_above_the_budget_are_closed_with_a_result() -> None:
    tool = adder()
    engine = scripted(f"{ADD_1_2}\n{ADD_3_3}\n{called('math.add', {'a': 5, 'b': 5})}", "Enough.")
    async with with_tools(engine, tool) as server:
        answer = await ask(server, named("math.add"), extra={"tool_budget": {"max_calls": 2}})
    assert len(tool.calls) == 2
    assert executions(answer)[0][2] == ("math.add", "budget")
    assert "budget of tool calls" in results(answer)[2]
    assert autotool_field(answer)["stop_reason"] == "max_calls"


async def test_the_budget_of_time_ends_a_tool_and_the_model_answers() -> None:
    tool = Scripted("math.add", hang)
    async with with_tools(scripted(ADD_1_2, "Too slow."), tool) as server:
        answer = await ask(server, named("math.add"), extra={"tool_budget": {"max_seconds": 0.1}})
        assert tool.running == 0
    assert executions(answer) == [[("math.add", "budget")], []]
    assert (autotool_field(answer)["stop_reason"], answer.choices[0].message.content) == ("max_seconds", "Too slow.")


async def test_a_call_ends_at_the_limit_of_time_while_the_model_still_decodes() -> None:
    tool = Scripted("math.add", hang, read_only=True)
    engine = scripted(ADD_1_2 + "\nI wait. " * 40, "Too slow.")
    # Decodes nothing more until the call has ended.
    engine.gate = lambda: asyncio.ensure_future(until(lambda: not tool.running))
    async with with_tools(engine, tool) as server:
        answer = await ask(server, named("math.add"), extra={"tool_budget": {"max_seconds": 0.3}})
    (execution,) = autotool_field(answer)["turns"][0]["executions"]
    assert execution["outcome"] == "budget"
    assert execution["seconds"] == pytest.approx(execution["overlap_seconds"])


async def test_calls_that_start_early_take_no_budget_from_those_before_them() -> None:
    first, second = Scripted("send", add), adder(read_only=True)
    texts = (f"{called('send', {'a': 1, 'b': 1})}\n{ADD_1_2}", "Done.")
    async with with_tools(scripted(*texts), first, second) as server:
        answer = await ask(server, named("send", "math.add"), extra={"tool_budget": {"max_calls": 1}})
    assert executions(answer)[0] == [("send", "ok"), ("math.add", "budget")]


async def test_a_server_tool_whose_schema_no_grammar_can_hold_is_checked_before_the_call_instead() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}, "required": ["a"]}
    tool = Scripted("odd", clock, schema)
    texts = (called("odd", {"a": [1, 1]}), called("odd", {"a": [1]}), "Done.")
    async with with_tools(scripted(*texts), tool) as server:
        answer = await ask(server, named("odd"), tool_choice="required")
    assert executions(answer) == [[("odd", "invalid_arguments")], [("odd", "ok")], []]


def _prompt(engine: Any, request: EngineRequest) -> bytes:
    return engine.tokenizer.decode(request.prompt_ids).encode()


class TestEscalation:
    async def test_a_short_turn_with_bad_arguments_is_decoded_again_in_long(self) -> None:
        texts = (called("math.add", {"a": 1}), "Both numbers.\n</think>\n\n" + ADD_1_2, "It is 3.")
        tool = adder()
        async with with_tools(scripted(*texts), tool, escalate=True) as server:
            answer = await ask(server, named("math.add"))
            page = await metrics(server)
        turns = autotool_field(answer)["turns"]
        assert [turn["escalated"] for turn in turns] == ["invalid_arguments", None, None]
        assert [turn["resolved"] for turn in turns] == ["short", "long", "short"]
        assert tool.calls == [{"a": 1, "b": 2}]
        assert results(answer) == ["3"]
        assert all(turn["content_tokens"] for turn in turns)
        assert 'autotool_tool_escalations_total{reason="invalid_arguments"} 1.0' in page

    async def test_a_call_that_fails_is_decoded_again_once(self) -> None:
        texts = (ADD_1_2, "Hm.\n</think>\n\n" + ADD_3_3, "It does not work.")
        tool = Scripted("math.add", refuse)
        async with with_tools(scripted(*texts), tool, escalate=True) as server:
            answer = await ask(server, named("math.add"))
        assert [turn["escalated"] for turn in autotool_field(answer)["turns"]] == ["error", None, None]
        assert len(tool.calls) == 2
        assert results(answer) == ["Error: There is no such number."]

    async def test_what_must_not_be_done_twice_is_not(self) -> None:
        sent = Scripted("send", add)
        broken = Scripted("math.add", refuse)
        texts = (f"{called('send', {'a': 1, 'b': 1})}\n{ADD_1_2}", "It does not work.")
        async with with_tools(scripted(*texts), sent, broken, escalate=True) as server:
            answer = await ask(server, named("send", "math.add"))
        assert [turn["escalated"] for turn in autotool_field(answer)["turns"]] == [None, None]
        assert len(sent.calls) == 1

    @pytest.mark.parametrize("error", [RuntimeError("half way"), TransientError("The service broke off."), OversizeError(1)])
    async def test_what_may_have_been_done_is_not_done_again(self, error: Exception) -> None:
        async def break_off(_: Mapping[str, Any]) -> str:
            raise error

        tool = Scripted("math.add", break_off)
        async with with_tools(scripted(ADD_1_2, "It does not work."), tool, escalate=True) as server:
            answer = await ask(server, named("math.add"))
        assert len(tool.calls) == 1
        assert [turn["escalated"] for turn in autotool_field(answer)["turns"]] == [None, None]

    @pytest.mark.parametrize(
        ("text", "work", "outcome"),
        [
            (called("math.add", {"a": 1}), add, "invalid_arguments"),
            (ADD_1_2, refuse, "error"),
        ],
    )
    async def test_where_no_tokens_are_left_for_it_the_result_stands(self, text: str, work: Work, outcome: str) -> None:
        tool = Scripted("math.add", work)
        engine = scripted(text)
        tokens = len(engine.tokenizer.encode(text, add_special_tokens=False)) + 1
        async with with_tools(engine, tool, escalate=True) as server:
            answer = await ask(server, named("math.add"), max_completion_tokens=tokens)
        assert [turn["escalated"] for turn in autotool_field(answer)["turns"]] == [None]
        assert executions(answer)[0] == [("math.add", outcome)]
        assert len(results(answer)) == 1
        assert answer.choices[0].finish_reason == "length"

    async def test_where_no_call_is_left_for_it_the_result_stands(self) -> None:
        tool = Scripted("math.add", refuse)
        async with with_tools(scripted(ADD_1_2, "Sorry."), tool, escalate=True) as server:
            answer = await ask(server, named("math.add"), extra={"tool_budget": {"max_calls": 1}})
        assert [turn["escalated"] for turn in autotool_field(answer)["turns"]] == [None, None]
        assert executions(answer)[0] == [("math.add", "error")]
        assert answer.choices[0].message.content == "Sorry."

    async def test_the_record_tells_which_call_was_mistaken(self) -> None:
        texts = (f"{ADD_1_2}\n{called('math.add', {'a': 1})}", "Hm.\n</think>\n\nNo.")
        async with with_tools(scripted(*texts), adder(), escalate=True) as server:
            answer = await ask(server, named("math.add"))
        assert executions(answer) == [[("math.add", "not_run"), ("math.add", "invalid_arguments")], []]

    async def test_it_is_off_unless_set(self) -> None:
        async with with_tools(scripted(called("math.add", {"a": 1}), "Sorry."), adder()) as server:
            answer = await ask(server, named("math.add"))
        assert [turn["escalated"] for turn in autotool_field(answer)["turns"]] == [None, None]


async def test_the_bound_on_tokens_is_of_all_turns() -> None:
    engine = scripted(ADD_1_2, "It is 3.")
    async with with_tools(engine, adder()) as server:
        bound = len(engine.tokenizer.encode(ADD_1_2)) + 4
        answer = await ask(server, named("math.add"), max_completion_tokens=bound)
    assert answer.usage is not None
    assert answer.usage.completion_tokens <= bound
    assert answer.choices[0].finish_reason == "length"
    assert results(answer) == ["3"]


async def test_a_call_cut_by_the_bound_is_closed_and_not_run() -> None:
    tool = adder()
    engine = scripted(ADD_1_2)
    async with with_tools(engine, tool) as server:
        answer = await ask(server, named("math.add"), max_completion_tokens=len(engine.tokenizer.encode(ADD_1_2)) - 4)
    assert tool.calls == []
    assert answer.choices[0].finish_reason == "length"
    assert executions(answer) == [[("math.add", "not_run")]]


async def test_the_list_of_tools_has_their_schemas() -> None:
    async with with_tools(scripted("Hi."), adder(read_only=True)) as server:
        listed = await server.client.get("/tools", cast_to=object)
    (tool,) = listed["data"]  # type: ignore[index] # pyright: ignore[reportIndexIssue]
    assert (tool["name"], tool["parameters"], tool["read_only"], tool["disabled"]) == ("math.add", NUMBERS, True, None)


async def test_a_required_call_is_of_the_first_turn_only() -> None:
    async with with_tools(scripted(ADD_1_2, "It is 3."), adder()) as server:
        answer = await ask(server, named("math.add"), tool_choice="required")
    assert answer.choices[0].message.content == "It is 3."
