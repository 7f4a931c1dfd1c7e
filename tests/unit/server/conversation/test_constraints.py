"""Grammars of requests whose schemas a format cannot hold."""

from typing import Any

import pytest
from support.grammars import accepts

from autotool_core import tool_formats
from autotool_core.errors import InvalidRequestError
from autotool_core.grammar import AnswerShape
from autotool_server.conversation.constraints import grammar

SCHEMA = {"type": "object", "properties": {"s": {"type": "string", "pattern": "^a+$"}}, "required": ["s"]}


def tool(**changes: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "parameters": SCHEMA, **changes}}


def test_a_feature_that_a_formats_grammar_lacks_is_refused_by_name_if_the_tool_is_strict() -> None:
    shape = AnswerShape([tool(strict=True)], "required")
    with pytest.raises(InvalidRequestError, match=r"^pattern in a JSON schema cannot be"):
        grammar(shape, tool_formats.get("gemma4"))
    held = grammar(shape, tool_formats.get("pythonic"))
    assert accepts(held, '[f(s="aa")]')
    assert not accepts(held, '[f(s="b")]')


@pytest.mark.parametrize(
    ("name", "schema", "feature"),
    [
        ("gemma4", {"type": "string", "maxLength": 3}, "maxLength in"),
        ("gemma4", {"type": "string", "format": "email"}, "format in"),
        ("gemma4", {"type": "object", "patternProperties": {"^a": {}}}, "patternProperties in"),
        ("gemma4", {"type": "object", "properties": {"a": {}}, "additionalProperties": {}}, "additionalProperties beside"),
    ],
)
def test_a_feature_is_refused_by_the_name_that_the_client_has_for_it(name: str, schema: Any, feature: str) -> None:
    shape = AnswerShape([tool(strict=True, parameters={"type": "object", "properties": {"p": schema}})], "required")
    with pytest.raises(InvalidRequestError, match=f"^{feature}"):
        grammar(shape, tool_formats.get(name))


def test_free_names_in_python_are_refused_by_the_clients_name() -> None:
    shape = AnswerShape([tool(strict=True, parameters={**SCHEMA, "additionalProperties": True})], "required")
    with pytest.raises(InvalidRequestError, match=r"^additionalProperties beside properties"):
        grammar(shape, tool_formats.get("pythonic"))


def test_the_arguments_of_another_tool_are_free() -> None:
    tool_format = tool_formats.get("gemma4")
    tag = grammar(AnswerShape([tool()], "required"), tool_format)
    assert accepts(tag, tool_format.render_calls([("f", {"s": "b", "t": [1]})]))


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("qwen3_coder", "a b", "a>b"),
        ("glm45", "a>b", " a"),
        ("minimax_m2", "a<b", "a\nb"),
        ("deepseek_v32", "a b", ""),
        ("pythonic", "$a", "a b"),
        ("lfm2", "é", "a=b"),
        ("gemma4", "a b", "a:b"),
        ("hermes", "a b", None),
    ],
)
def test_a_property_whose_name_no_call_can_spell_is_refused_with_its_place(name: str, right: str, wrong: str | None) -> None:
    def shape(key: str) -> AnswerShape:
        parameters = {"type": "object", "properties": {key: {"type": "integer"}}, "required": [key]}
        return AnswerShape([tool(strict=True, parameters=parameters)], "required")

    tool_format = tool_formats.get(name)
    assert accepts(grammar(shape(right), tool_format), tool_format.render_calls([("f", {right: 1})]))
    if wrong is not None:
        with pytest.raises(InvalidRequestError, match=r"^a name or value that calls of this model cannot spell .*properties/"):
            grammar(shape(wrong), tool_format)


@pytest.mark.parametrize(
    ("name", "value"), [("qwen3_coder", "</parameter>"), ("glm45", "</arg_value>"), ("gemma4", '<|"|>'), ("pythonic", None)]
)
def test_a_listed_value_that_no_call_can_spell_is_refused(name: str, value: str | None) -> None:
    def shape(values: list[Any]) -> AnswerShape:
        parameters = {"type": "object", "properties": {"a": {"enum": values}}}
        return AnswerShape([tool(strict=True, parameters=parameters)], "required")

    grammar(shape(["5", 6, "a\n", " b", "'\"\\", None, {"c": ["<"]}]), tool_formats.get(name))
    if value is not None:
        with pytest.raises(InvalidRequestError, match="cannot spell"):
            grammar(shape(["a", value]), tool_formats.get(name))


def many_tools(**changes: Any) -> AnswerShape:
    properties = {f"p{number}": {"type": "string", "maxLength": 50} for number in range(8)}
    parameters = {"type": "object", "properties": properties, "additionalProperties": False}
    functions = [{"name": f"tool_{number}", "parameters": parameters, **changes} for number in range(90)]
    return AnswerShape([{"type": "function", "function": function} for function in functions], "required")


def test_tools_that_are_not_strict_are_free_where_the_grammar_would_be_too_long() -> None:
    assert accepts(grammar(many_tools(), tool_formats.get("llama3_json")), '{"name": "tool_89", "parameters": {"q": 1}}')


def test_a_grammar_of_strict_tools_that_is_too_long_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="Use fewer or simpler schemas"):
        grammar(many_tools(strict=True), tool_formats.get("llama3_json"))
