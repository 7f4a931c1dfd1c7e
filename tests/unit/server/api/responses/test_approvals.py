"""Approval of calls in the words of the Responses API: `mcp_approval_request` and `mcp_approval_response`."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.responses import ADD, ask, kinds, post, stream, text
from support.serving import scripted
from support.tools import ADD_1_2, QUESTION, Scripted, add, adder, autotool_field, called, named, with_tools
from support.tools import ask as chat

from autotool_server.tools.results import NOT_APPROVED

SEND = called("send", {"a": 1, "b": 1})
TOOLS = named("math.add", "send")
TEXTS = (f"I send. {ADD_1_2}\n{SEND}", "Sent.", "Yes.")


def sender() -> Scripted:
    return Scripted("send", add, approval="always")


def decision(response: dict[str, Any], *, approve: bool) -> dict[str, Any]:
    (request,) = [item for item in response["output"] if item["type"] == "mcp_approval_request"]
    return {"type": "mcp_approval_response", "approval_request_id": request["id"], "approve": approve}


async def test_a_call_waits_in_an_item_of_its_own() -> None:
    send = sender()
    async with with_tools(scripted(*TEXTS), adder(), send) as server:
        response = await ask(server, tools=TOOLS)
    assert (kinds(response), response["status"]) == (["message", "mcp_call", "mcp_approval_request"], "completed")
    request = response["output"][-1]
    assert (request["name"], request["server_label"]) == ("send", "autotool")
    assert json.loads(request["arguments"]) == {"a": 1, "b": 1}
    assert "status" not in request
    assert response["autotool"]["stop_reason"] == "approval_required"
    assert send.calls == []


async def test_a_stream_tells_of_it_once() -> None:
    async with with_tools(scripted(SEND), adder(), sender()) as server:
        events = await stream(server, tools=TOOLS)
    assert [event["type"].removeprefix("response.") for event in events] == [
        "created",
        "in_progress",
        "output_item.added",
        "output_item.done",
        "completed",
    ]
    assert events[3]["item"] == events[-1]["response"]["output"][0]


@pytest.mark.parametrize("approve", [True, False])
async def test_the_conversation_goes_on_with_the_decision_as_over_chat_completions(approve: bool) -> None:
    send, engine = sender(), scripted(*TEXTS)
    async with with_tools(engine, adder(), send) as server:
        items: list[Any] = [{"role": "user", "content": QUESTION[0]["content"]}]
        first = await ask(server, tools=TOOLS, input=items)
        items += [*first["output"], decision(first, approve=approve)]
        second = await ask(server, tools=TOOLS, input=items)
        call, message = second["output"]
        items += [*second["output"], {"role": "user", "content": "Sure?"}]
        third = await ask(server, tools=TOOLS, input=items)
    assert len(send.calls) == approve
    assert (call["type"], call["name"], call["approval_request_id"]) == ("mcp_call", "send", first["output"][-1]["id"])
    assert call["output"] == "2" if approve else call["error"]["content"] == NOT_APPROVED
    assert (message["content"][0]["text"], text(third)) == ("Sent.", "Yes.")
    other = scripted(*TEXTS)
    async with with_tools(other, adder(), sender()) as server:
        answer = await chat(server, TOOLS)
        record = autotool_field(answer)
        history = [*QUESTION, *record["transcript"]]
        approvals = {record["pending_calls"][0]["id"]: approve}
        follow = await chat(server, TOOLS, history, extra={"tool_approvals": approvals})
        history += [*autotool_field(follow)["transcript"], {"role": "user", "content": "Sure?"}]
        await chat(server, TOOLS, history)
    assert [[*request.prompt_ids] for request in engine.requests] == [[*request.prompt_ids] for request in other.requests]


async def test_a_decision_may_follow_a_stored_response(tmp_path: Path) -> None:
    send = sender()
    store = f"sqlite:///{tmp_path / 'responses.db'}"
    async with with_tools(scripted(*TEXTS), adder(), send, response_store=store) as server:
        first = await ask(server, tools=TOOLS)
        second = await ask(server, tools=TOOLS, input=[decision(first, approve=True)], previous_response_id=first["id"])
        third = await ask(server, tools=TOOLS, input="Sure?", previous_response_id=second["id"])
    assert (len(send.calls), text(second), text(third)) == (1, "Sent.", "Yes.")


async def test_a_decision_that_does_not_fit_is_refused_by_name() -> None:
    send = sender()
    async with with_tools(scripted(*TEXTS), adder(), send) as server:
        first = await ask(server, tools=TOOLS)
        unknown = {**decision(first, approve=True), "approval_request_id": "mcpr_unknown"}
        user = {"role": "user", "content": "1+2?"}
        asked = [user, *first["output"]]
        for items in (
            asked,
            [*asked, unknown],
            [user, decision(first, approve=True)],
            [*asked, decision(first, approve=True), user],
        ):
            answer = await post(server, tools=TOOLS, input=items)
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, "input")
            assert "mcp_approval_response" in answer.json()["error"]["message"]
        answer = await post(server, tools=[ADD], input=[*asked, decision(first, approve=True)])
        assert "An mcp_approval_response in input is only allowed with" in answer.json()["error"]["message"]
    assert send.calls == []


async def test_a_decided_call_stays_where_the_turn_after_it_is_decoded_again() -> None:
    texts = (SEND, f"Short. {called('math.add', {'a': 1})}", "Hm.\n</think>\n\nSent.", "Yes.")
    async with with_tools(scripted(*texts), adder(), sender(), escalate=True) as server:
        user = {"role": "user", "content": "Send it."}
        first = await ask(server, tools=TOOLS, input=[user])
        items = [user, *first["output"], decision(first, approve=True)]
        second = await ask(server, tools=TOOLS, input=items)
        assert (kinds(second), text(second)) == (["mcp_call", "reasoning", "message"], "Sent.")
        third = await ask(server, tools=TOOLS, input=[*items, *second["output"], user])
    assert text(third) == "Yes."


async def test_the_response_says_which_tools_need_approval() -> None:
    buy, look = Scripted("shop.buy", add, approval="first"), Scripted("shop.look", add)
    async with with_tools(scripted("Hi."), adder(), sender(), buy, look) as server:
        response = await ask(server, tools=named("math.add", "send", "shop.*"))
    by_name = {"always": {"tool_names": ["shop.buy"]}, "never": {"tool_names": ["shop.look"]}}
    assert [tool["require_approval"] for tool in response["tools"]] == ["never", "always", by_name]
