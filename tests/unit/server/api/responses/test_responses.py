"""The Responses API over a scripted engine: exact items, counts and prompts."""

import json
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel
from support.responses import ADD, ask, kinds, post, stream, text
from support.serving import MODEL, running, scripted
from support.tools import ADD_1_2, ADD_3_3, adder, called, named, with_tools

REASONING = "Two and two.\n</think>\n\n"
CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 2}}\n</tool_call>'


async def test_reasoning_and_message_are_items() -> None:
    async with running(scripted(REASONING + "Four.")) as server:
        response = await ask(server, mode="long")
    reasoning, message = response["output"]
    assert (reasoning["type"], reasoning["content"]) == ("reasoning", [{"type": "reasoning_text", "text": "Two and two."}])
    assert reasoning["summary"] == []
    assert "encrypted_content" not in reasoning
    assert (message["role"], message["content"][0]["text"], message["status"]) == ("assistant", "Four.", "completed")
    assert (response["status"], response["store"]) == ("completed", False)
    usage = response["usage"]
    assert (usage["output_tokens"], usage["output_tokens_details"]) == (22, {"reasoning_tokens": 14})
    assert usage["total_tokens"] == usage["input_tokens"] + 22
    assert response["autotool"]["turns"][0]["resolved"] == "long"


async def test_calls_are_items_of_their_own() -> None:
    async with running(scripted(f"Adding.\n{CALL}\n{CALL}")) as server:
        response = await ask(server, tools=[ADD])
        assert kinds(response) == ["message", "function_call", "function_call"]
        assert [json.loads(item["arguments"]) for item in response["output"][1:]] == [{"a": 2}] * 2
        assert len({item["call_id"] for item in response["output"][1:]}) == 2
        assert kinds(await ask(server, tools=[ADD], parallel_tool_calls=False)) == ["message", "function_call"]


async def test_a_limit_of_tokens_makes_it_incomplete() -> None:
    async with running(scripted(REASONING + "Four."), answer_reserve=0) as server:
        response = await ask(server, mode="long", max_output_tokens=5)
        assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
        assert [(item["type"], item["status"]) for item in response["output"]] == [("reasoning", "incomplete")]
        assert response["completed_at"] is None
        assert (await stream(server, mode="long", max_output_tokens=5))[-1]["type"] == "response.incomplete"


async def test_an_answer_of_nothing_is_an_empty_message() -> None:
    async with running(scripted("")) as server:
        response = await ask(server)
    assert (kinds(response), text(response)) == (["message"], "")


async def test_effort_is_ours() -> None:
    async with running(scripted("Four.", log_odds=-50.0)) as server:
        assert (await ask(server, mode=None, reasoning={"effort": "none"}))["autotool"]["mode"] == "short"
        response = await ask(server, mode=None, reasoning={"effort": "low", "summary": "auto"})
        assert response["autotool"]["mode"] == "auto"
        assert (response["reasoning"]["effort"], response["reasoning"]["summary"]) == ("low", "auto")
        assert response["autotool"]["turns"][0]["reasoning_bias"] == -2
        refused = await post(server, reasoning={"effort": "huge"})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "reasoning.effort")


async def test_a_summary_is_the_reasoning() -> None:
    async with running(scripted(REASONING + "Four.")) as server:
        response = await ask(server, mode="long", reasoning={"summary": "auto"})
    assert response["output"][0]["summary"] == [{"type": "summary_text", "text": "Two and two."}]


async def test_sealed_reasoning_is_opened_when_it_comes_back() -> None:
    engine = scripted(REASONING + "Four.", "Five.", "Five.")
    async with running(engine) as server:
        response = await ask(server, mode="long", store=False, include=["reasoning.encrypted_content"])
        reasoning, message = response["output"]
        sealed = {**reasoning, "content": None}
        assert "Two and two" not in json.dumps(sealed)
        follow: Any = [{"role": "user", "content": "2+2?"}, sealed, message, {"role": "user", "content": "And 3+2?"}]
        await ask(server, input=follow)
        follow[1] = {key: value for key, value in reasoning.items() if key != "encrypted_content"}
        await ask(server, input=follow)
        assert engine.requests[1].prompt_ids == engine.requests[2].prompt_ids
        assert "Two and two." in engine.tokenizer.decode(engine.requests[1].prompt_ids)
        follow[1] = {**sealed, "encrypted_content": sealed["encrypted_content"][:-8] + "AAAAAAA="}
        refused = (await post(server, input=follow)).json()["error"]
    assert (refused["param"], refused["code"]) == ("input.1.encrypted_content", "invalid_encrypted_content")


