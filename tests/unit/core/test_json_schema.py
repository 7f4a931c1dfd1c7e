from typing import Any

import pytest

from autotool_core.json_schema import unenforceable


@pytest.mark.parametrize(
    ("schema", "feature"),
    [
        ({"not": {"type": "string"}}, "not"),
        ({"type": "object", "properties": {"a": {"multipleOf": 2}}}, "multipleOf"),
        ({"type": "array", "items": {"anyOf": [{}, {"uniqueItems": True}]}}, "uniqueItems"),
        ({"$defs": {"x": {"if": {}}}}, "if"),
        ({"allOf": [{}, {}]}, "allOf of several schemas"),
        ({"pattern": "^(?=a)b$"}, "a look-around in pattern"),
        ({"pattern": "^a$", "minLength": 2}, "pattern together with minLength or maxLength"),
        ({"format": "email", "maxLength": 2}, "format together with minLength or maxLength"),
        *(({"pattern": p}, "a pattern that is not anchored by ^ and $") for p in ("a", "^https?://", "b$", "^a|b$", r"^a\$")),
        ({"patternProperties": {"^x-": {}}}, "a pattern that is not anchored by ^ and $"),
        *(({"pattern": p}, "a quote or a backslash in pattern") for p in ('^"a$', r"^a\\b$", '^["a]$')),
        ({"anyOf": [{"required": ["a"]}], "type": "object"}, "type together with anyOf"),
        ({"allOf": [{"type": "object"}], "properties": {}}, "properties together with allOf"),
        ({"$ref": "#/$defs/s", "minLength": 5}, "minLength together with $ref"),
        ({"anyOf": [{}], "oneOf": [{}]}, "oneOf together with anyOf"),
        ({"type": "object", "required": ["a", "b"], "properties": {"a": {}}}, "a required name that is not in properties (b)"),
        ({"$ref": "https://example.org/schema"}, "$ref to another document"),
    ],
)
def test_the_first_unenforceable_feature_is_named(schema: dict[str, Any], feature: str) -> None:
    assert unenforceable(schema) == feature


@pytest.mark.parametrize(
    "schema",
    [
        True,
        {"properties": {"not": {"type": "string"}, "if": {}}, "required": ["not"]},
        {"enum": [{"not": 1}], "default": {"multipleOf": 1}},
        {"$ref": "#/$defs/x", "$defs": {"x": {"type": "string", "pattern": "^a+$"}}},
        {"uniqueItems": False, "allOf": [{"type": "object"}]},
        {
            "anyOf": [{"$ref": "#/$defs/n"}, {"type": "null"}],
            "description": "d",
            "default": None,
            "title": "N",
            "$defs": {"n": {}},
        },
        *({"pattern": p} for p in (r"^(a|b)$", r"^(?:a(b|c)){1,2}[|$]\$\|$", r"^[^\]|]+$", r'^[^"\\]*$')),
    ],
)
def test_enforceable_schemas_pass_even_with_similar_names(schema: Any) -> None:
    assert unenforceable(schema) is None
