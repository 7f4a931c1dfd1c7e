import json
from typing import Any

import pytest
from support.grammar_walks import accepts_whole

from autotool_core.errors import InvalidRequestError
from autotool_core.grammar import AnswerShape
from autotool_core.held.errors import NotHeldError
from autotool_core.held.schema import held
from autotool_core.held.texts import Texts
from autotool_core.tool_formats import get
from autotool_server.conversation.constraints import grammar

HERMES = get("hermes")
DRAFT_4, DRAFT_7 = (f"http://json-schema.org/draft-0{number}/schema#" for number in (4, 7))
AB = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {}}}


def of(schema: Any) -> str:
    tag = grammar(AnswerShape(schema=schema), HERMES)
    assert tag is not None
    return tag


@pytest.mark.parametrize(
    ("schema", "right", "wrong"),
    [
        # Bounded strings have escapes and no raw control characters; a surrogate pair is one character.
        (
            {"type": "string", "minLength": 2, "maxLength": 2},
            [r'"a\n"', r'"\"\\"', '"éa"', r'"\ud83d\ude00a"'],
            ['"a\n"', '"a"'],
        ),
        ({"type": "string", "minLength": 2}, [r'"\u00e9a"'], [r'"\ud83d\ude00"', r'"\ud83d\ud83d"', '"\x01\x02"']),
        ({"maxLength": 1}, ['""', r'"\t"'], ['"\t"', '"ab"']),
        ({"type": ["string", "null"], "maxLength": 1}, ["null", '"a"'], ['"ab"', "1"]),
        ({"maxLength": 2**40}, ['"ab"'], ['"\t"']),
        # Patterns of control characters, quotes and backslashes, and those that match anywhere.
        ({"pattern": r"^\n$"}, [r'"\n"'], ['"\n"']),
        ({"pattern": r"^\x01$"}, [r'"\u0001"'], ['"\x01"']),
        ({"pattern": '^["a]{2}$'}, [r'"\"a"'], ['"""', '"a"']),
        ({"pattern": r"^[a-z]+\\[a-z]+$"}, [r'"a\\b"'], [r'"a\b"']),
        ({"pattern": r"^[^a]$"}, [r'"\""', r'"\n"'], ['"a"', '"\n"']),
        ({"pattern": r"^[\]\-a]$"}, ['"]"', '"-"', '"a"'], ['"˚"', '"ך"']),
        ({"pattern": "^https?://"}, ['"http://a"'], ['"ftp://"']),
        ({"pattern": "a$|^b"}, ['"xa"', '"bx"'], ['"ax"']),
        ({"type": "string", "format": "email"}, ['"a.b@c.org"'], ['"a"', r'"\"\q\"@c.org"']),
        ({"type": "string", "format": "json-pointer"}, ['"/a~1"'], ['"/~"', '"/\x01"']),
        # Bounds.
        ({"type": "integer", "minimum": 0.5, "exclusiveMaximum": 3}, ["1", "2"], ["0", "3"]),
        ({"minimum": 1, "maximum": 2}, ["1.5", "2"], ["0", '"a"']),
        ({"type": "number", "minimum": 1e-8}, ["0.000001"], ["0", "0.0000001"]),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 2e-6}, ["0.000001"], ["0", "0.000002", ""]),
        (
            {"$schema": DRAFT_4, "type": "integer", "minimum": 1, "exclusiveMinimum": True},
            ["2"],
            ["1"],
        ),
        # `enum` and `const` beside bounds.
        ({"enum": ["a", "abc", 5], "maxLength": 1}, ['"a"', "5"], ['"abc"']),
        ({"enum": [1, 5, "a"], "type": "integer", "minimum": 2}, ["5"], ["1", '"a"']),
        ({"enum": [0.1, 2.0, 'a"\n']}, ["0.1", "2", r'"a\"\n"'], ["0.2"]),
        ({"anyOf": [{"const": "é9"}, {"maxLength": 0}]}, ['"é9"', '""'], ['"\u0e99"']),
        # References.
        ({"$ref": "#x", "$defs": {"d": {"$anchor": "x", "type": "null"}}}, ["null"], ["1"]),
        ({"$ref": "#/$defs/a~1b%25", "$defs": {"a/b%": {"type": "null"}}}, ["null"], ["1"]),
        ({"type": "array", "items": {"$ref": "#"}}, ["[[]]"], ["[1]"]),
        ({"type": "null", "$defs": {"unused": {"not": {}}}}, ["null"], ["1"]),
        # Objects.
        (
            {**AB, "additionalProperties": {"type": "null"}},
            ['{"a":1,"x":null}', r'{"a\n":null}'],
            ['{"a":null}', r'{"\u0061":null}'],
        ),
        ({"properties": {"é": {"type": "null"}}, "additionalProperties": True}, ['{"ê":1}', '{"é":null}'], ['{"é":1}']),
        ({**AB, "minProperties": 2}, ['{"a":1,"b":2}'], ['{"a":1}']),
        ({**AB, "maxProperties": 1}, ['{"b":2}'], ['{"a":1,"b":2}']),
        ({"type": "object", "minProperties": 1}, ['{"x":1}'], ["{}"]),
        ({"patternProperties": {"^x-": {"type": "null"}}}, ['{"x-a":null}'], ['{"a":null}', '{"x-a":1}']),
        ({"type": "object", "propertyNames": {"maxLength": 1}}, ['{"a":1}'], ['{"ab":1}']),
        (
            {"propertyNames": {"enum": ["a"]}, "additionalProperties": {"type": "null"}},
            ['{"a":null}'],
            ['{"b":null}', '{"a":1}'],
        ),
        ({"type": "object"}, ['{"a":{"b":1}}'], ["[]"]),
        ({"type": "object", "properties": {}}, ["{}"], ['{"a":1}']),
        # Arrays.
        ({"prefixItems": [{"type": "null"}], "minItems": 2}, ["[null,1]"], ["[null]", "[1,1]"]),
        ({"prefixItems": [{"type": "null"}, {}], "maxItems": 1}, ["[null]", "[]"], ["[null,1]"]),
        (
            {
                "$schema": DRAFT_7,
                "items": [{"type": "null"}],
                "additionalItems": {"const": 1},
            },
            ["[null,1]"],
            ["[1]", "[null,null]"],
        ),
        # Compositions.
        ({"oneOf": [{"type": "null"}, {"type": "integer"}]}, ["null", "1"], ['"a"']),
        ({"oneOf": [{"enum": [1]}, {"const": 2}]}, ["1", "2"], ["3"]),
        (
            {
                "oneOf": [
                    {"type": "object", "properties": {"kind": {"const": kind}, kind: {}}, "required": ["kind"]} for kind in "xy"
                ]
            },
            ['{"kind":"x","x":1}'],
            ['{"kind":"x","y":1}'],
        ),
    ],
)
def test_a_held_schema_has_its_values_and_no_others(schema: Any, right: list[str], wrong: list[str]) -> None:
    tag = of(schema)
    for text in right:
        json.loads(text)
        assert accepts_whole(tag, text), text
    for text in wrong:
        assert not accepts_whole(tag, text), text