async def test_servers_with_one_key_open_each_others_seals() -> None:
    include = ["reasoning.encrypted_content"]
    async with running(scripted(REASONING + "Four."), seal_key="k" * 16) as server:
        reasoning = (await ask(server, mode="long", include=include))["output"][0]
    history: Any = [{**reasoning, "content": None}, {"role": "user", "content": "?"}]
    async with running(scripted("Yes."), seal_key="k" * 16) as server:
        await ask(server, input=history)
    async with running(scripted("Yes."), seal_key="l" * 16) as server:
        assert (await post(server, input=history)).status_code == 400


async def test_what_codex_sends_is_taken() -> None:
    body: dict[str, Any] = {
        "instructions": "You are a coding agent.",
        "input": [
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Be brief."}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "List files."}]},
        ],
        "tools": [
            {"type": "function", "name": "exec", "description": "Run.", "strict": False, "parameters": {"type": "object"}},
            {"type": "custom", "name": "apply_patch", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}},
            {"type": "web_search", "external_web_access": True},
            {"type": "namespace", "name": "mcp__x", "tools": [{"type": "function", "name": "y"}]},
        ],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "reasoning": {"effort": "low", "summary": "auto"},
        "store": False,
        "stream": True,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "0198",
        "client_metadata": {"x-codex-installation-id": "a"},
        "text": {"verbosity": "low"},
        "mode": None,
    }
    async with running(scripted("a.txt", log_odds=-50.0)) as server:
        events = await stream(server, **{key: value for key, value in body.items() if key != "stream"})
        record = events[-1]["response"]["autotool"]
        answer = await post(server, **body | {"stream": False})
    assert events[-1]["type"] == "response.completed"
    assert record["ignored"] == ["tools.1: custom", "tools.2: web_search", "tools.3: namespace"]
    assert [tool["name"] for tool in events[-1]["response"]["tools"]] == ["exec"]
    assert answer.headers["x-autotool-ignored"] == "tools.1: custom, tools.2: web_search, tools.3: namespace"


async def test_allowed_tools_leave_the_prompt_as_it_is_and_bind_the_calls() -> None:
    engine = scripted(CALL)
    other = {**ADD, "name": "subtract"}
    async with running(engine) as server:
        choice = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "add"}]}
        response = await ask(server, tools=[ADD, other], tool_choice=choice)
        assert response["tool_choice"] == choice
        assert engine.requests[0].structural_tag is not None
        assert "subtract" not in engine.requests[0].structural_tag
        assert "subtract" in engine.tokenizer.decode(engine.requests[0].prompt_ids)


async def test_a_named_tool_must_be_called() -> None:
    engine = scripted(CALL)
    async with running(engine) as server:
        await ask(server, tools=[ADD], tool_choice={"type": "function", "name": "add"})
        assert engine.requests[0].structural_tag is not None
        await ask(server, tools=[], tool_choice="auto")


async def test_text_format_binds_the_answer() -> None:
    engine = scripted("{}")
    schema = {"type": "json_schema", "name": "s", "schema": {"type": "object"}, "strict": True}
    async with running(engine) as server:
        for text_format in ({"type": "json_object"}, schema):
            assert (await ask(server, text={"format": text_format}))["text"]["format"] == text_format
            assert engine.requests[-1].structural_tag is not None
        await ask(server, text={"format": {"type": "text"}, "verbosity": "high"})
        assert engine.requests[-1].structural_tag is None


async def test_logprobs_are_included_when_asked_for() -> None:
    async with running(scripted("bc")) as server:
        response = await ask(server, include=["message.output_text.logprobs"], top_logprobs=2)
        (part,) = response["output"][0]["content"]
        assert [entry["token"] for entry in part["logprobs"]] == ["b", "c"]
        assert [len(entry["top_logprobs"]) for entry in part["logprobs"]] == [2, 2]
        assert (await ask(server))["output"][0]["content"][0]["logprobs"] == []
        events = await stream(server, include=["message.output_text.logprobs"])
        deltas = [event for event in events if event["type"] == "response.output_text.delta"]
        assert [entry["token"] for event in deltas for entry in event["logprobs"]] == ["b", "c"]


async def test_server_tools_are_calls_with_results() -> None:
    tool = adder()
    async with with_tools(scripted(f"First. {ADD_1_2}", ADD_3_3, "It is 6."), tool) as server:
        response = await ask(server, tools=named("math.add"), input="1+2+3?")
    assert kinds(response) == ["message", "mcp_call", "mcp_call", "message"]
    assert [item["content"][0]["text"] for item in response["output"] if item["type"] == "message"] == ["First.", "It is 6."]
    call = response["output"][1]
    assert (call["name"], json.loads(call["arguments"]), call["output"], call["status"]) == (
        "math.add",
        {"a": 1, "b": 2},
        "3",
        "completed",
    )
    assert [item["turn"] for item in response["output"]] == [0, 0, 1, 2]
    assert response["tools"] == [
        {"type": "mcp", "server_label": "autotool", "allowed_tools": ["math.add"], "require_approval": "never"}
    ]


