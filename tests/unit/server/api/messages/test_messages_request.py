"""The way in: what a body of Anthropic's becomes, and that it is what the same conversation over chat completions becomes."""

import json
from typing import Any

import pytest

from autotool_core.errors import InvalidRequestError
from autotool_core.modes import Mode
from autotool_server.api import body as bodies
from autotool_server.api.chat_completions.request import conversation_request as chat_request
from autotool_server.api.chat_completions.schemas import ChatRequest
from autotool_server.api.messages.reasoning import sealed, signature
from autotool_server.api.messages.request import Abilities, conversation_request
from autotool_server.api.messages.schemas import MessagesRequest
from autotool_server.conversation.request import ConversationRequest, NamedTool

USER: list[Any] = [{"role": "user", "content": "2+2?"}]
TOOL = {"name": "add", "description": "Adds.", "input_schema": {"type": "object"}}
CALL_IN_HISTORY = {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"a": 2, "to": "é"}}
EPHEMERAL = {"cache_control": {"type": "ephemeral"}}


ABLE = Abilities()


def read(abilities: Abilities = ABLE, **fields: Any) -> ConversationRequest:
    raw = json.dumps({"model": "tested", "max_tokens": 100, "messages": USER} | fields).encode()
    return conversation_request(bodies.parse(MessagesRequest, raw).body, abilities)


def messages(*given: Any, **fields: Any) -> list[Any]:
    return [dict(message) for message in read(messages=[*given], **fields).messages]


def refusal(**fields: Any) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as caught:
        read(**fields)
    return caught.value


