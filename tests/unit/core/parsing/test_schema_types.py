"""Where a tool's schema says which types a parameter has."""

from typing import Any

import pytest

from autotool_core.parsing.schema_types import ALL_TYPES, ParameterTypes

STRING = {"type": "string"}
ZIP = {"properties": {"zip": STRING}}


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"zip": STRING}},
        {"additionalProperties": STRING},
        {"properties": {"a": {"type": "integer"}}, "additionalProperties": STRING},
        {"patternProperties": {"^z": STRING, "^a": {"type": "integer"}}},
        {"patternProperties": {"ip": STRING}, "additionalProperties": {"type": "integer"}},
        {"$ref": "#/$defs/Address", "$defs": {"Address": ZIP}},
        {"$ref": "#address", "$defs": {"Address": {"$anchor": "address", **ZIP}}},
        {"$dynamicRef": "#address", "$defs": {"Address": {"$dynamicAnchor": "address", **ZIP}}},
        {"$ref": "address.json", "$defs": {"Address": {"$id": "address.json", **ZIP}}},
        {"$ref": "#/definitions/a~1b%20c~0%25", "definitions": {"a/b c~%": ZIP}},
        {"$ref": "#/allOf/1", "allOf": [{}, ZIP]},
        {"allOf": [{"properties": {"a": {"type": "integer"}}}, {"allOf": [ZIP]}]},
        {"anyOf": [ZIP, {"properties": {"city": {"type": "integer"}}}]},
        {"oneOf": [{"properties": {"city": STRING}}, {"$ref": "#/$defs/A"}], "$defs": {"A": ZIP}},
        {"anyOf": [True, ZIP]},
        {"if": {}, "then": ZIP, "else": {"properties": {"a": {}}}},
        {"dependentSchemas": {"a": ZIP}},
        {"properties": {"zip": {"$ref": "#/properties/a%20b"}, "a b": STRING}},
        {"properties": {"zip": {"$ref": "#/properties/a~1b"}, "a/b": STRING}},
        {"properties": {"zip": {"pattern": "^[0-9]{5}$"}}},
        {"properties": {"zip": {"minLength": 5}}},
        {"properties": {"zip": {"format": "zip"}}},
        {"properties": {"zip": {"allOf": [{"maxLength": 5}]}}},
        {"properties": {"zip": True}, "allOf": [ZIP]},
        {"properties": {"zip": {"type": ["string", "integer"]}}, "allOf": [ZIP]},
    ],
)
def test_a_string_is_found_wherever_the_schema_says_it(schema: dict[str, Any]) -> None:
    types = ParameterTypes(schema)
    assert types.allowed("zip") == {"string"}
    assert types.knows("zip")


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"minimum": 0}, {"integer", "number"}),
        ({"format": "int64"}, {"integer"}),
        ({"minItems": 1}, {"array"}),
        ({"properties": {}}, {"object"}),
        ({"minLength": 1, "minimum": 0}, {"string", "integer", "number"}),
        ({"anyOf": [{"type": "null"}, {"pattern": "a"}]}, {"null", "string"}),
        ({"type": "integer", "pattern": "a"}, {"integer"}),
        ({"description": "pattern"}, ALL_TYPES),
        ({"$ref": "#/nowhere"}, ALL_TYPES),
        ({"$ref": "#nowhere"}, ALL_TYPES),
        ({"$ref": "#/properties/a"}, ALL_TYPES),
    ],
)
def test_a_parameter_without_type_has_those_its_keywords_speak_of(schema: dict[str, Any], expected: set[str]) -> None:
    assert ParameterTypes({"properties": {"a": schema}}).allowed("a") == expected


@pytest.mark.parametrize(
    ("schema", "known"),
    [
        ({}, True),
        ({"type": "object", "properties": {}, "additionalProperties": True}, True),
        (ZIP, False),
        ({**ZIP, "additionalProperties": {}}, False),
        ({**ZIP, "additionalProperties": STRING}, True),
        ({"$ref": "#"}, False),
        ({"patternProperties": {"(?=a)": STRING, "[": STRING}}, False),
    ],
)
def test_a_schema_knows_what_it_describes(schema: dict[str, Any], known: bool) -> None:
    assert ParameterTypes(schema).knows("a") is known


def test_a_schema_that_refers_to_itself_many_times_is_read_once() -> None:
    levels = 60
    definitions: dict[str, Any] = {
        f"L{level}": {"anyOf": [{"$ref": f"#/$defs/L{level + 1}"}] * 2, "allOf": [{"$ref": f"#/$defs/L{level + 1}"}] * 2}
        for level in range(levels)
    }
    schema = {"$ref": "#/$defs/L0", "$defs": {**definitions, f"L{levels}": ZIP}}
    assert ParameterTypes(schema).allowed("zip") == {"string"}


def test_a_pattern_that_backtracks_is_searched_in_linear_time() -> None:
    assert not ParameterTypes({"patternProperties": {"^(a+)+$": STRING}}).knows("a" * 60 + "!")


@pytest.mark.parametrize(
    ("schema", "text", "fitted"),
    [
        ({"enum": ["Rome", "Oslo"]}, "\nRome\r", "Rome"),
        ({"enum": [" Rome"]}, " Rome", " Rome"),
        ({"enum": ["Rome"]}, " Paris ", " Paris "),
        ({"const": "Rome"}, " Rome", "Rome"),
        ({"type": "string", "pattern": "^[a-z]+$"}, "abc\n", "abc"),
        ({"maxLength": 3}, " abc ", "abc"),
        ({"maxLength": 5}, " abc ", " abc "),
        ({"type": "string"}, " abc ", " abc "),
        ({"anyOf": [{"enum": ["a"]}, {"type": "null"}]}, " a ", "a"),
        ({"anyOf": [{"enum": ["a"]}, {"type": "string"}]}, " a ", " a "),
        ({"allOf": [{"$ref": "#/$defs/short"}]}, " a ", "a"),
        ({"$ref": "#/properties/zip"}, " a ", " a "),
    ],
)
def test_whitespace_around_a_string_is_left_out_where_the_schema_takes_it_only_so(schema: Any, text: str, fitted: str) -> None:
    types = ParameterTypes({"properties": {"zip": schema}, "$defs": {"short": {"maxLength": 1}}})
    assert types.fitted("zip", text) == fitted


def test_a_referenced_parameter_is_fitted_and_an_unknown_one_is_left() -> None:
    types = ParameterTypes({"allOf": [{"$ref": "#/$defs/z"}], "$defs": {"z": {"properties": {"zip": {"enum": ["a"]}}}}})
    assert types.fitted("zip", " a ") == "a"
    assert types.fitted("city", " a ") == " a "
