"""Calls that are written as Python, in running text (`pythonic`) and between LFM2's markers."""

import json
from typing import Any

import pytest
from support.grammars import accepts
from support.parsing_turns import Call, Turn, function_tool, parse, run

from autotool_core import tool_formats
from autotool_core.grammar import AnswerShape, structural_tag
from autotool_core.parsing.events import ToolCallArguments, ToolCallStart
from autotool_core.profile import Profile

PYTHONIC = Profile(name="pythonic", tool_format=tool_formats.get("pythonic"))
LFM2 = Profile(name="lfm2", tool_format=tool_formats.get("lfm2"))
PROPERTIES: dict[str, Any] = {
    "s": {"type": "string"},
    "i": {"type": "integer"},
    "x": {"type": "number"},
    "b": {"type": "boolean"},
    "l": {"type": "array"},
    "o": {"type": "object"},
    "n": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    "any": {},
}
TOOLS = [function_tool("f", PROPERTIES), function_tool("g.h-1")]
F, G = Call("f", '{"s": "x", "i": 1}'), Call("g.h-1", "{}")


def argument(text: str) -> Any:
    calls = parse(PYTHONIC, f"[f({text})]", "", TOOLS).calls
    return next(iter(json.loads(calls[0].arguments).values()))


@pytest.mark.parametrize(
    "text",
    [
        "[f(s='x', i=1), g.h-1()]",
        '[f(s="x",i=1,),g.h-1( )]',
        '[\n  f (\n    s = "x",\n    i\n = 1\n  ),\n  g.h-1()\n]',
        "<|python_start|>[f(s='x', i=1), g.h-1()]<|python_end|>",
        '<|python_start|>f(s="x", i=1), g.h-1()<|python_end|>',
        '```tool_code\n[f(s="x", i=1), g.h-1()]\n```',
        '```tool_code\nf(s="x", i=1), g.h-1()\n```',
        '[f(s="x", i=1), g.h-1()',
        '[f(s="x", i="1"), g.h-1()]',
        '[f(s="x", i=1, s="y"), g.h-1()]',
    ],
)
def test_variants_of_the_list_are_calls(text: str) -> None:
    assert parse(PYTHONIC, f"Look:\n{text}\nDone.", "", TOOLS) == Turn("", "Look:Done.", (F, G))
    marked = text if text[0] == "[" else "[f(s='x', i=1), g.h-1()]"
    assert parse(LFM2, f"<|tool_call_start|>{marked}<|tool_call_end|>", "", TOOLS) == Turn("", "", (F, G))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("s='it\\'s \"a\"'", 'it\'s "a"'),
        ("s='it's \"a\" x'", 'it\'s "a" x'),
        ("s='sed -n '1,9p' f.py'", "sed -n '1,9p' f.py"),
        ('s="a\\nb\\u00e9\\x41\\ud83d\\ude00\\d"', "a\nbéA😀\\d"),
        ('s="a\nb"', "a\nb"),
        ("s='a\\', b'", "a', b"),
        ("s='a\\\\', i=1", "a\\"),
        ('s="""a "b", (c)\n"d" """', 'a "b", (c)\n"d" '),
        ("s='''it's'''", "it's"),
        (r's=r"\d+"', r"\d+"),
        ("s=f'a'", "a"),
        ("s=''", ""),
        ('s=", i=2)]"', ", i=2)]"),
        ("s=word", "word"),
        ("s=90210", "90210"),
        ("s=None", None),
        ("i=-3", -3),
        ("i=+3", 3),
        ("i=1_000", 1000),
        ("i=07", 7),
        ("i='12'", 12),
        ("b='True'", True),
        ("o=\"{'k': [1]}\"", {"k": [1]}),
        ("i='many'", "many"),
        ("x=.5", 0.5),
        ("x=1e-3", 0.001),
        ("b=True", True),
        ("b=false", False),
        ("n=None", None),
        ("l=[1, [True, None], ('a', 'b',), {'k': \"v\"},]", [1, [True, None], ["a", "b"], {"k": "v"}]),
        ("o={'a': {'b': [1, 2]}, 2: null, \"c, d\": 'e]'}", {"a": {"b": [1, 2]}, "2": None, "c, d": "e]"}),
        ("any=f(1, 2)", "f(1, 2)"),
        ("any=1 + 2", "1 + 2"),
        ("any=nan", "nan"),
    ],
)
def test_values_are_python_literals_of_the_schemas_types(text: str, value: Any) -> None:
    assert argument(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "[link](f(x=1))",
        "x[0] and [1, 2, 3] and [[f]]",
        "[h(s='x')]",
        "[f('x')]",
        "[f(s)]",
        "[f]",
        "[ff(s='x')]",
        "[f s='x']",
        "f(s='x')",
        "```python\nf(s='x')\n```",
        "```tool_code\nprint(s='x')\n```",
        "[f(",
        "[",
    ],
)
def test_what_calls_no_tool_of_the_request_is_content(text: str) -> None:
    assert parse(PYTHONIC, f"a {text}", "", TOOLS) == Turn(content=f"a {text}")


