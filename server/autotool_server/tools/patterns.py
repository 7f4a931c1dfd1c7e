r"""The keywords of JSON Schema that have regular expressions, so that no text can take long to be checked.

RE2 takes time in proportion to a text. What it does not read (look-arounds, references back, `\u`, more than 1,000
repetitions) is matched within a limit of time.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import re2
import regex
from jsonschema import ValidationError

MATCH_SECONDS = 0.02
"""How long one match may take that RE2 cannot make."""
UNREADABLE = (re2.error, regex.error)
"""Errors of a regular expression of ECMA-262 that neither library reads."""


def matches(pattern: str, text: str) -> bool:
    """Return whether a pattern matches somewhere in a text. Raises TimeoutError, and one of `UNREADABLE`."""
    linear = _linear(pattern)
    if linear is not None:
        return linear.search(text) is not None
    return regex.search(pattern, text, timeout=MATCH_SECONDS) is not None


@lru_cache(maxsize=1024)
def _linear(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error:
        return None


def _pattern(_: Any, pattern: str, text: Any, __: Any) -> Iterator[ValidationError]:
    """Check `pattern`. A regular expression that is not read is left for the tool to check."""
    try:
        is_match = not isinstance(text, str) or matches(pattern, text)
    except UNREADABLE:
        return
    if not is_match:
        yield ValidationError(f"{text!r} does not match {pattern!r}")


def _pattern_properties(
    validator: Any, schemas: Mapping[str, Any], value: Any, _: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if isinstance(value, dict):
        for pattern, inner in schemas.items():
            for name, item in value.items():
                if matches(pattern, name):
                    yield from validator.descend(item, inner, path=name, schema_path=pattern)


def _additional_properties(validator: Any, inner: Any, value: Any, schema: Mapping[str, Any]) -> Iterator[ValidationError]:
    if not isinstance(value, dict):
        return
    listed, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for name in value:
        if name in listed or any(matches(pattern, name) for pattern in patterns):
            continue
        if inner is False:
            yield ValidationError(f"there is no property {name!r}")
        else:
            yield from validator.descend(value[name], inner, path=name)


KEYWORDS = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
}
"""The checks of these keywords, for `jsonschema.validators.extend`."""
