"""The calls of FunctionGemma and Gemma 4: keys and values in braces."""

import json
from typing import Any

import pytest
from support.grammars import accepts
from support.parsing_turns import Call, Turn, function_tool, parse, run

from autotool_core import tool_formats
from autotool_core.grammar import AnswerShape, structural_tag
from autotool_core.parsing.events import ToolCallArguments, ToolCallStart
from autotool_core.profile import Profile

NAMES = ("function_gemma", "gemma4")
PROPERTIES: dict[str, Any] = {
    "s": {"type": "string"},
    "i": {"type": "integer"},
    "b": {"type": "boolean"},
    "l": {"type": "array"},
    "o": {"type": "object"},
    "any": {},
}
TOOLS = [function_tool("f", PROPERTIES)]
F = Call("f", '{"i": 1, "s": "x"}')


def in_format(name: str, text: str) -> str:
    """Write `call:f{s:'x'}` with the format's markers and delimiter."""
    tool_format = tool_formats.get(name)
    delimiter = tool_format.markers[2]
    calls = text.replace("'", delimiter).split(";")
    return "".join(f"{tool_format.openers[0]}{call}{tool_format.close}" for call in calls)


def read(name: str, text: str) -> Turn:
    return parse(Profile(name=name, tool_format=tool_formats.get(name)), in_format(name, text), "", TOOLS)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "call",
    [
        "call:f{i:1,s:'x'}",
        " call: f{ i : 1 , s : 'x' } ",
        "f{i:1,s:'x'}",
        "call:f{i:'1',s:x}",
        "call:f{'i':1,'s':'x',}",
        "call:f{i:1,s:'x',i:2}",
    ],
)
def test_variants_of_a_call(name: str, call: str) -> None:
    assert read(name, f"{call};{call}") == Turn(calls=(F, F))


@pytest.mark.parametrize("name", NAMES)
def test_a_call_without_arguments_may_have_no_braces(name: str) -> None:
    assert read(name, "call:f;call:f{}") == Turn(calls=(Call("f", "{}"),) * 2)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("s:'a, b}: {c'", "a, b}: {c"),
        ("s:''", ""),
        ("s:' \n'", " \n"),
        ("s:'5'", "5"),
        ("s:5", "5"),
        ("s:12:30", "12:30"),
        ("s:New York", "New York"),
        ("s:null", None),
        ("i:-5", -5),
        ("b:true", True),
        ("b:False", False),
        ("l:[1,'a, ]',[true,None],{k:'v'}]", [1, "a, ]", [True, None], {"k": "v"}]),
        ("l:[]", []),
        ("o:{k:'v',n:{m:[1.5]},'a b':null}", {"k": "v", "n": {"m": [1.5]}, "a b": None}),
        ("o:{True:1, 07 :2}", {"True": 1, "07": 2}),
        ("any:[1,,2]", "[1,,2]"),
        ("any:5", 5),
    ],
)
def test_values(name: str, text: str, value: Any) -> None:
    (call,) = read(name, f"call:f{{{text}}}").calls
    assert next(iter(json.loads(call.arguments).values())) == value


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("text", ["", "call:", "call:f g", "call:f(i=1)", "call:f{i}", "hello you"])
def test_what_is_no_call_is_content(name: str, text: str) -> None:
    assert read(name, text) == Turn(content=in_format(name, text))


def test_parameters_are_sent_one_by_one() -> None:
    _, parser = run(Profile(name="p", tool_format=tool_formats.get("gemma4")), [], "", TOOLS)
    assert parser.feed("<|tool_call>call:f{s") == []
    assert parser.feed(':<|"') == [ToolCallStart(0, "f")]
    assert parser.feed('|>x<|"|>') == []
    assert parser.feed(",") == [ToolCallArguments(0, '{"s": "x"')]


POINT = {
    "type": "object",
    "properties": {"y": {"type": "integer"}, "x": {"type": ["integer", "null"]}},
    "required": ["x", "y"],
    "additionalProperties": False,
}
SCHEMA = {
    "$defs": {"Point": POINT},
    "type": "object",
    "properties": {
        "p": {"$ref": "#/$defs/Point"},
        "e": {"enum": ["a", 1, None]},
        "l": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2},
        "u": {"anyOf": [{"type": "boolean"}, {"type": "string"}]},
        "any": {},
        "n": {"type": "number", "minimum": 0, "maximum": 5},
        "no": {"type": "array", "items": False},
    },
    "required": ["e"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("arguments", "is_held"),
    [
        ("e:'a'", True),
        ("e:1,l:['x','y'],n:3,p:{x:null,y:-2},u:true", True),
        ("any:{k:[1,'<es<|',{'a b':null}]},e:null,u:'x'", True),
        ("any:-1.5e3,e:null", True),
        ("e:'b'", False),
        ("l:['x']", False),
        ("e:1,l:[]", False),
        ("e:1,l:['x','y','z']", False),
        ("e:1,l:[1]", False),
        ("e:1,n:6", False),
        ("e:1,no:[]", True),
        ("e:1,no:[1]", False),
        ("e:1,p:{x:1}", False),
        ("e:1,p:{x:1,y:1,z:1}", False),
        ("e:1,z:1", False),
        ("any:x,e:1", False),
    ],
)
def test_the_grammar_holds_arguments_to_their_schema(name: str, arguments: str, is_held: bool) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": SCHEMA, "strict": True}}
    tag = structural_tag(AnswerShape([tool], "required"), tool_formats.get(name))
    assert accepts(tag, in_format(name, f"call:f{{{arguments}}}")) is is_held


LOOP = {"$defs": {"A": {"type": "array", "items": {"$ref": "#/$defs/A"}}}}
DOUBLING = {f"D{n}": {"type": "array", "items": {"anyOf": [{"$ref": f"#/$defs/D{n + 1}"}] * 2}} for n in range(40)}


@pytest.mark.parametrize(
    ("schema", "feature"),
    [
        ({"type": "string", "pattern": "^a$"}, "pattern"),
        ({"type": "string", "maxLength": 3}, "maxLength"),
        ({"type": "array", "prefixItems": []}, "prefixItems"),
        ({"type": "array", "items": {"type": "object", "minProperties": 1}}, "minProperties"),
        ({"items": {}}, "items without type"),
        ({"$ref": "#/$defs/A"}, "a recursive $ref"),
        ({"$ref": "#/properties/a"}, "$ref to something else than a definition"),
        ({"$ref": "#/$defs/D0"}, "more than 2000 values"),
    ],
)
def test_what_the_grammar_cannot_hold_is_named_and_left_free(schema: dict[str, Any], feature: str) -> None:
    tool_format = tool_formats.get("gemma4")
    parameters = {"$defs": {**LOOP["$defs"], **DOUBLING}, "type": "object", "properties": {"a": schema}}
    assert tool_format.unenforceable(parameters) == feature
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    assert feature.startswith("more") or accepts(
        structural_tag(AnswerShape([tool], "one"), tool_format), tool_format.render_calls([("f", {"a": [["x"]]})])
    )


def test_a_schema_of_the_common_part_is_held_whole() -> None:
    assert tool_formats.get("gemma4").unenforceable(SCHEMA) is None
    assert tool_formats.get("gemma4").unenforceable({"type": "object", "anyOf": []}) == "anyOf"
