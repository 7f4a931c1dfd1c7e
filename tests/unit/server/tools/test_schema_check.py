"""Schemas are checked in the dialect that they name, and their patterns are not checked as Python's."""

from typing import Any

import pytest

from autotool_server.tools.schema_check import error_path

TUPLE = {"properties": {"at": {"type": "array", "items": [{"type": "number"}]}}}


def text(pattern: str) -> dict[str, Any]:
    return {"properties": {"name": {"type": "string", "pattern": pattern}}}


@pytest.mark.parametrize(
    "schema", [{}, True, *map(text, (r"^\p{L}+$", r"(?<year>\d{4})", r"\u{1F600}")), {"$schema": "urn:my-own"}]
)
def test_a_valid_schema_passes(schema: Any) -> None:
    assert error_path(schema) is None


def test_a_schema_is_checked_by_the_dialect_that_it_names() -> None:
    assert error_path({"$schema": "http://json-schema.org/draft-07/schema#", **TUPLE}) is None
    assert error_path(TUPLE) == "properties/at/items"


@pytest.mark.parametrize(
    ("schema", "where"),
    [
        ({"type": "objekt"}, "type"),
        ({"properties": {"a": {"minimum": "1"}}}, "properties/a/minimum"),
        ([], "its top level"),
        ({"$schema": 7}, "$schema"),
        ({"$schema": ["x"]}, "$schema"),
        ({"$schema": "http://[x"}, "$schema"),
    ],
)
def test_the_path_of_an_invalid_schema_is_returned(schema: Any, where: str) -> None:
    assert error_path(schema) == where