@pytest.mark.parametrize(
    ("schema", "feature"),
    [
        ({"not": {"type": "string"}}, "not"),
        ({"type": "object", "properties": {"a": {"multipleOf": 2}}}, "multipleOf in a JSON schema (at properties/a)"),
        ({"type": "array", "items": {"anyOf": [{}, {"uniqueItems": True}]}}, "uniqueItems in a JSON schema (at items/anyOf/1)"),
        ({"if": {}, "then": False}, "if"),
        ({"$schema": DRAFT_7, "dependencies": {"a": ["b"]}}, "dependencies"),
        ({"dependentRequired": {"a": ["b"]}}, "dependentRequired"),
        ({"$dynamicRef": "#d", "$defs": {"d": {"$dynamicAnchor": "d"}}}, "$dynamicRef"),
        ({"allOf": [{}, {}]}, "allOf of several schemas"),
        ({"oneOf": [{"type": "string"}, {"minLength": 1}]}, "oneOf of schemas that may hold at once"),
        ({"oneOf": [AB, AB]}, "oneOf of schemas that may hold at once"),
        ({"anyOf": [{"required": ["a"]}], "type": "object"}, "type together with anyOf"),
        ({"allOf": [{"type": "object"}], "properties": {"a": {}}}, "properties together with allOf"),
        ({"$ref": "#/$defs/s", "minLength": 5}, "minLength together with $ref"),
        ({"anyOf": [{}], "oneOf": [{}]}, "oneOf together with anyOf"),
        ({"enum": ["a"], "pattern": "a"}, "pattern together with enum or const"),
        ({"enum": ["a"], "maxLength": 0}, "an enum or const without a value that the rest of the schema allows"),
        ({"const": 2**64}, "a number of so many digits in enum or const"),
        ({"pattern": "^a$", "minLength": 2}, "pattern together with minLength or maxLength"),
        ({"format": "email", "maxLength": 2}, "format together with minLength or maxLength"),
        ({"minLength": 2, "maxLength": 1}, "maxLength below minLength"),
        ({"pattern": "^(?=a)b$"}, "a look-around or a named group in pattern"),
        ({"pattern": r"\ba"}, r"\b in pattern"),
        ({"type": "integer", "minimum": 2, "maximum": 1}, "bounds without a number between them"),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1e-6}, "bounds without a number between them"),
        ({"type": "number", "exclusiveMinimum": 1, "maximum": 1}, "bounds without a number between them"),
        ({"enum": [float("inf")]}, "a number that JSON does not have"),
        ({"maximum": 1e300}, "a bound of so many digits"),
        ({"type": "object", "required": ["a", "b"], "properties": {"a": {}}}, "a required name that is not in properties (b)"),
        ({**AB, "patternProperties": {"^a$": {}}}, "patternProperties together with properties"),
        ({"patternProperties": {"^a$": {}, "^b$": {}}}, "several patternProperties"),
        (
            {"patternProperties": {"^a$": {}}, "additionalProperties": {}},
            "patternProperties together with additionalProperties",
        ),
        ({**AB, "propertyNames": {"maxLength": 1}}, "propertyNames together with properties"),
        ({"type": "object", "minProperties": 2}, "minProperties above 1 where names are free, since a name may come twice,"),
        (
            {"properties": {"a" * 5000: {}}, "additionalProperties": True},
            "free names beside properties whose names are so long",
        ),
        ({**AB, "minProperties": 3}, "minProperties above the number of properties"),
        ({"maxProperties": 0, "minProperties": 1}, "maxProperties below minProperties"),
        ({**AB, "required": ["a"], "maxProperties": 0}, "maxProperties below the number of required names"),
        ({"minLength": 2**31}, "a minLength of so many digits"),
        ({"minItems": 2, "maxItems": 1}, "maxItems below minItems"),
        ({"items": False, "minItems": 1}, "minItems above the number of items"),
        ({"properties": {"a": False}}, "false, which no value satisfies, in a JSON schema (at properties/a)"),
        (False, "false, which no value satisfies,"),
        ({"$ref": "https://example.org/schema"}, "$ref to another document"),
        ({"$ref": "#/$defs/a"}, "$ref to a place that the schema lacks"),
        ({"anyOf": [{"$ref": "#"}, {"type": "null"}]}, "$ref that leads back to itself"),
        (
            {"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"allOf": [{"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"},
            "$ref that leads back to itself",
        ),
        ({"properties": {"a": {"$id": "http://example.org/a"}}}, "$id inside in a JSON schema (at properties/a)"),
    ],
)
def test_what_is_not_held_is_named_with_its_place(schema: Any, feature: str) -> None:
    with pytest.raises(NotHeldError) as caught:
        held(schema, Texts())
    assert str(caught.value).startswith(feature if " in a JSON schema" in feature else f"{feature} in a JSON schema")


