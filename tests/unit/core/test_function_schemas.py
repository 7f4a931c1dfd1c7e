"""Names and schemas of functions as data sets describe them."""

from typing import Any

import jsonschema
import pytest

from autotool_core.function_schemas import json_schema, plain_name


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("str", {"type": "string"}),
        ("int, optional", {"type": "integer"}),
        ("float", {"type": "number"}),
        ("Boolean", {"type": "boolean"}),
        ("dict", {"type": "object"}),
        ("Dict[str, int]", {"type": "object"}),
        ("list", {"type": "array"}),
        ("List[List[int]]", {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}),
        ("list(object)", {"type": "array", "items": {"type": "object"}}),
        ("objectArray", {"type": "array", "items": {"type": "object"}}),
        ("Tuple[float, float]", {"type": "array", "items": {"type": "number"}}),
        ("Tuple[str, int]", {"type": "array"}),
        ("Optional[str]", {"type": "string"}),
        ("Union[int, List[str]]", {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "string"}}]}),
        (["str", "null"], {"type": ["string", "null"]}),
        ("Any", {}),
    ],
)
def test_type_names_become_json_schema(name: Any, schema: dict[str, Any]) -> None:
    made = json_schema({"type": name})
    assert made == schema
    jsonschema.Draft202012Validator.check_schema(made)


@pytest.mark.parametrize("name", ["Callable[[float], float]", "np.ndarray", "", ["str", "wat"]])
def test_an_unknown_type_is_refused(name: Any) -> None:
    with pytest.raises(ValueError, match="there is no type"):
        json_schema({"type": name})


def test_properties_and_items_are_converted_and_invalid_keywords_left_out() -> None:
    inner = {"type": "dict", "properties": {"b": {"type": "int", "required": True, "examples": "5"}}, "required": ["b"]}
    made = json_schema({"type": "list", "items": inner, "description": "d"})
    wanted = {"type": "object", "properties": {"b": {"type": "integer", "examples": ["5"]}}, "required": ["b"]}
    assert made == {"type": "array", "description": "d", "items": wanted}


def test_names_become_valid_for_openai() -> None:
    assert plain_name("Get Genres/v2.1") == "Get_Genres_v2_1"
    assert len(plain_name("a" * 100)) == 64