def test_a_conversation_is_the_same_as_over_chat_completions() -> None:
    call = {"id": "toolu_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 2, "to": "é"}'}}
    second = {**call, "id": "toolu_2"}
    chat: list[Any] = [
        {"role": "system", "content": [{"type": "text", "text": "Be"}, {"type": "text", "text": "brief."}]},
        {"role": "user", "content": "2+2?"},
        {"role": "assistant", "content": "Adding.", "reasoning": "Hm.", "tool_calls": [call, second]},
        {"role": "tool", "tool_call_id": "toolu_1", "content": "4"},
        {"role": "tool", "tool_call_id": "toolu_2", "content": "a\nb"},
        {"role": "user", "content": "And?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "toolu_1", "content": "4"},
        {"role": "assistant", "content": "Four."},
        {"role": "user", "content": [{"type": "text", "text": "Sure"}, {"type": "text", "text": "?"}]},
    ]
    tools = [{"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": {"type": "object"}}}]
    over_chat = chat_request(ChatRequest.model_validate({"model": "tested", "messages": chat, "tools": tools}))
    thinking = {"type": "thinking", "thinking": "Hm.", "signature": signature("Hm.")}
    results = [
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": "4", **EPHEMERAL},
        {"type": "tool_result", "tool_use_id": "toolu_2", "content": [{"type": "text", "text": t} for t in "ab"]},
    ]
    over_messages = read(
        system=[{"type": "text", "text": "Be", **EPHEMERAL}, {"type": "text", "text": "brief."}],
        tools=[{**TOOL, **EPHEMERAL, "type": "custom"}],
        messages=[
            *USER,
            {
                "role": "assistant",
                "content": [
                    thinking,
                    {"type": "text", "text": "Adding.", "citations": None},
                    CALL_IN_HISTORY,
                    {**CALL_IN_HISTORY, "id": "toolu_2", "caller": {"type": "direct"}},
                ],
            },
            {"role": "user", "content": [*results, {"type": "text", "text": "And?"}]},
            {"role": "assistant", "content": [CALL_IN_HISTORY]},
            {"role": "user", "content": results[:1]},
            {"role": "assistant", "content": "Four."},
            {"role": "user", "content": [{"type": "text", "text": "Sure"}, {"type": "text", "text": "?", **EPHEMERAL}]},
        ],
    )
    assert over_messages.messages == over_chat.messages
    assert [tool.function for tool in over_messages.client_tools] == [tool.function for tool in over_chat.client_tools]


def test_messages_of_one_role_in_a_row_are_one() -> None:
    blocks: list[Any] = [{"type": "thinking", "thinking": "Again.", "signature": "x"}, CALL_IN_HISTORY]
    user, assistant, tool, last = messages(
        *USER,
        {"role": "user", "content": "Please."},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm.", "signature": ""}]},
        {"role": "assistant", "content": "Adding."},
        {"role": "assistant", "content": blocks},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1"}, {"type": "text", "text": "So?"}]},
        {"role": "user", "content": "Well?"},
    )
    assert (user["content"], last["content"]) == ("2+2?\nPlease.", "So?\nWell?")
    assert (assistant["content"], assistant["reasoning"]) == ("Adding.", "Hm.\n\nAgain.")
    assert [call["id"] for call in assistant["tool_calls"]] == [tool["tool_call_id"]] == ["toolu_1"]


def test_a_result_that_is_an_error_says_so_once() -> None:
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": True}
    contents = [{**result, "content": "No such file."}, {**result, "content": "Error: no."}, {**result, "is_error": None}]
    assert [message["content"] for message in messages({"role": "user", "content": contents})] == [
        "Error: No such file.",
        "Error: no.",
        "",
    ]


@pytest.mark.parametrize(
    ("block", "reasoning"),
    [
        ({"type": "thinking", "thinking": "Hm.", "signature": "not ours"}, "Hm."),
        ({"type": "thinking", "thinking": "", "signature": sealed("Hm 🙂.")}, "Hm 🙂."),
        ({"type": "redacted_thinking", "data": sealed("Hm.")}, "Hm."),
        ({"type": "thinking", "thinking": "", "signature": "text.%%%"}, None),
        ({"type": "thinking", "thinking": "", "signature": "text./w=="}, None),
        ({"type": "redacted_thinking", "data": "EmwKAhgB"}, None),
    ],
)
def test_thinking_comes_back_whatever_its_signature(block: dict[str, Any], reasoning: str | None) -> None:
    _, assistant, _ = messages(*USER, {"role": "assistant", "content": [block, {"type": "text", "text": "4"}]}, *USER)
    assert (assistant.get("reasoning"), assistant["content"]) == (reasoning, "4")


def test_system_messages_in_the_conversation() -> None:
    late = {"role": "system", "content": [{"type": "text", "text": "Be brief."}]}
    cleared = {"role": "system", "content": "Only now.", "clear_at": "next_user_message"}
    conversation = [{"role": "system", "content": "Early."}, *USER, late, {"role": "assistant", "content": "4"}, *USER, cleared]
    given = messages(*conversation, system="First.")
    roles = ["system", "user", "system", "assistant", "user", "system"]
    assert [message["role"] for message in given] == roles
    assert [message["content"] for message in given if message["role"] == "system"] == [
        "First.\nEarly.",
        "Be brief.",
        "Only now.",
    ]
    assert [message["role"] for message in messages(*conversation, *USER)][-2:] == ["assistant", "user"]
    refusing = read(Abilities(reads_late_system=False), messages=conversation)
    assert [message["role"] for message in refusing.messages] == ["system", "user", "assistant", "user"]
    assert refusing.messages[1]["content"] == "2+2?\nBe brief."


def test_the_bill_of_claude_code_is_not_for_the_model() -> None:
    header = {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1; cch=abcde;"}
    request = read(system=[header, {"type": "text", "text": "Be brief."}])
    assert request.messages[0]["content"] == "Be brief."
    assert request.ignored == ("system.0",)


@pytest.mark.parametrize(
    ("fields", "mode", "hints"),
    [
        ({}, None, {}),
        ({"mode": "long"}, Mode.LONG, {}),
        ({"thinking": {"type": "disabled"}}, None, {"thinking": Mode.SHORT}),
        ({"thinking": {"type": "adaptive"}}, None, {"thinking": Mode.AUTO}),
        ({"thinking": {"type": "adaptive"}, "model": "tested:long"}, None, {}),
        ({"thinking": {"type": "disabled"}, "model": "tested:long"}, None, {"thinking": Mode.SHORT}),
        ({"thinking": {"type": "enabled", "budget_tokens": 99}}, None, {"thinking": Mode.LONG}),
    ],
)
def test_thinking_is_the_mode(fields: dict[str, Any], mode: Mode | None, hints: dict[str, Mode]) -> None:
    request = read(**fields)
    assert (request.mode, request.mode_hints) == (mode, hints)
    assert request.max_reasoning_tokens == (99 if fields.get("thinking", {}).get("type") == "enabled" else None)


def test_a_model_that_cannot_decide_takes_adaptive_thinking_for_its_default() -> None:
    assert read(Abilities(decides=False), thinking={"type": "adaptive"}).mode_hints == {}
    assert read(Abilities(decides=False), thinking={"type": "disabled"}).mode_hints == {"thinking": Mode.SHORT}


def test_effort_chooses_the_mode_unless_thinking_does() -> None:
    request = read(output_config={"effort": "high"})
    assert (request.effort, request.effort_sets_mode) == ("high", True)
    assert not read(output_config={"effort": "high"}, thinking={"type": "adaptive"}).effort_sets_mode


@pytest.mark.parametrize(
    ("choice", "expected", "parallel"),
    [
        ({"type": "auto"}, None, True),
        ({"type": "auto", "disable_parallel_tool_use": True}, None, False),
        ({"type": "any", "disable_parallel_tool_use": False}, "required", True),
        ({"type": "tool", "name": "add"}, NamedTool("add"), True),
        ({"type": "none"}, "none", True),
    ],
)
def test_tool_choice(choice: dict[str, Any], expected: Any, parallel: bool) -> None:
    request = read(tools=[TOOL], tool_choice=choice)
    assert (request.tool_choice, request.parallel_tool_calls) == (expected, parallel)


def test_tools_that_are_not_run_here_are_left_out_and_named() -> None:
    request = read(
        tools=[
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 5},
            {"type": "server", "name": "math.*"},
            {**TOOL, "type": None, "strict": True, "defer_loading": True, "eager_input_streaming": True},
            {"type": "mcp_toolset", "mcp_server_name": "files"},
        ],
        mcp_servers=[{"type": "url", "url": "https://example.com", "name": "files"}],
    )
    assert request.ignored == ("tools.0:web_search_20250305", "tools.3:mcp_toolset", "mcp_servers")
    assert [(tool.name, tool.field) for tool in request.server_tools] == [("math.*", "tools.1.name")]
    function = {"name": "add", "description": "Adds.", "parameters": {"type": "object"}, "strict": True}
    assert [(tool.function, tool.field) for tool in request.client_tools] == [(function, "tools.2")]


def test_other_fields() -> None:
    schema = {"type": "object"}
    request = read(
        temperature=0.5,
        top_p=0.9,
        top_k=5,
        stop_sequences=["a", "b"],
        output_config={"format": {"type": "json_schema", "schema": schema}},
        reasoning_bias=1.5,
        tool_budget={"max_calls": 2},
        metadata={"user_id": "u"},
        service_tier="auto",
        container=None,
        context_management={"edits": [{"type": "clear_tool_uses_20250919"}]},
        cache_control={"type": "ephemeral"},
        betas=["x"],
    )
    assert (request.sampling.temperature, request.sampling.top_p, request.sampling.top_k) == (0.5, 0.9, 5)
    assert (request.stop, request.content_schema, request.reasoning_bias) == (("a", "b"), schema, 1.5)
    assert request.tool_budget is not None
    assert (request.tool_budget.max_calls, request.max_tokens, request.ignored) == (2, 100, ())
    assert read(output_format={"type": "json_schema", "schema": schema}).content_schema == schema


IMAGE = {"type": "image", "source": {"type": "url", "url": "https://example.com/secret.png"}}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"system": [IMAGE]}, "system.0.type"),
        ({"system": 5}, "system"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "?"}, IMAGE]}]}, "messages.0.content.1.type"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_secret", "content": [IMAGE]}]}
                ]
            },
            "messages.0.content.0.content.0.type",
        ),
        ({"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "x"}]}]}, "messages.0.content.0.name"),
        ({"temperature": 1.5}, "temperature"),
        ({"thinking": {"type": "enabled"}}, "thinking"),
        ({"thinking": {"type": "enabled", "budget_tokens": 100}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "enabled", "budget_tokens": 9}, "max_reasoning_tokens": 8}, "max_reasoning_tokens"),
        ({"tools": [{"name": "no spaces", "input_schema": {}}]}, "tools.0.name"),
        ({"tools": [{"type": "custom", "name": "add"}]}, "tools.0.input_schema"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice"),
        ({"thread": {"type": "create"}}, "thread"),
        ({"stop_sequences": [""]}, "stop_sequences.0"),
    ],
)
def test_a_refusal_names_the_field_and_no_value(fields: dict[str, Any], named: str) -> None:
    error = refusal(**fields)
    assert error.field == named
    assert named in str(error)
    assert "secret" not in str(error)
    assert "no spaces" not in str(error)
