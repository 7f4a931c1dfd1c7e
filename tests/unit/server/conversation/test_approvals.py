"""Calls that the user must approve: the request ends, and goes on with the user's decisions."""

import asyncio
from pathlib import Path
from typing import Any

import openai
import pytest
from support.grammars import accepts
from support.keys import bearer, write_keys
from support.serving import Running, scripted
from support.tools import (
    ADD_1_2,
    ADD_3_3,
    CLIENT_TOOL,
    QUESTION,
    Scripted,
    add,
    adder,
    ask,
    autotool_field,
    called,
    executions,
    fail,
    named,
    results,
    stream,
    with_tools,
)

from autotool_server.tools.results import ALREADY_DONE, BROKEN_OFF, ERROR, NOT_APPROVED, NOT_RUN

SEND_1_1 = called("send", {"a": 1, "b": 1})
SEND_2_2 = called("send", {"a": 2, "b": 2})
TOOLS = named("math.add", "send")


def sender(approval: str = "always", **policy: Any) -> Scripted:
    """A tool that needs approval."""
    return Scripted("send", add, approval=approval, **policy)


def pending(answer: Any) -> list[tuple[str, str]]:
    """Return the names and arguments of the calls that wait."""
    record = autotool_field(answer)
    assert (record["stop_reason"] == "approval_required") == ("pending_calls" in record)
    return [(call["name"], call["arguments"]) for call in record.get("pending_calls", ())]


async def decide(server: Running, answer: Any, *decisions: bool, history: Any = QUESTION, **fields: Any) -> Any:
    """Send the conversation on, with a decision about each call that waits."""
    record = autotool_field(answer)
    approvals = {call["id"]: decision for call, decision in zip(record["pending_calls"], decisions, strict=True)}
    tools = fields.pop("tools", TOOLS)
    return await ask(server, tools, [*history, *record["transcript"]], extra={"tool_approvals": approvals}, **fields)


async def test_a_call_waits_for_approval_while_the_others_of_its_turn_run() -> None:
    tool, send = adder(), sender()
    engine = scripted(f"{ADD_1_2}\n{SEND_1_1}", "Sent.")
    async with with_tools(engine, tool, send) as server:
        answer = await ask(server, TOOLS)
        assert (pending(answer), send.calls) == ([("send", '{"a": 1, "b": 1}')], [])
        assert executions(answer) == [[("math.add", "ok"), ("send", "approval_required")]]
        assert (results(answer), answer.choices[0].finish_reason) == (["3"], "stop")
        assert answer.choices[0].message.tool_calls is None
        follow = await decide(server, answer, True)
        await server.idle()
    assert send.calls == [{"a": 1, "b": 1}]
    assert follow.choices[0].message.content == "Sent."
    assert autotool_field(follow)["stop_reason"] == "answer"
    assert executions(follow) == [[("send", "ok")]]
    assert [message["role"] for message in autotool_field(follow)["transcript"]] == ["tool", "assistant"]
    prompt = engine.tokenizer.decode(engine.requests[-1].prompt_ids)
    assert prompt.index('"a": 1') < prompt.index("tool\n3") < prompt.index("tool\n2")


async def test_a_refused_call_is_not_run_and_the_model_is_told() -> None:
    send = sender()
    async with with_tools(scripted(f"{SEND_1_1}\n{SEND_2_2}", "One was sent."), adder(), send) as server:
        answer = await ask(server, TOOLS)
        follow = await decide(server, answer, False, True)
    assert send.calls == [{"a": 2, "b": 2}]
    assert results(follow) == [NOT_APPROVED, "4"]
    assert executions(follow) == [[("send", "refused"), ("send", "ok")]]
    assert follow.choices[0].message.content == "One was sent."


async def test_an_approved_call_is_run_once_however_often_the_model_makes_it() -> None:
    send = sender()
    async with with_tools(scripted(SEND_1_1), adder(), send) as server:
        answer = await ask(server, TOOLS)
        follow = await decide(server, answer, True)
    assert len(send.calls) == 1
    assert autotool_field(follow)["stop_reason"] == "repeated_call"
    assert executions(follow)[:2] == [[("send", "ok"), ("send", "repeated")], [("send", "repeated")]]


async def test_what_ran_before_the_approval_is_not_run_again_after_it() -> None:
    tool, send = adder(), sender()
    async with with_tools(scripted(f"{ADD_1_2}\n{SEND_1_1}", ADD_1_2, "It is 3."), tool, send) as server:
        answer = await ask(server, TOOLS)
        await decide(server, answer, True)
    assert len(tool.calls) == 1


