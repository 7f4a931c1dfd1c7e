import json
from typing import Any

import pytest
from support.grammars import accepts

from autotool_core.errors import InvalidRequestError
from autotool_core.grammar import AnswerShape, structural_tag
from autotool_core.tool_formats import get
from autotool_server.conversation.constraints import grammar

PARAMETERS = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}


def tool(name: str, **extra: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": PARAMETERS, **extra}}


TOOLS = [tool("f"), tool("g")]
HERMES = get("hermes")
SCHEMA = {"type": "object", "properties": {"x": {"type": "boolean"}}, "required": ["x"]}
CALL: dict[str, str] = {
    "hermes": '<tool_call>\n{"name": "NAME", "arguments": {"a": 1}}\n</tool_call>',
    "qwen3_coder": "<tool_call>\n<function=NAME>\n<parameter=a>\n1\n</parameter>\n</function>\n</tool_call>",
}


def test_without_requirements_there_is_no_grammar() -> None:
    assert structural_tag(AnswerShape(TOOLS), HERMES) is None


def test_schema_alone() -> None:
    tag = structural_tag(AnswerShape(schema=SCHEMA), HERMES)
    assert accepts(tag, '{"x": true}')
    assert not accepts(tag, "yes")


@pytest.mark.parametrize("tool_format", ["hermes", "qwen3_coder"])
def test_required_accepts_only_calls(tool_format: str) -> None:
    tag = structural_tag(AnswerShape(TOOLS, "required"), get(tool_format))
    f, g = CALL[tool_format].replace("NAME", "f"), CALL[tool_format].replace("NAME", "g")
    assert accepts(tag, f)
    assert accepts(tag, f"{f}\n{g}")
    assert not accepts(tag, "Hello")
    assert not accepts(tag, CALL[tool_format].replace("NAME", "h"))
    assert not accepts(tag, f.replace("1", "one"))


@pytest.mark.parametrize("tool_format", ["hermes", "qwen3_coder"])
def test_without_calls_no_marker_can_be_written(tool_format: str) -> None:
    tag = structural_tag(AnswerShape(TOOLS, "none"), get(tool_format))
    call = CALL[tool_format].replace("NAME", "f")
    assert accepts(tag, "The function f < g, and no <tool call>.")
    assert accepts(tag, "")
    for text in (call, f"Well. {call}", *get(tool_format).markers, *get(tool_format).openers):
        assert not accepts(tag, text)
    formed = structural_tag(AnswerShape(TOOLS, "none", schema=SCHEMA), get(tool_format))
    assert accepts(formed, '{"x": true}')
    assert not accepts(formed, call)
    assert not accepts(formed, "Hello")


@pytest.mark.parametrize("shape", [AnswerShape(TOOLS[:1], "one"), AnswerShape(TOOLS, "required", parallel=False)])
def test_one_call_only(shape: AnswerShape) -> None:
    tag = structural_tag(shape, HERMES)
    f = CALL["hermes"].replace("NAME", "f")
    assert accepts(tag, f)
    assert not accepts(tag, f"{f}\n{f}")


def test_schema_or_calls() -> None:
    tag = structural_tag(AnswerShape(TOOLS, schema=SCHEMA), HERMES)
    assert accepts(tag, '{"x": true}')
    assert accepts(tag, CALL["hermes"].replace("NAME", "g"))
    assert not accepts(tag, "Hello")


def test_strict_tools_leave_text_free_and_constrain_calls() -> None:
    tag = structural_tag(AnswerShape([tool("f", strict=True)]), HERMES)
    f = CALL["hermes"].replace("NAME", "f")
    assert accepts(tag, f"Let me see. {f}")
    assert not accepts(tag, f.replace("1", "one"))


def test_a_strict_profile_constrains_the_calls_of_tools_that_do_not_set_strict() -> None:
    tag = grammar(AnswerShape([tool("f"), tool("g", strict=False)], strict_tools=True), HERMES)
    f, g = (CALL["hermes"].replace("NAME", name) for name in "fg")
    assert accepts(tag, f"Let me see. {f}\n{f}")
    assert not accepts(tag, f.replace('"a"', '"b"'))
    assert accepts(tag, g.replace('"a": 1', '"b": "one"'))
    assert grammar(AnswerShape([tool("g", strict=False)], strict_tools=True), HERMES) is None


@pytest.mark.parametrize(
    "parameters",
    [
        {"type": "object", "not": {}},
        {"type": "object", "properties": {"a": {"$ref": "#/x"}}},
        {"type": "object", "properties": {"b": {"type": "string", "pattern": "^(?=o)"}}, "required": ["b"]},
        {"type": "object", "properties": {"b": {}}, "anyOf": [{"required": ["b"]}, {"required": ["c"]}]},
    ],
)
def test_an_unenforceable_schema_is_left_free_and_is_refused_if_the_client_sets_strict(parameters: Any) -> None:
    call = '<tool_call>\n{"name": "f", "arguments": {"b": "one"}}\n</tool_call>'
    for shape in (
        AnswerShape([tool("f", parameters=parameters)], strict_tools=True),
        AnswerShape([tool("f", parameters=parameters)], "required"),
        AnswerShape([tool("f", parameters=parameters, strict=False)], "one"),
        AnswerShape([tool("g", strict=True), tool("f", parameters=parameters)]),
        AnswerShape([tool("f", parameters=parameters)], schema=SCHEMA),
    ):
        assert accepts(grammar(shape, HERMES), call)
    for calls in ("allowed", "required"):
        with pytest.raises(InvalidRequestError):
            grammar(AnswerShape([tool("f", parameters=parameters, strict=True)], calls), HERMES)
    with pytest.raises(InvalidRequestError):
        grammar(AnswerShape(schema=parameters), HERMES)


def test_tag_is_json() -> None:
    assert json.loads(structural_tag(AnswerShape(schema=True), HERMES) or "")["type"] == "structural_tag"
