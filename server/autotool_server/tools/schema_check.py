"""Whether a JSON schema is one, by the dialect that it names itself."""

from typing import Any

import jsonschema
from jsonschema.validators import validator_for

UNCHECKED = jsonschema.FormatChecker(formats=())
"""The dialects' own schemas call a pattern a `regex`, which jsonschema tries with Python's `re`; it is one of ECMA-262."""


def invalid_at(schema: Any) -> str | None:
    """Where a schema breaks the rules of its dialect (2020-12 where it names none); None for a valid one.

    Raises RecursionError for a schema that is nested too deeply.
    """
    try:
        dialect = validator_for(schema, default=jsonschema.Draft202012Validator)
    except (AttributeError, TypeError, ValueError):
        return "$schema"
    try:
        dialect.check_schema(schema, format_checker=UNCHECKED)  # pyright: ignore[reportCallIssue] not in its protocol
    except jsonschema.SchemaError as error:
        return "/".join(map(str, error.absolute_path))[:80] or "its top level"
    return None