async def test_a_failed_call_is_a_failed_item() -> None:
    async with with_tools(scripted(called("math.add", {"a": 1}), "No."), adder()) as server:
        response = await ask(server, tools=named("math.add"))
    call = response["output"][0]
    assert (call["status"], call["output"]) == ("failed", None)
    assert call["error"]["content"].startswith("Error: ")
    assert json.loads(call["arguments"]) == {"a": 1}


async def test_max_tool_calls_is_the_budget_of_server_tools() -> None:
    tool = adder()
    async with with_tools(scripted(f"{ADD_1_2}\n{ADD_3_3}", "Done."), tool) as server:
        response = await ask(server, tools=named("math.add"), max_tool_calls=1)
        assert len(tool.calls) == 1
        assert response["autotool"]["stop_reason"] == "max_calls"
        await ask(server, tools=named("math.add"), max_tool_calls=10**6)
        await ask(server, tools=[ADD], max_tool_calls=3)


async def test_a_turn_that_is_decoded_again_is_left_out() -> None:
    texts = ("Bad. " + called("math.add", {"a": "x"}), REASONING + "Good. " + ADD_1_2, "It is 3.")
    async with with_tools(scripted(*texts), adder(), escalate=True) as server:
        response = await ask(server, tools=named("math.add"))
    assert kinds(response) == ["reasoning", "message", "mcp_call", "message"]
    assert text(response) == "Good.It is 3."
    async with with_tools(scripted(*texts), adder(), escalate=True) as server:
        events = await stream(server, tools=named("math.add"))
    assert kinds(events[-1]["response"]) == ["reasoning", "message", "mcp_call", "message"]
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert all(item in done for item in events[-1]["response"]["output"])


class Sum(BaseModel):
    total: int


async def test_the_official_client_parses_and_streams() -> None:
    async with running(scripted('{"total": 4}')) as server:
        client: AsyncOpenAI = server.client
        parsed = await client.responses.parse(model=f"{MODEL}:short", input="2+2?", text_format=Sum)
        assert parsed.output_parsed == Sum(total=4)
        async with client.responses.stream(model=f"{MODEL}:short", input="2+2?", text_format=Sum) as events:
            async for _ in events:
                pass
            final = await events.get_final_response()
        assert final.output_parsed == Sum(total=4)
        assert final.output_text == '{"total": 4}'


async def test_the_official_clients_loop_of_calls_goes_on() -> None:
    engine = scripted(REASONING + CALL, "Four.")
    async with running(engine) as server:
        create: Any = server.client.responses.create
        history: list[Any] = [{"role": "user", "content": "2+2?"}]
        answer = await create(model=f"{MODEL}:long", input=history, tools=[ADD])
        history += answer.output
        history += [
            {"type": "function_call_output", "call_id": item.call_id, "output": "4"}
            for item in answer.output
            if item.type == "function_call"
        ]
        answer = await create(model=f"{MODEL}:short", input=history, tools=[ADD])
    assert answer.output_text == "Four."
    prompt = engine.tokenizer.decode(engine.requests[1].prompt_ids)
    assert '<think>\nTwo and two.\n</think>\n\n<tool_call>\n{"name": "add", "arguments": {"a": 2}}\n</tool_call>' in prompt