async def test_two_equal_calls_that_are_approved_are_run_once() -> None:
    send = sender()
    async with with_tools(scripted(f"{SEND_1_1}\n{SEND_1_1}", "Sent."), adder(), send) as server:
        answer = await ask(server, TOOLS)
        follow = await decide(server, answer, True, True)
    assert len(send.calls) == 1
    assert executions(follow) == [[("send", "ok"), ("send", "repeated")]]


@pytest.mark.parametrize("repeatable", [False, True])
async def test_a_request_that_is_sent_again_runs_nothing_again(repeatable: bool) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def send_slowly(_: Any) -> str:
        started.set()
        await go_on.wait()
        return "sent"

    send = Scripted("send", send_slowly, approval="always", repeatable=repeatable)
    async with with_tools(scripted(SEND_1_1, "Sent."), adder(), send) as server:
        answer = await ask(server, TOOLS)
        first = asyncio.create_task(decide(server, answer, True))
        await started.wait()
        second = asyncio.create_task(decide(server, answer, True))
        go_on.set()
        sent = [await first, await second, await decide(server, answer, True)]
    assert len(send.calls) == 1
    assert [executions(one)[0] for one in sent] == [[("send", "ok")], [("send", "repeated")], [("send", "repeated")]]
    assert all(results(one)[0].endswith("sent") for one in sent)


async def test_what_one_key_has_approved_answers_no_other_key(tmp_path: Path) -> None:
    """A key that knows another's call, its id included, must neither read its result nor pass for having approved it."""
    keys, send = write_keys(tmp_path, alice={}, bob={}), sender()
    async with with_tools(scripted(SEND_1_1, "Sent."), adder(), send, keys=keys, api_key="own") as server:
        answer = await ask(server, TOOLS, extra_headers=bearer("alice"))
        for number, key in enumerate(("alice", "bob", "own"), 1):
            for _ in range(2):
                follow = await decide(server, answer, True, extra_headers=bearer(key))
                assert results(follow)[0].endswith("2")
            assert len(send.calls) == number
        waiting = await decide(server, answer, False, extra_headers=bearer("bob"))
        assert results(waiting) == [NOT_APPROVED]


@pytest.mark.parametrize(("read_only", "runs"), [(False, 1), (True, 2)])
async def test_an_approved_call_that_was_broken_off_is_run_again_only_if_it_changes_nothing(read_only: bool, runs: int) -> None:
    started = asyncio.Event()

    async def send_for_ever_at_first(_: Any) -> str:
        if not started.is_set():
            started.set()
            await asyncio.Event().wait()
        return "sent"

    send = Scripted("send", send_for_ever_at_first, approval="always", read_only=read_only)
    async with with_tools(scripted(SEND_1_1, "Hm."), adder(), send) as server:
        answer = await ask(server, TOOLS)
        first = asyncio.create_task(decide(server, answer, True))
        await started.wait()
        second = asyncio.create_task(decide(server, answer, True))
        # Either may come first: that the second request waits for the call, or that the call is cancelled.
        await asyncio.sleep(0.1)
        first.cancel()
        early = results(await second)[0]
        late = results(await decide(server, answer, True))[0]
    assert len(send.calls) == runs
    assert early.startswith((NOT_RUN, "sent") if read_only else BROKEN_OFF)
    assert late.endswith("sent") if read_only else late == early


@pytest.mark.parametrize(
    ("result", "asks"),
    [
        ("4", False),
        (f"{ALREADY_DONE}4", False),
        (f"{NOT_RUN}a: This is missing.", True),
        (f"{ERROR}The tool failed.", True),
        (f"{ALREADY_DONE}{ERROR}The tool failed.", True),
        (NOT_APPROVED, True),
    ],
)
async def test_a_call_before_the_request_stands_for_approval_only_if_it_succeeded(result: str, asks: bool) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "send", "arguments": '{"a": 2, "b": 2}'}}
    said = {"role": "assistant", "content": "", "tool_calls": [call]}
    send = sender("first")
    async with with_tools(scripted(SEND_1_1, "Sent."), adder(), send) as server:
        answer = await ask(server, TOOLS, [*QUESTION, said, {"role": "tool", "tool_call_id": "call_1", "content": result}])
    assert (bool(pending(answer)), len(send.calls)) == (asks, not asks)


async def test_a_decision_holds_where_no_further_call_may_be_made() -> None:
    send, engine = sender(), scripted(SEND_1_1, "Sent.")
    async with with_tools(engine, adder(), send) as server:
        answer = await ask(server, TOOLS)
        follow = await decide(server, answer, True, tool_choice="none")
    assert (follow.choices[0].message.content, len(send.calls)) == ("Sent.", 1)
    assert autotool_field(follow)["stop_reason"] == "answer"
    assert not accepts(engine.requests[-1].structural_tag, SEND_2_2)


