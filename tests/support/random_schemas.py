"""Random JSON schemas, of all keywords that a client may send."""

from typing import Any

from hypothesis import HealthCheck
from hypothesis import strategies as st

Schemas = st.SearchStrategy[dict[str, Any]]

UNCHECKED = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example, HealthCheck.filter_too_much)
"""Hypothesis' checks of a strategy's cost, which do not matter here."""
NAMES = st.sampled_from(["a", "b", "c d", 'q"', "x-1", ""])
PATTERNS = [
    *("^a+$", "^[a-c]{2,4}$", r"^\d{3}-\d{2}$", "^(foo|bar)?$", "^.{1,3}$", r"^[^a]$", r"^\w+@\w+$", "^https?://", "b$", "x"),
    *('^"$', r"^\\$", r"^\n?$", r"^[\s\S]{0,3}$", r"^\S+$", r"^\x01$", '^["\\\\]{2}$', '^[^"]{1,2}$', r"^\t|b$", r"^\/[a-z]$"),
    *(
        r"^\W$",
        r"^\bfoo\b$",
        "^(?=a)a$",
        r"^(a)\1$",
        "^[^]$",
        r"^\p{L}$",
        r"^\cA$",
        r"^\u0041$",
        "^a{2}b{0}$",
        "^$",
        r"^[\]\-a]$",
    ),
]
FORMATS = ["date", "date-time", "email", "uuid", "ipv4", "ipv6", "uri", "hostname", "time", "duration", "regex", "unknown"]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-20, 20),
    st.sampled_from([0.5, -1.5, 1e20, 1.0, 12345678901234567890]),
    st.text('ab"\\\n\x01é/', max_size=4),
)
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=2), st.dictionaries(NAMES, SCALARS, max_size=2))
SIZES = st.integers(0, 4)
BOUNDS = st.one_of(st.integers(-15, 15), st.sampled_from([0.5, -0.25, 2.75, 1e6, -1e-3, 100, 99.99, 1e-8, 1e20]))


LEAF = {"type": "integer"}


def _some(**keywords: st.SearchStrategy[Any]) -> Schemas:
    return st.fixed_dictionaries({}, optional=keywords)


def _with(fixed: dict[str, Any], keywords: Schemas) -> Schemas:
    return keywords.map(lambda some: {**some, **fixed})


STRINGS = _some(
    minLength=SIZES, maxLength=st.integers(1, 6), pattern=st.sampled_from(PATTERNS), format=st.sampled_from(FORMATS)
)
ONE_OF_STRINGS = st.one_of(
    _some(minLength=SIZES, maxLength=st.integers(1, 6)),
    st.sampled_from(PATTERNS).map(lambda pattern: {"pattern": pattern}),
    st.sampled_from(FORMATS).map(lambda name: {"format": name}),
    STRINGS,
)
NUMBERS = (
    _some(minimum=BOUNDS, maximum=BOUNDS) | _some(exclusiveMinimum=BOUNDS, exclusiveMaximum=BOUNDS) | _some(minimum=BOUNDS)
)
TYPES = ["string", "integer", "number", "boolean", "null", "array", "object"]
LEAVES: Schemas = st.one_of(
    _with({"type": "string"}, ONE_OF_STRINGS),
    _with({"type": "integer"}, NUMBERS),
    _with({"type": "number"}, NUMBERS),
    st.sampled_from([{"type": "boolean"}, {"type": "null"}, {}, {"type": "object"}, {"type": "array"}]),
    ONE_OF_STRINGS,
    NUMBERS,
    st.lists(VALUES, min_size=1, max_size=3, unique_by=repr).map(lambda values: {"enum": values}),
    VALUES.map(lambda value: {"const": value}),
    st.tuples(st.lists(SCALARS, min_size=1, max_size=3, unique_by=repr), STRINGS, NUMBERS).map(
        lambda parts: {"enum": parts[0], **parts[1], **parts[2]}
    ),
    st.tuples(st.lists(st.sampled_from(TYPES), min_size=1, max_size=3, unique=True), STRINGS, NUMBERS).map(
        lambda parts: {"type": parts[0], **parts[1], **parts[2]}
    ),
    st.sampled_from(["#", "#/$defs/d", "#anchor", "#/$defs/missing"]).map(lambda ref: {"$ref": ref}),
    st.just({"$dynamicRef": "#anchor"}),
)


def _objects(inner: Schemas) -> Schemas:
    schemas = inner | st.booleans()
    return st.builds(
        lambda fixed, names: {**fixed, "required": names} if names else fixed,
        _with(
            {"type": "object"},
            _some(
                properties=st.dictionaries(NAMES, inner, max_size=3),
                additionalProperties=schemas,
            ),
        )
        | _some(
            properties=st.dictionaries(NAMES, inner, max_size=3),
            additionalProperties=schemas,
            patternProperties=st.dictionaries(st.sampled_from(["^a$", "^x-", "^[a-b]+$", "^.*$"]), inner, max_size=2),
            propertyNames=st.one_of(ONE_OF_STRINGS, st.just({"enum": ["a", "b"]})),
            minProperties=st.integers(0, 3),
            maxProperties=st.integers(0, 3),
            dependencies=st.just({"a": ["b"]}),
            type=st.just("object"),
        ),
        st.lists(NAMES, max_size=2, unique=True),
    )


def _arrays(inner: Schemas) -> Schemas:
    sizes = {"minItems": SIZES, "maxItems": SIZES, "prefixItems": st.lists(inner, min_size=1, max_size=2)}
    return _with({"type": "array"}, _some(items=inner | st.booleans(), **sizes)) | _some(items=inner, uniqueItems=st.booleans())


def _compositions(inner: Schemas) -> Schemas:
    several = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        several.map(lambda schemas: {"anyOf": schemas}),
        several.map(lambda schemas: {"oneOf": schemas}),
        inner.map(lambda schema: {"allOf": [schema]}),
        st.tuples(several, STRINGS).map(lambda parts: {"anyOf": parts[0], **parts[1]}),
    )


_INNER = st.recursive(LEAVES, lambda inner: _objects(inner) | _arrays(inner) | _compositions(inner), max_leaves=3)
_PARAMETERS = st.sampled_from(["a", "b", "city", "x_1"])
PARAMETERS: Schemas = st.builds(
    lambda properties, others: {"type": "object", "properties": properties, "required": [*properties][:1], **others},
    st.dictionaries(_PARAMETERS, LEAVES | _INNER, min_size=1, max_size=3),
    st.sampled_from([{}, {"additionalProperties": False}, {"additionalProperties": True}, {"additionalProperties": LEAF}]),
)
"""The schemas of tools' parameters."""


def _root(schema: dict[str, Any], defined: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "$defs": {"d": {"$anchor": "anchor", **defined}}}


SCHEMAS: Schemas = st.builds(
    _root,
    st.recursive(LEAVES, lambda inner: _objects(inner) | _arrays(inner) | _compositions(inner), max_leaves=6),
    st.sampled_from([{"type": "integer"}, {"type": "string", "maxLength": 2}, {"enum": ["a", 1]}]),
)