def test_a_link_in_running_text_is_held_back_no_further_than_its_first_letter() -> None:
    _, parser = run(PYTHONIC, [], "", TOOLS)
    parser.feed("See [")
    assert parser.held
    parser.feed("x")
    assert not parser.held


@pytest.mark.parametrize("text", ["[f(i=1, 'x')]", "[f(i=1]", "[f(i=1, s]"])
def test_a_call_that_breaks_stays_without_its_end(text: str) -> None:
    assert parse(PYTHONIC, text, "", TOOLS).calls == (Call("f", '{"i": 1', complete=False),)


def test_parameters_are_sent_one_by_one() -> None:
    _, parser = run(PYTHONIC, [], "", TOOLS)
    assert parser.feed("[f(s") == []
    assert parser.feed("=") == [ToolCallStart(0, "f")]
    assert parser.feed("'x'") == []
    assert parser.feed(",") == [ToolCallArguments(0, '{"s": "x"')]


def test_deep_nesting_is_text() -> None:
    assert argument("any=" + "[" * 100_000 + "]" * 100_000) == "[" * 100_000 + "]" * 100_000


def strict(parameters: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"type": "function", "function": {"name": "f", "parameters": parameters, "strict": True}}]


OBJECT = {"type": "object", "properties": {"a": PROPERTIES["b"], "b": PROPERTIES["s"], "c": PROPERTIES["n"]}}
REQUIRED = {**OBJECT, "required": ["b"]}
FREE = {**OBJECT, "additionalProperties": {"type": "integer"}}


@pytest.mark.parametrize(
    ("parameters", "arguments", "is_held"),
    [
        (REQUIRED, "b='x'", True),
        (REQUIRED, 'a=True, b="x", c=null', True),
        (REQUIRED, "b='it\\'s', c=1", True),
        (REQUIRED, "a=True", False),
        (REQUIRED, "b='x', a=True", False),
        (REQUIRED, "b='x', d=1", False),
        (REQUIRED, "a=1, b='x'", False),
        (OBJECT, "", True),
        (OBJECT, "c=1, a=False", True),
        (OBJECT, "a=True, a=True, a=True, a=True", False),
        (OBJECT, "d=1", False),
        (FREE, "d=1, e=2", True),
        (FREE, "d='x'", False),
        ({"type": "object"}, 'x={"k": [1]}, y="z"', True),
        ({"type": "object", "properties": {}}, "", True),
        ({"type": "object", "properties": {}}, "x=1", False),
        ({"$defs": {"A": {"enum": ["u"]}}, "type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}}, 'a="u"', True),
        ({"$defs": {"A": {"enum": ["u"]}}, "type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}}, 'a="v"', False),
    ],
)
def test_the_grammar_holds_arguments_to_their_schema(parameters: dict[str, Any], arguments: str, is_held: bool) -> None:
    tag = structural_tag(AnswerShape(strict(parameters), "required"), tool_formats.get("pythonic"))
    assert accepts(tag, f"[f({arguments})]") is is_held


def test_brackets_stay_free_in_text() -> None:
    tool_format = tool_formats.get("pythonic")
    free = structural_tag(AnswerShape(strict(REQUIRED)), tool_format)
    assert accepts(free, "[a](b) [g(x)] [f(b='x'), f(b='y')] [1]")
    assert not accepts(free, "[a](b) [f(b=1)]")
    single = structural_tag(AnswerShape(strict(REQUIRED), parallel=False), tool_format)
    assert not accepts(single, "[f(b='x'), f(b='y')]")
    none = structural_tag(AnswerShape(strict(REQUIRED), "none"), tool_format)
    assert accepts(none, "[a](b) [g(x)]")
    assert not accepts(none, "[a] [f(")


@pytest.mark.parametrize("keyword", ["anyOf", "$ref", "minProperties", "patternProperties"])
def test_what_the_grammar_cannot_hold_is_named(keyword: str) -> None:
    assert tool_formats.get("pythonic").unenforceable({**OBJECT, keyword: {}}) == keyword
    assert tool_formats.get("pythonic").unenforceable(OBJECT) is None
