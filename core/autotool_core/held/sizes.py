"""How long a string, an array or an object may be."""

from collections.abc import Mapping
from typing import Any

from autotool_core.held.errors import NotHeldError

LARGEST = 2**31 - 1
"""The largest number of repetitions that xgrammar takes. No model's context holds a text of that length."""


def limits(schema: Mapping[str, Any], what: str) -> tuple[int, int | None]:
    """Return the least and the most length by the keywords `min...` and `max...` of a schema; None for any length."""
    least, most = int(schema.get(f"min{what}", 0)), schema.get(f"max{what}")
    if most is not None and most < least:
        raise NotHeldError(f"max{what} below min{what}")
    if least > LARGEST:
        raise NotHeldError(f"a min{what} of so many digits")
    return least, None if most is None or most > LARGEST else int(most)
