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


def test_the_arguments_of_another_tool_are_free() -> None:
    tool_format = tool_formats.get("gemma4")
    tag = grammar(AnswerShape([tool()], "required"), tool_format)
    assert accepts(tag, tool_format.render_calls([("f", {"s": "b", "t": [1]})]))
