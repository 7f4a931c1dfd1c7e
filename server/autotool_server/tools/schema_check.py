"""Check that a JSON schema is valid in its own dialect."""

from typing import Any

import jsonschema
from jsonschema.validators import validator_for

NO_FORMATS = jsonschema.FormatChecker(formats=())
"""Checks no formats: jsonschema checks the format `regex` with Python's `re`, but a pattern is one of ECMA-262."""


def error_path(schema: Any) -> str | None:
    """Return the path at which a schema violates its dialect (2020-12 by default); None for a valid schema.

    Raises RecursionError for a schema that is nested too deeply.
    """
    try:
        dialect = validator_for(schema, default=jsonschema.Draft202012Validator)
    except (AttributeError, TypeError, ValueError):
        return "$schema"
    try:
        dialect.check_schema(schema, format_checker=NO_FORMATS)  # pyright: ignore[reportCallIssue] missing in the protocol's signature
    except jsonschema.SchemaError as error:
        return "/".join(map(str, error.absolute_path))[:80] or "its top level"
    return None
