"""The values of `enum` and `const`: those that the keywords beside them allow."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from autotool_core.held.errors import NotHeldError

LARGEST = 2**63
STRING_KEYWORDS = {"minLength", "maxLength", "pattern", "format"}
NUMBER_KEYWORDS = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
ARRAY_KEYWORDS = {
    *("items", "prefixItems", "additionalItems", "minItems", "maxItems", "uniqueItems"),
    *("contains", "minContains", "maxContains", "unevaluatedItems"),
}
OBJECT_KEYWORDS = {
    *("properties", "required", "additionalProperties", "patternProperties", "propertyNames", "minProperties"),
    *("maxProperties", "dependentRequired", "dependentSchemas", "dependencies", "unevaluatedProperties"),
}
OF_TYPE = {"string": STRING_KEYWORDS, "number": NUMBER_KEYWORDS, "array": ARRAY_KEYWORDS, "object": OBJECT_KEYWORDS}
TYPES = ("string", "number", "boolean", "null", "array", "object")

Check = Callable[[Any, Any], bool]


def _is_type(value: Any, types: Any) -> bool:
    return any(name in type_names(value) for name in (cast("list[str]", types) if isinstance(types, list) else [types]))


CHECKS: Mapping[str, Check] = {
    "type": _is_type,
    "minimum": lambda value, bound: value >= bound,
    "maximum": lambda value, bound: value <= bound,
    "exclusiveMinimum": lambda value, bound: value > bound,
    "exclusiveMaximum": lambda value, bound: value < bound,
    "format": lambda value, name: True,
    **dict.fromkeys(("minLength", "minItems", "minProperties"), lambda value, bound: len(value) >= bound),
    **dict.fromkeys(("maxLength", "maxItems", "maxProperties"), lambda value, bound: len(value) <= bound),
    "required": lambda value, names: all(name in value for name in names),
}


def type_names(value: Any) -> tuple[str, ...]:
    """Return the names of a JSON value's types; a whole number is an integer too."""
    match value:
        case None:
            return ("null",)
        case bool():
            return ("boolean",)
        case str():
            return ("string",)
        case int() | float():
            return ("number", "integer") if isinstance(value, int) or value.is_integer() else ("number",)
        case list():
            return ("array",)
        case _:
            return ("object",)


def allowed(schema: Mapping[str, Any], assertions: Sequence[str]) -> list[Any]:
    """Return the values of a schema with `enum` or `const`. Raises NotHeldError for what is not checked beside them."""
    values: list[Any] = [schema["const"]] if "const" in schema else schema["enum"]
    if "const" in schema and "enum" in schema:
        values = [value for value in values if any(is_same(value, other) for other in schema["enum"])]
    for keyword in assertions:
        values = [value for value in values if _passes(value, keyword, schema)]
    if not values:
        raise NotHeldError("an enum or const without a value that the rest of the schema allows")
    return values


def _passes(value: Any, keyword: str, schema: Mapping[str, Any]) -> bool:
    if any(keyword in keywords for name, keywords in OF_TYPE.items() if name not in type_names(value)):
        return True
    check = CHECKS.get(keyword)
    if check is None or isinstance(schema[keyword], bool):
        raise NotHeldError(f"{keyword} together with enum or const")
    return check(value, schema[keyword])


def listed(values: Sequence[Any]) -> dict[str, Any]:
    """Return the schema of some values. Fractions are ranges of one number, since xgrammar would write 0.1 with 17 digits."""
    for value in values:
        _check_numbers(value)
    ranges = [{"type": "number", "minimum": value, "maximum": value} for value in values if _is_short_fraction(value)]
    others = [_plain(value) for value in values if not _is_short_fraction(value)]
    options: list[dict[str, Any]] = [*ranges, *([{"enum": others}] if others else [])]
    return options[0] if len(options) == 1 else {"anyOf": options}


def is_same(one: Any, other: Any) -> bool:
    """Return whether two JSON values are equal."""
    return _text(one) == _text(other)


def _is_short_fraction(value: Any) -> bool:
    return isinstance(value, float) and not value.is_integer() and value == round(value, 6) and abs(value) < LARGEST / 2**20


def _plain(value: Any) -> Any:
    """Return a value in which whole numbers are integers."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case list():
            return [_plain(item) for item in cast("list[Any]", value)]
        case dict():
            return {name: _plain(item) for name, item in cast("dict[str, Any]", value).items()}
        case _:
            return value


def _text(value: Any) -> str:
    return json.dumps(_plain(value), sort_keys=True)


def _check_numbers(value: Any) -> None:
    if isinstance(value, int | float) and abs(value) >= LARGEST:
        raise NotHeldError("a number of so many digits in enum or const")
    if isinstance(value, list | dict):
        for item in cast("list[Any]", value) if isinstance(value, list) else cast("dict[str, Any]", value).values():
            _check_numbers(item)
