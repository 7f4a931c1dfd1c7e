"""A JSON schema as xgrammar holds it: rewritten to one that is equal, or at least has no value that the schema lacks.

Xgrammar passes over what it does not know, so only what is read here is passed on to it. Narrower than the schema are:

- Objects have their listed properties in order, and others only where `additionalProperties` or `patternProperties` say so;
  arrays with `prefixItems` have others only where `items` says so.
- A schema without `type` has the types that its other keywords speak of, as for the readers of calls.
- A number within bounds has six decimals at most and no exponent.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from autotool_core.held import numbers, objects, one_of, values
from autotool_core.held.errors import NotHeldError
from autotool_core.held.references import References
from autotool_core.held.sizes import limits
from autotool_core.held.texts import Texts, marked

UNENFORCEABLE = (
    *("not", "if", "dependentRequired", "dependentSchemas", "dependencies", "multipleOf", "uniqueItems", "contains"),
    *("unevaluatedItems", "unevaluatedProperties", "$dynamicRef", "$recursiveRef", "extends", "disallow", "divisibleBy"),
)
COMPOSITIONS = ("anyOf", "oneOf", "allOf", "$ref")
ASSERTIONS = {"type", "enum", "const", *COMPOSITIONS, *UNENFORCEABLE}.union(*values.OF_TYPE.values())
FORMATS = {
    *("date", "time", "date-time", "duration", "ipv4", "ipv6", "hostname", "uuid", "uri", "uri-reference", "uri-template"),
}
"""Formats whose texts xgrammar holds."""
POINTER = "(/([^~/]|~[01])*)*"
FORMAT_PATTERNS = {
    "email": r"^[\w!#$%&'*+\/=?^`{|}~-]+(\.[\w!#$%&'*+\/=?^`{|}~-]+)*@[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
    r"(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$",
    "json-pointer": f"^{POINTER}$",
    "relative-json-pointer": rf"^(0|[1-9]\d*)(#|{POINTER})$",
}
"""Formats in which xgrammar allows texts that are no JSON."""
NUMBER_FORMATS = ("int32", "int64", "float", "double")
"""Formats that say nothing of strings: https://spec.openapis.org/registry/format/"""
OLD_DIALECTS = ("draft-04", "draft-06", "draft-07", "2019-09")
"""The dialects in which `items` may be a list, with `additionalItems` behind it, and `prefixItems` means nothing."""

Path = tuple[str, ...]


def held(schema: Mapping[str, Any] | bool, texts: Texts) -> Any:
    """Return a valid schema as xgrammar holds it; `texts` gets the rules of its marks.

    Raises NotHeldError for a schema that is not held, RecursionError for one that is nested too deeply.
    """
    try:
        json.dumps(schema, allow_nan=False)
    except ValueError:
        raise NotHeldError("a number that JSON does not have") from None
    return _Holder(schema, texts).whole()


