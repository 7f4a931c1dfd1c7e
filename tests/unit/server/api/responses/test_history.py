"""Items become the messages that chat completions would have been sent for the same conversation."""

import json
from typing import Any

from support.responses import ADD, ask, post
from support.serving import MODEL, running, scripted
from support.tools import ADD_1_2, ADD_3_3, CLIENT_TOOL, adder, autotool_field, called, named, with_tools
from support.tools import ask as chat

from autotool_server.api.chat_completions.request import conversation_request as of_chat
from autotool_server.api.chat_completions.schemas import ChatRequest
from autotool_server.api.responses.request import conversation_request as of_responses
from autotool_server.api.responses.schemas import ResponsesRequest

ARGUMENTS = '{"a": 2}'


def call(call_id: str) -> dict[str, Any]:
    return {"type": "function_call", "id": f"fc_{call_id}", "call_id": call_id, "name": "add", "arguments": ARGUMENTS}


def chat_call(call_id: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": "add", "arguments": ARGUMENTS}}


def result(call_id: str, text: str = "4") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": text}


def message(role: str, text: str) -> dict[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}


def reasoning(text: str) -> dict[str, Any]:
    return {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": text}]}


def messages(items: list[dict[str, Any]], **body: Any) -> list[Any]:
    request = ResponsesRequest.model_validate_json(json.dumps({"model": MODEL, "input": items, **body}))
    return list(of_responses(request).messages)


def chat_messages(given: list[dict[str, Any]]) -> list[Any]:
    return list(of_chat(ChatRequest.model_validate_json(json.dumps({"model": "tested", "messages": given}))).messages)


def test_a_conversation_has_the_messages_of_chat_completions() -> None:
    items = [
        message("developer", "Be brief."),
        {"role": "user", "content": "2+2?"},
        reasoning("Hm."),
        message("assistant", "Adding."),
        call("c1"),
        call("c2"),
        result("c1"),
        result("c2", "5"),
        reasoning("So."),
        message("assistant", "Four."),
        {"role": "user", "content": [{"type": "input_text", "text": "And"}, {"type": "input_text", "text": "3+3?"}]},
    ]
    expected = chat_messages(
        [
            {"role": "system", "content": "You add."},
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": "2+2?"},
            {
                "role": "assistant",
                "content": "Adding.",
                "reasoning": "Hm.",
                "tool_calls": [chat_call("c1"), chat_call("c2")],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "4"},
            {"role": "tool", "tool_call_id": "c2", "content": "5"},
            {"role": "assistant", "content": "Four.", "reasoning_content": "So."},
            {"role": "user", "content": [{"type": "text", "text": "And"}, {"type": "text", "text": "3+3?"}]},
        ]
    )
    assert messages(items, instructions="You add.") == expected


def test_items_are_turns_where_no_number_says_so() -> None:
    def turns(*items: dict[str, Any]) -> list[tuple[str, str, int]]:
        return [(one["role"], one["content"], len(one.get("tool_calls", ()))) for one in messages(list(items))]

    # Two answers in a row are two turns, as two messages are over chat completions.
    assert turns(message("assistant", "a"), message("assistant", "b")) == [("assistant", "a", 0), ("assistant", "b", 0)]
    # A text after a call that has no result yet is of the call's turn.
    assert turns(call("c"), message("assistant", "a"), result("c")) == [("assistant", "a", 1), ("tool", "4", 0)]
    # A call after a result is of the next turn.
    assert turns(call("c"), result("c"), call("d"), result("d")) == [
        ("assistant", "", 1),
        ("tool", "4", 0),
        ("assistant", "", 1),
        ("tool", "4", 0),
    ]
    # Reasoning begins a turn.
    assert turns(message("assistant", "a"), reasoning("Hm."), message("assistant", "b")) == [
        ("assistant", "a", 0),
        ("assistant", "b", 0),
    ]


def test_refusals_and_results_in_parts_are_text() -> None:
    items = [
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        call("c"),
        {**result("c"), "output": [{"type": "input_text", "text": "4"}, {"type": "input_text", "text": "5"}]},
    ]
    assert [one["content"] for one in messages(items)] == ["No.", "4\n5"]


def test_reasoning_without_a_text_is_nothing() -> None:
    items = [
        {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "A summary."}]},
        message("user", "?"),
    ]
    assert [one["role"] for one in messages(items)] == ["user"]