async def test_the_first_call_alone_needs_approval() -> None:
    send = sender("first")
    texts = (SEND_1_1, SEND_2_2, "Sent.", SEND_1_1, "Sent again.")
    async with with_tools(scripted(*texts), adder(), send) as server:
        answer = await ask(server, TOOLS)
        assert pending(answer)
        follow = await decide(server, answer, True)
        history = [*QUESTION, *autotool_field(answer)["transcript"], *autotool_field(follow)["transcript"], *QUESTION]
        again = await ask(server, TOOLS, history)
    assert send.calls == [{"a": 1, "b": 1}, {"a": 2, "b": 2}, {"a": 1, "b": 1}]
    assert again.choices[0].message.content == "Sent again."


async def test_a_first_call_that_was_refused_is_asked_for_again() -> None:
    send = sender("first")
    async with with_tools(scripted(SEND_1_1, "Then not.", SEND_1_1), adder(), send) as server:
        answer = await ask(server, TOOLS)
        follow = await decide(server, answer, False)
        history = [*QUESTION, *autotool_field(answer)["transcript"], *autotool_field(follow)["transcript"], *QUESTION]
        again = await ask(server, TOOLS, history)
    assert send.calls == []
    assert pending(again)


async def test_a_stream_names_the_calls_that_wait() -> None:
    async with with_tools(scripted(f"I ask. {SEND_1_1}"), adder(), sender(read_only=True)) as server:
        chunks = await stream(server, TOOLS)
    events = [autotool_field(chunk) for chunk in chunks if "event" in (chunk.model_extra or {}).get("autotool", {})]
    assert [(event["event"], event["name"], event["arguments"]) for event in events] == [
        ("approval_required", "send", '{"a": 1, "b": 1}')
    ]
    (waiting,) = autotool_field(chunks[-1])["pending_calls"]
    assert waiting["id"] == events[0]["id"]


async def test_a_stream_goes_on_with_the_calls_that_were_approved() -> None:
    async with with_tools(scripted(SEND_1_1, "Sent."), adder(), sender()) as server:
        answer = await ask(server, TOOLS)
        record = autotool_field(answer)
        create: Any = server.client.chat.completions.create
        extra = {"mode": "short", "tool_approvals": {record["pending_calls"][0]["id"]: True}}
        history = [*QUESTION, *record["transcript"]]
        request = await create(model="tested", messages=history, tools=TOOLS, stream=True, extra_body=extra)
        chunks = [chunk async for chunk in request]
    events = [chunk.autotool["event"] for chunk in chunks if "event" in (chunk.model_extra or {}).get("autotool", {})]
    assert events == ["tool_started", "tool_result"]
    assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices) == "Sent."


async def test_calls_of_the_client_and_calls_that_wait_may_be_in_one_turn() -> None:
    send = sender()
    tools = [*TOOLS, CLIENT_TOOL]
    async with with_tools(scripted(f"{SEND_1_1}\n{called('paint', {})}", "Done."), adder(), send) as server:
        answer = await ask(server, tools)
        (call,) = answer.choices[0].message.tool_calls or []
        assert (pending(answer), answer.choices[0].finish_reason) == ([("send", '{"a": 1, "b": 1}')], "tool_calls")
        painted = {"role": "tool", "tool_call_id": call.id, "content": "painted"}
        approvals = {autotool_field(answer)["pending_calls"][0]["id"]: True}
        history = [*QUESTION, *autotool_field(answer)["transcript"], painted]
        follow = await ask(server, tools, history, extra={"tool_approvals": approvals})
    assert (follow.choices[0].message.content, len(send.calls)) == ("Done.", 1)


async def test_a_turn_that_is_decoded_again_asks_for_nothing() -> None:
    texts = (f"{SEND_1_1}\n{called('math.add', {'a': 1})}", f"Hm.\n</think>\n\n{SEND_2_2}", "Sent.")
    send = sender()
    async with with_tools(scripted(*texts), adder(), send, escalate=True) as server:
        answer = await ask(server, TOOLS)
    assert pending(answer) == [("send", '{"a": 2, "b": 2}')]


async def test_a_required_call_was_made_before_the_approval() -> None:
    engine = scripted(SEND_1_1, "Sent.")
    async with with_tools(engine, adder(), sender()) as server:
        answer = await ask(server, TOOLS, tool_choice="required")
        await decide(server, answer, True, tool_choice="required")
    assert engine.requests[-1].structural_tag is None


