"""Which tools may be called: allowed tools, `strict` beside the function, names, and OpenAI's older fields."""

import json
from typing import Any

import httpx
import pytest
from support.grammars import accepts
from support.serving import MODEL, running, scripted
from support.tools import ADD_1_2, Scripted, adder, called, clock, named, with_tools

from autotool_core.profile import BUILTIN

USER: Any = [{"role": "user", "content": "2+2?"}]
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}


def tool(name: str, **fields: Any) -> Any:
    return {"type": "function", "function": {"name": name, "parameters": SCHEMA}, **fields}


def allowed(mode: str, *names: str) -> Any:
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}


def call(name: str, arguments: str = '{"a": 1}') -> str:
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


class Asked:
    """What the engine was asked for, and the response."""

    def __init__(self, response: httpx.Response, prompt: str, tag: str | None) -> None:
        self.response, self.prompt, self.tag = response, prompt, tag

    @property
    def field(self) -> str:
        return self.response.json()["error"]["param"]


async def ask(text: str = "Four.", profile: str = "smollm2-autotool", **fields: Any) -> Asked:
    engine = scripted(text)
    async with running(engine, BUILTIN[profile]) as server, httpx.AsyncClient() as client:
        body = {"model": "tested", "messages": USER, "mode": "short"} | fields
        response = await client.post(f"{server.url}/chat/completions", json=body)
    if not engine.requests:
        return Asked(response, "", None)
    return Asked(response, engine.tokenizer.decode(engine.requests[0].prompt_ids), engine.requests[0].structural_tag)


async def test_only_allowed_tools_can_be_called_and_all_stay_in_the_prompt() -> None:
    tools = [tool("f"), tool("g"), tool("h")]
    free = await ask(tools=tools)
    auto = await ask(tools=tools, tool_choice=allowed("auto", "f", "h"))
    required = await ask(tools=tools, tool_choice=allowed("required", "f", "h"))
    assert free.prompt == auto.prompt == required.prompt
    for asked in (auto, required):
        assert accepts(asked.tag, call("h"))
        assert not accepts(asked.tag, call("g"))
    assert accepts(auto.tag, "Four.")
    assert not accepts(required.tag, "Four.")


async def test_allowed_tools_beside_a_form_of_the_answer() -> None:
    fields = {"tools": [tool("f"), tool("g")], "response_format": {"type": "json_object"}}
    asked = await ask(**fields, tool_choice=allowed("auto", "f"))
    assert accepts(asked.tag, "{}")
    assert accepts(asked.tag, call("f"))
    assert not accepts(asked.tag, call("g"))


async def test_allowed_tools_bind_every_turn_and_demand_a_call_of_the_first_only() -> None:
    engine = scripted(ADD_1_2, "It is 3.")
    tools: Any = named("math.add", "clock")
    choice = allowed("required")
    choice["allowed_tools"]["tools"] = named("math.add")
    async with with_tools(engine, adder(), Scripted("clock", clock)) as server:
        answer = await server.client.chat.completions.create(
            model=MODEL, messages=USER, tools=tools, tool_choice=choice, extra_body={"mode": "short"}
        )
    assert answer.choices[0].message.content == "It is 3."
    first, second = (request.structural_tag for request in engine.requests)
    assert not accepts(first, "It is 3.")
    assert accepts(second, "It is 3.")
    assert not accepts(second, called("clock", {"a": 1, "b": 2}))
    assert accepts(second, ADD_1_2)


@pytest.mark.parametrize(
    ("choice", "field"),
    [
        (allowed("auto", "f", "x"), "tool_choice.allowed_tools.tools.1.function.name"),
        (allowed("auto"), "tool_choice.allowed_tools.tools"),
        (allowed("none", "f"), "tool_choice.allowed_tools.mode"),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "custom"}]}},
            "tool_choice.allowed_tools.tools.0.type",
        ),
        ({"type": "custom", "custom": {"name": "f"}}, "tool_choice.type"),
        ({"type": "function", "function": {"name": "x"}}, "tool_choice.function.name"),
        ({"type": "function"}, "tool_choice.function"),
        ("any", "tool_choice"),
    ],
)
async def test_bad_choices_are_refused_by_name(choice: Any, field: str) -> None:
    asked = await ask(tools=[tool("f")], tool_choice=choice)
    assert (asked.response.status_code, asked.field) == (400, field)