def test_a_call_of_a_foreign_mcp_server_is_a_call() -> None:
    item = {"type": "mcp_call", "id": "mcp_1", "server_label": "x", "name": "f", "arguments": "{}", "output": "3"}
    failed = {**item, "id": "mcp_2", "output": None, "error": {"type": "http_error", "code": 500, "message": "Gone."}}
    turn, *results = messages([item, message("assistant", "Three."), failed, message("user", "?")])[:2]
    assert [one["id"] for one in turn["tool_calls"]] == ["call_1"]
    assert results[0]["content"] == "3"
    assert messages([failed])[1]["content"] == "Gone."


def test_the_result_of_a_call_that_was_approved_follows_the_turn_that_made_it() -> None:
    made = {"name": "send", "arguments": ARGUMENTS, "turn": 0}
    items = [
        message("user", "Send it."),
        {"type": "mcp_approval_request", "id": "mcpr_1", **made},
        {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True},
        {"type": "mcp_call", "id": "mcp_1", **made, "output": "sent"},
        {**message("assistant", "Sent."), "turn": 0},
    ]
    read = [(item["role"], item["content"], [call["id"] for call in item.get("tool_calls", ())]) for item in messages(items)]
    assert read == [("user", "Send it.", []), ("assistant", "", ["call_1"]), ("tool", "sent", []), ("assistant", "Sent.", [])]
    # A stored history may be without the response.
    assert messages([*items[:2], *items[3:]]) == messages(items)


async def test_the_prompt_of_a_conversation_with_server_tools_is_the_same_as_over_chat_completions() -> None:
    texts = [f"First. {ADD_1_2}\n{ADD_3_3}", ADD_3_3, "It is 6.", "Yes."]
    question: list[Any] = [{"role": "user", "content": "1+2+3?"}]
    follow = {"role": "user", "content": "Sure?"}
    prompts: list[Any] = []
    tools = named("math.add")
    engine = scripted(*texts)
    async with with_tools(engine, adder()) as server:
        response = await ask(server, input=question, tools=tools)
        await ask(server, input=[*question, *response["output"], follow], tools=tools)
        prompts += [[list(request.prompt_ids) for request in engine.requests]]
    engine = scripted(*texts)
    async with with_tools(engine, adder()) as server:
        answer = await chat(server, tools, question)
        await chat(server, tools, [*question, *autotool_field(answer)["transcript"], follow])
        prompts += [[list(request.prompt_ids) for request in engine.requests]]
    assert prompts[0] == prompts[1]
    # Every prompt goes on from the last one.
    assert len(prompts[0]) == 4


async def test_calls_of_the_client_and_of_the_server_keep_their_order() -> None:
    texts = [f"{ADD_1_2}\n{called('paint', {'colour': 'red'})}\n{ADD_3_3}", "Painted."]
    paint = {"type": "function", **CLIENT_TOOL["function"]}
    prompts: list[Any] = []
    engine = scripted(*texts)
    async with with_tools(engine, adder()) as server:
        response = await ask(server, input="Paint.", tools=[*named("math.add"), paint])
        assert [item["name"] for item in response["output"]] == ["math.add", "paint", "math.add"]
        painted = {"type": "function_call_output", "call_id": response["output"][1]["call_id"], "output": "ok"}
        history = [{"role": "user", "content": "Paint."}, *response["output"], painted]
        await ask(server, input=history, tools=[*named("math.add"), paint])
        prompts.append(list(engine.requests[1].prompt_ids))
    engine = scripted(*texts)
    async with with_tools(engine, adder()) as server:
        question = [{"role": "user", "content": "Paint."}]
        answer = await chat(server, [*named("math.add"), CLIENT_TOOL], question)
        (paint_call,) = answer.choices[0].message.tool_calls or []
        painted = {"role": "tool", "tool_call_id": paint_call.id, "content": "ok"}
        await chat(server, [*named("math.add"), CLIENT_TOOL], [*question, *autotool_field(answer)["transcript"], painted])
        prompts.append(list(engine.requests[1].prompt_ids))
    assert prompts[0] == prompts[1]


async def test_what_comes_back_with_a_stop_string_is_the_same() -> None:
    async with running(scripted("One STOP two")) as server:
        answer = await post(server, stop="STOP", model=MODEL)
        assert answer.json()["output"][0]["content"][0]["text"] == "One "
        await ask(server, tools=[ADD], input=[*answer.json()["output"], {"role": "user", "content": "?"}])