async def test_results_without_room_end_the_request_with_the_calls_in_its_record() -> None:
    send = Scripted("send", lambda _: asyncio.sleep(0, "x" * 16_000), approval="always")
    engine = scripted(SEND_1_1, "Sent.")
    async with with_tools(engine, adder(), send) as server:
        answer = await ask(server, TOOLS)
        follow = await decide(server, answer, True)
    assert results(follow) == ["Error: The result does not fit into the model's context. Ask for less."]
    assert (executions(follow), follow.choices[0].message.content) == ([[("send", "ok")]], "Sent.")


async def test_budgets_hold_for_approved_calls() -> None:
    broken = Scripted("send", fail, approval="always")
    async with with_tools(scripted(f"{SEND_1_1}\n{SEND_2_2}", "Enough."), adder(), broken) as server:
        answer = await ask(server, TOOLS)
        record = autotool_field(answer)
        approvals = {call["id"]: True for call in record["pending_calls"]}
        extra = {"tool_approvals": approvals, "tool_budget": {"max_calls": 1}}
        follow = await ask(server, TOOLS, [*QUESTION, *record["transcript"]], extra=extra)
    assert executions(follow) == [[("send", "error"), ("send", "budget")]]
    assert autotool_field(follow)["stop_reason"] == "max_calls"
    assert len(broken.calls) == 1


class TestDecisionsThatDoNotFit:
    async def refused(self, server: Running, messages: Any, approvals: Any, tools: Any = TOOLS, **fields: Any) -> str:
        extra = {} if approvals is None else {"tool_approvals": approvals}
        with pytest.raises(openai.BadRequestError) as caught:
            await ask(server, tools, messages, extra=extra, **fields)
        assert caught.value.param == "tool_approvals"
        return caught.value.message

    async def test_they_are_refused_by_name_before_anything_runs(self) -> None:
        send = sender()
        engine = scripted(f"{ADD_1_2}\n{SEND_1_1}\n{ADD_3_3}\n{called('paint', {})}", "Sent.")
        async with with_tools(engine, adder(), send) as server:
            answer = await ask(server, [*TOOLS, CLIENT_TOOL])
            transcript = autotool_field(answer)["transcript"]
            ids = [call["id"] for call in transcript[0]["tool_calls"]]
            (waiting,) = [call["id"] for call in autotool_field(answer)["pending_calls"]]
            history = [*QUESTION, *transcript]
            assert "waits for the user's approval" in await self.refused(server, history, None)
            assert "waits for the user's approval" in await self.refused(server, history, {})
            for other in (ids[0], ids[3], "call_unknown"):
                message = await self.refused(server, history, {waiting: True, other: True}, [*TOOLS, CLIENT_TOOL])
                assert "does not wait" in message
                assert other not in message
            assert "does not wait" in await self.refused(server, [*history, *QUESTION], {waiting: True})
            assert "does not wait" in await self.refused(server, QUESTION, {waiting: True})
            assert "only allowed with server tools" in await self.refused(server, history, {waiting: True}, [CLIENT_TOOL])
            await server.idle()
        assert (send.calls, len(engine.requests)) == ([], 1)

    async def test_a_new_question_leaves_the_call_undone(self) -> None:
        send = sender()
        async with with_tools(scripted(SEND_1_1, "Then not."), adder(), send) as server:
            answer = await ask(server, TOOLS)
            follow = await ask(server, TOOLS, [*QUESTION, *autotool_field(answer)["transcript"], *QUESTION])
        assert (follow.choices[0].message.content, send.calls) == ("Then not.", [])


async def test_anthropics_api_which_cannot_ask_refuses_such_tools() -> None:
    async with with_tools(scripted("Hi."), adder(), sender()) as server:
        body = {"model": "tested", "max_tokens": 16, "messages": QUESTION, "tools": named("send")}
        with pytest.raises(openai.BadRequestError, match="/v1/responses"):
            await server.client.post("/messages", body=body, cast_to=object)
        answer: Any = await server.client.post("/messages", body=body | {"tools": named("math.add")}, cast_to=object)
    assert answer["stop_reason"] == "end_turn"


async def test_the_list_of_tools_says_which_need_approval_and_which_may_be_repeated() -> None:
    async with with_tools(scripted("Hi."), adder(repeatable=True), sender("first")) as server:
        listed: Any = await server.client.get("/tools", cast_to=object)
    shown = {tool["name"]: (tool["approval"], tool["repeatable"]) for tool in listed["data"]}
    assert shown == {"math.add": ("never", True), "send": ("first", False)}