def test_a_refusal_names_the_place_and_a_strict_tool_its_field() -> None:
    parameters = {"type": "object", "properties": {"a": {"not": {}}}}
    tools = [{"type": "function", "function": {"name": "f", "strict": True, "parameters": parameters}}]
    with pytest.raises(InvalidRequestError) as caught:
        grammar(AnswerShape(tools), HERMES, schema_fields={"f": "tools[0].function.parameters"})
    assert caught.value.field == "tools[0].function.parameters"
    assert "not in a JSON schema (at properties/a) cannot be enforced here" in str(caught.value)


@pytest.mark.parametrize(
    "schema",
    [
        True,
        {"properties": {"not": {"type": "string"}, "if": {}}, "required": ["not"]},
        {"enum": [{"not": 1}], "default": {"multipleOf": 1}},
        {"uniqueItems": False, "allOf": [{"type": "object"}]},
        {
            "anyOf": [{"$ref": "#/$defs/n"}, {"type": "null"}],
            "description": "d",
            "default": None,
            "title": "N",
            "$defs": {"n": {}},
        },
        {"type": "object", "properties": {"self": {"$ref": "#"}}},
    ],
)
def test_schemas_with_similar_names_are_held(schema: Any) -> None:
    assert of(schema)


def test_a_repeated_reference_is_read_once() -> None:
    definitions = {f"d{level}": {"items": {"anyOf": [{"$ref": f"#/$defs/d{level + 1}"}] * 2}} for level in range(40)}
    found = held({"$ref": "#/$defs/d0", "$defs": {**definitions, "d40": {"type": "null"}}}, Texts())
    assert len(found["$defs"]) == 41


def test_between_tags_a_text_is_read_as_it_stands_and_a_free_name_is_no_listed_one() -> None:
    properties = {"unit": {"enum": ["C", "F"]}, "code": {"type": "string", "maxLength": 2}}
    parameters = {"type": "object", "properties": properties, "additionalProperties": {"type": "integer"}}
    tool = {"type": "function", "function": {"name": "f", "strict": True, "parameters": parameters}}
    tag = grammar(AnswerShape([tool], "one"), get("qwen3_coder"))
    assert tag is not None

    def call(name: str, value: str) -> str:
        return f"<tool_call>\n<function=f>\n<parameter={name}>\n{value}\n</parameter>\n</function>\n</tool_call>"

    for name, value in (("unit", "C"), ("code", '"\t'), ("days", "1"), ("units", "2")):
        assert accepts_whole(tag, call(name, value)), name
    for name, value in (("unit", " C"), ("unit", "1"), ("code", "abc"), ("code", "1</"), ("days", "one")):
        assert not accepts_whole(tag, call(name, value)), value
    assert not accepts_whole(tag, call("unit", "C").replace("\nC\n", " C\t"))
