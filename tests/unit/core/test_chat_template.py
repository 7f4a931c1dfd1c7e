"""What chat templates need that clients may leave out."""

from typing import Any

import pytest
from support.tiny import CHAT_TEMPLATE, make_tokenizer

from autotool_core import tool_formats
from autotool_core.chat_template import ChatTemplate
from autotool_core.errors import AutoToolError
from autotool_core.recognition import recognise

NEEDS = "{% for tool in tools or [] %}{{ '// ' + tool.function.description }}{% endfor %}"


@pytest.mark.parametrize(("template", "begins"), [(NEEDS + CHAT_TEMPLATE, "// <|im_start|>"), (CHAT_TEMPLATE, "<|im_start|>")])
def test_a_description_is_filled_in_where_the_template_fails_without(template: str, begins: str) -> None:
    chat_template = ChatTemplate(make_tokenizer(template), tool_formats.get("hermes"))
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    text = chat_template.text([{"role": "user", "content": "?"}], [tool])
    assert text.startswith(begins)
    assert ('"description": ""' in text) is (template != CHAT_TEMPLATE)
    described = {"type": "function", "function": {"name": "f", "description": "Look.", "parameters": {}}}
    assert '"description": "Look."' in chat_template.text([{"role": "user", "content": "?"}], [described])


def test_a_template_may_add_lists_to_messages_and_tools() -> None:
    adds = "{% for m in messages + [{'role': 'x'}] %}{{ m.role }},{% endfor %}{{ (tools or []) + ['y'] | list }}"
    chat_template = ChatTemplate(make_tokenizer(adds), tool_formats.get("hermes"))
    assert chat_template.text(({"role": "user", "content": "?"},), ({"type": "function", "function": {"name": "f"}},))


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (CHAT_TEMPLATE + "\n{% if %}", r"not valid: Expected an expression.* \(line 18\)"),
        ("{{ messages", "not valid"),
        ("{% unknown %}", "unknown tag 'unknown'"),
        ({"rag": CHAT_TEMPLATE, "tool_use": CHAT_TEMPLATE}, "none of which is named default"),
    ],
)
def test_a_template_that_fails_on_every_request_is_refused_at_the_start(template: Any, reason: str) -> None:
    with pytest.raises(AutoToolError, match=reason):
        recognise(make_tokenizer(template))


def test_of_named_templates_the_default_one_asks_and_that_of_tools_shows_tools() -> None:
    named: Any = {"default": CHAT_TEMPLATE.replace("if tools", "if false"), "tool_use": CHAT_TEMPLATE}
    tokenizer = make_tokenizer(named)
    template = ChatTemplate(tokenizer, recognise(tokenizer).profile.tool_format)
    assert template.shows_tools
    assert template.generation_prompt() == "<|im_start|>assistant\n"