async def test_allowed_tools_without_tools_are_refused() -> None:
    assert (await ask(tool_choice=allowed("auto", "f"))).field == "tool_choice"


@pytest.mark.parametrize(("outer", "inner", "is_free"), [(True, None, False), (None, None, True), (False, True, False)])
async def test_strict_may_stand_beside_the_function(outer: bool | None, inner: bool | None, is_free: bool) -> None:
    described = tool("f", strict=outer)
    described["function"]["strict"] = inner
    asked = await ask(tools=[described])
    assert (asked.tag is None) == is_free
    assert is_free or not accepts(asked.tag, call("f", '{"a": "x"}'))


@pytest.mark.parametrize("profile", ["smollm2-autotool", "qwen3-coder"])
@pytest.mark.parametrize("name", ["mcp://files/read", "a" * 200, "get weather", "namespace:tool", "wetter_für", "f'"])
async def test_names_that_openai_refuses_and_vllm_takes(name: str, profile: str) -> None:
    text = f"<tool_call>\n<function={name}>\n<parameter=a>\n1\n</parameter>\n</function>\n</tool_call>"
    text = text if profile == "qwen3-coder" else call(name)
    asked = await ask(text, profile, tools=[tool(name)], tool_choice="required")
    assert accepts(asked.tag, text)
    [made] = asked.response.json()["choices"][0]["message"]["tool_calls"]
    assert (made["function"]["name"], json.loads(made["function"]["arguments"])) == (name, {"a": 1})


@pytest.mark.parametrize("name", ["", " f", "f ", "f\n", "a\tb", "a<b", "a>b", 'a"b', "a\\b", "a\u200bb", "a" * 257])
async def test_names_that_no_format_can_write_are_refused(name: str) -> None:
    asked = await ask(tools=[tool(name)])
    assert (asked.response.status_code, asked.field) == (400, "tools.0.function.name")


async def test_custom_tools_are_refused_by_their_type() -> None:
    assert (await ask(tools=[{"type": "custom", "custom": {"name": "f"}}])).field == "tools.0.type"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_functions_are_answered_by_a_function_call(stream: bool) -> None:
    function = tool("f")["function"]
    asked = await ask(f"{call('f')}\n{call('f')}", functions=[function], function_call={"name": "f"}, stream=stream)
    if stream:
        parts = [json.loads(line[6:]) for line in asked.response.text.strip().split("\n\n")[:-1]]
        choices = [choice for part in parts for choice in part["choices"]]
        deltas = [choice["delta"].get("function_call", {}) for choice in choices]
        made = {key: "".join(delta.get(key, "") for delta in deltas) for key in ("name", "arguments")}
        reason = choices[-1]["finish_reason"]
    else:
        choice = asked.response.json()["choices"][0]
        assert "tool_calls" not in choice["message"]
        made, reason = choice["message"]["function_call"], choice["finish_reason"]
    assert made == {"name": "f", "arguments": '{"a": 1}'}
    assert reason == "function_call"
    assert asked.prompt == (await ask(tools=[tool("f")])).prompt


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"functions": [{"name": "f"}], "tools": [tool("f")]}, "functions"),
        ({"functions": [{"name": "f"}], "function_call": {"name": "x"}}, "function_call.name"),
        ({"functions": [{"name": "f"}, {"name": "f"}]}, "functions.1.name"),
        ({"functions": [{"name": "f", "parameters": {"type": "x"}}]}, "functions.0.parameters"),
        ({"function_call": "auto"}, "function_call"),
    ],
)
async def test_bad_functions_are_refused_by_name(fields: dict[str, Any], field: str) -> None:
    asked = await ask(**fields)
    assert (asked.response.status_code, asked.field) == (400, field)