class _Holder:
    def __init__(self, root: Any, texts: Texts) -> None:
        self._root = root
        self._texts = texts
        self._references = References(root)
        self._definitions: dict[str, Any] = {}
        self._names: dict[str, str] = {}
        self._leads: dict[str, set[str]] = {}
        """The references to which each reference leads without anything in between."""
        dialect = str(cast("dict[str, Any]", root).get("$schema", "")) if isinstance(root, dict) else ""
        self._is_old = any(name in dialect for name in OLD_DIALECTS)
        self._id = "id" if "draft-04" in dialect else "$id"
        if "draft-03" in dialect:
            raise NotHeldError("draft 3")

    def whole(self) -> Any:
        found = self._hold(self._root, (), "#")
        self._check_loops()
        return {**found, "$defs": self._definitions} if self._definitions else found

    def _hold(self, schema: Any, path: Path, at: str | None) -> Any:
        """Return a schema as it is held. `at`: the reference whose value this one is, not a part of it."""
        try:
            return self._schema(schema, path, at)
        except NotHeldError as error:
            error.place = "/".join(path) if error.place is None else error.place
            raise

    def _schema(self, schema: Any, path: Path, at: str | None) -> Any:
        if schema is False:
            raise NotHeldError("false, which no value satisfies,")
        if schema is True:
            return {}
        if path and str(schema.get(self._id, "#"))[:1] != "#":
            raise NotHeldError("$id inside")
        assertions = [keyword for keyword in schema if keyword in ASSERTIONS and not _says_nothing(schema, keyword)]
        if "const" in schema or "enum" in schema:
            others = [keyword for keyword in assertions if keyword not in ("const", "enum")]
            return values.listed(values.allowed(schema, others))
        if unheld := next((keyword for keyword in UNENFORCEABLE if keyword in assertions), None):
            raise NotHeldError(unheld)
        if composition := next((keyword for keyword in COMPOSITIONS if keyword in assertions), None):
            if siblings := {*assertions} - {composition}:
                raise NotHeldError(f"{min(siblings)} together with {composition}")
            return self._composed(composition, schema[composition], path, at)
        return self._typed(schema, assertions, path)

    def _composed(self, keyword: str, value: Any, path: Path, at: str | None) -> Any:
        if keyword == "$ref":
            return self._referred(str(value), at)
        if keyword == "allOf" and len(value) > 1:
            raise NotHeldError("allOf of several schemas")
        if keyword == "oneOf" and not one_of.exclude_each_other(value, self._references):
            raise NotHeldError("oneOf of schemas that may hold at once")
        options = [self._hold(option, (*path, keyword, str(number)), at) for number, option in enumerate(value)]
        return options[0] if len(options) == 1 else {"anyOf": options}

    def _referred(self, reference: str, at: str | None) -> Any:
        if at is not None:
            self._leads.setdefault(at, set()).add(reference)
        if reference not in self._names:
            target = self._references.target(reference)
            name = self._names[reference] = f"d{len(self._names)}"
            self._definitions[name] = self._hold(target, (reference,), reference)
        return {"$ref": f"#/$defs/{self._names[reference]}"}

    def _check_loops(self) -> None:
        """Raise NotHeldError for a reference that leads back to itself without a property or an item in between."""
        for start in self._leads:
            seen, open_ends = set[str](), [start]
            while open_ends:
                for following in self._leads.get(open_ends.pop(), ()):
                    if following == start:
                        raise NotHeldError("$ref that leads back to itself")
                    if following not in seen:
                        seen.add(following)
                        open_ends.append(following)

    def _typed(self, schema: Mapping[str, Any], assertions: Sequence[str], path: Path) -> Any:
        keywords = {*assertions} - {"type"}
        types = _types(schema, keywords)
        if not keywords and (len(types) != 1 or "type" not in schema):
            return {"type": types} if "type" in schema else {}
        options = [self._of_type(name, schema, keywords, path) for name in types]
        return options[0] if len(options) == 1 else {"anyOf": options}

    def _of_type(self, name: str, schema: Mapping[str, Any], keywords: set[str], path: Path) -> Any:
        kind = "number" if name == "integer" else name
        own = keywords & values.OF_TYPE.get(kind, set())
        if not own:
            return {"type": name}
        match kind:
            case "string":
                return self._string(schema, own)
            case "number":
                return numbers.bounded(name, schema)
            case "array":
                return self._array(schema, path)
            case _:
                return self._object(schema, path)

    def _string(self, schema: Mapping[str, Any], keywords: set[str]) -> Any:
        lengths = keywords & {"minLength", "maxLength"}
        if lengths and (others := keywords - lengths):
            raise NotHeldError(f"{min(others)} together with minLength or maxLength")
        if lengths:
            return marked(self._texts.of_lengths(*limits(schema, "Length")))
        pattern = schema.get("pattern", FORMAT_PATTERNS.get(schema.get("format", "")))
        if pattern is not None:
            return marked(self._texts.of_pattern(pattern))
        return {"type": "string", "format": schema["format"]} if schema["format"] in FORMATS else {"type": "string"}

    def _array(self, schema: Mapping[str, Any], path: Path) -> Any:
        least, most = limits(schema, "Items")
        listed, behind = _items(schema, least, is_old=self._is_old)
        listed = listed[:most]
        first = [self._hold(item, (*path, "items", str(number)), None) for number, item in enumerate(listed)]
        if behind is False or (most is not None and most <= len(first)):
            if least > len(first):
                raise NotHeldError("minItems above the number of items")
            return {"type": "array", **({"prefixItems": first} if first else {}), "items": False, **_range(least, None)}
        rest = self._hold(behind, (*path, "items"), None)
        return {"type": "array", **({"prefixItems": first} if first else {}), "items": rest or True, **_range(least, most)}

    def _object(self, schema: Mapping[str, Any], path: Path) -> Any:
        def hold(inner: Any, *steps: str) -> Any:
            return self._hold(inner, (*path, *steps), None)

        names = schema.get("propertyNames", True)
        string = None if names is True else hold(_of_strings(names), "propertyNames")
        return objects.held_object(schema, hold, self._texts, string)


def _of_strings(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    names = cast("dict[str, Any]", schema)
    if "string" not in _types(names, {*names}):
        raise NotHeldError("propertyNames of another type than string")
    return {**names, "type": "string"}


def _says_nothing(schema: Mapping[str, Any], keyword: str) -> bool:
    """Return whether a keyword has a value that allows everything."""
    value = schema[keyword]
    if keyword in ("uniqueItems", "contains", "exclusiveMinimum", "exclusiveMaximum"):
        return value is False and keyword != "contains"
    if keyword in ("unevaluatedItems", "unevaluatedProperties", "additionalItems"):
        return value is True
    return keyword in ("then", "else") or (keyword == "required" and not value)


def _types(schema: Mapping[str, Any], keywords: set[str]) -> list[str]:
    types = schema.get("type")
    if types is not None:
        names = cast("list[str]", types) if isinstance(types, list) else [str(types)]
        return [name for name in names if name != "integer" or "number" not in names]
    if schema.get("format") in NUMBER_FORMATS:
        keywords = keywords - {"format"}
    spoken = [name for name, own in values.OF_TYPE.items() if keywords & own]
    return spoken or [*values.TYPES]


def _items(schema: Mapping[str, Any], least: int, *, is_old: bool) -> tuple[list[Any], Any]:
    """Return the schemas of an array's first items, and that of the others: False for none."""
    items = schema.get("items")
    if is_old and "prefixItems" in schema:
        raise NotHeldError("prefixItems in a dialect before 2020-12")
    if isinstance(items, list):
        listed, items = cast("list[Any]", items), schema.get("additionalItems")
    else:
        listed = schema.get("prefixItems", [])
    return listed, (least > len(listed) or not listed if items is None else items)


def _range(least: int, most: int | None) -> dict[str, int]:
    return ({"minItems": least} if least else {}) | ({"maxItems": most} if most is not None else {})