SECRET = "swordfish"
USER = {"role": "user", "content": "?"}
RESULT = {"type": "function_call_output", "call_id": "c"}
BAD: list[tuple[str, dict[str, Any], str]] = [
    ("no model", {"model": None}, "model"),
    ("no input", {"input": None}, "input"),
    ("empty input", {"input": []}, "input"),
    ("input of a wrong type", {"input": 3}, "input"),
    ("unknown item", {"input": [{"type": SECRET}]}, "input.0.type"),
    ("unknown role", {"input": [{"role": SECRET, "content": "x"}]}, "input.0.role"),
    ("image", {"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input.0.content.0.type"),
    ("image as a result", {"input": [{**RESULT, "output": [{"type": "input_image"}]}]}, "input.0.output.0.type"),
    ("call without a name", {"input": [{"type": "function_call", "call_id": "c", "arguments": "{}"}]}, "input.0.name"),
    ("unsealed reasoning", {"input": [{"type": "reasoning", "encrypted_content": SECRET}, USER]}, "input.0.encrypted_content"),
    ("item reference", {"input": [{"type": "item_reference", "id": "msg_1"}, USER]}, "input.0"),
    ("previous response", {"previous_response_id": "resp_1"}, "previous_response_id"),
    ("conversation", {"conversation": {"id": SECRET}}, "conversation"),
    ("prompt", {"prompt": {"id": SECRET}}, "prompt"),
    ("background", {"background": True}, "background"),
    ("hosted choice", {"tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}}, "tool_choice"),
    ("hosted choice by requirement", {"tools": [{"type": "web_search"}], "tool_choice": "required"}, "tool_choice"),
    ("choice of another tool", {"tools": [ADD], "tool_choice": {"type": "function", "name": SECRET}}, "tool_choice.name"),
    (
        "allowed tool that is not given",
        {
            "tools": [ADD],
            "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "x"}]},
        },
        "tool_choice.tools.0",
    ),
    ("unknown choice", {"tools": [ADD], "tool_choice": SECRET}, "tool_choice"),
    ("tool without a type", {"tools": [{"name": "f"}]}, "tools.0.type"),
    ("bad name of a tool", {"tools": [{"type": "function", "name": "a<b"}]}, "tools.0.name"),
    ("bad schema of a tool", {"tools": [{**ADD, "parameters": {"type": SECRET}}]}, "tools.0.parameters"),
    ("two tools of a name", {"tools": [ADD, ADD]}, "tools.1.name"),
    ("unknown format", {"text": {"format": {"type": SECRET}}}, "text.format.type"),
    ("format without a schema", {"text": {"format": {"type": "json_schema", "name": "s"}}}, "text.format.schema"),
    (
        "bad schema",
        {"text": {"format": {"type": "json_schema", "name": "s", "schema": {"type": SECRET}}}},
        "text.format.schema",
    ),
    ("unknown effort", {"reasoning": {"effort": SECRET}}, "reasoning.effort"),
    ("no tokens", {"max_output_tokens": 0}, "max_output_tokens"),
    ("input above the context", {"input": "x" * 9000}, "input"),
    ("budget without server tools", {"tool_budget": {"max_calls": 1}}, "tool_budget"),
    ("nearly a field of ours", {"mod": "long"}, "mod"),
    ("unknown model", {"model": SECRET}, "model"),
]


@pytest.mark.parametrize(("body", "field"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
async def test_bad_fields(body: dict[str, Any], field: str, is_stream: bool) -> None:
    engine = scripted("x")
    async with running(engine) as server:
        answer = await post(server, stream=is_stream, **body)
        error = answer.json()["error"]
        assert answer.status_code == (404 if body.get("model") else 400)
        assert error["param"] == field
        assert SECRET not in answer.text
        assert engine.requests == []
        assert server.state.admission.in_flight == 0


async def test_conversations_are_not_compacted() -> None:
    async with running(scripted("x")) as server, httpx.AsyncClient() as client:
        answer = await client.post(f"{server.url}/responses/compact", json={"model": MODEL, "input": "?"})
        assert answer.status_code == 404
        assert "truncation" in answer.json()["error"]["message"]


async def test_items_of_other_tools_are_left_out_and_named() -> None:
    engine = scripted("Yes.")
    async with running(engine) as server:
        response = await ask(server, input=[{"type": "web_search_call", "id": "ws_1", "status": "completed"}, USER])
    assert response["autotool"]["ignored"] == ["input.0: web_search_call"]


async def test_truncation_drops_the_oldest_turns_and_says_so() -> None:
    engine = scripted("Yes.")
    call = {"type": "function_call", "call_id": "c", "name": "add", "arguments": "{}"}
    history: list[Any] = []
    for number in range(8):
        history += [{"role": "user", "content": f"<{number}>" + "x" * 800}, call, {**RESULT, "output": "4"}]
    history.append({"role": "user", "content": "Well?"})
    body: dict[str, Any] = {"input": history, "instructions": "Be brief.", "max_output_tokens": 100}
    async with running(engine) as server:
        assert (await post(server, **body)).json()["error"]["code"] == "context_length_exceeded"
        response = await ask(server, **body, truncation="auto")
        prompt = engine.tokenizer.decode(engine.requests[-1].prompt_ids)
        assert response["autotool"]["ignored"] == ["input: the 12 oldest messages"]
        assert "Be brief." in prompt
        assert ("<3>" in prompt, "<4>" in prompt) == (False, True)
        assert len(engine.requests[-1].prompt_ids) <= engine.max_model_len - 100
        assert "ignored" not in (await ask(server, truncation="auto"))["autotool"]
        too_long = await post(server, input="x" * 9000, truncation="auto")
        assert too_long.json()["error"]["code"] == "context_length_exceeded"
