"""The bounds of numbers, as xgrammar holds them: whole ones for integers, and six decimals for other numbers."""

import math
from collections.abc import Iterator, Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from autotool_core.held.errors import NotHeldError

MOST = {"integer": 2**63 - 1, "number": 2**53}
STEP = Decimal("0.000001")

Bound = tuple[Decimal, bool]
"""A bound, and whether it is exclusive."""


def bounded(kind: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of the integers or numbers within the bounds of a schema."""
    lows, highs = [*_bounds(schema, "minimum")], [*_bounds(schema, "maximum")]
    if any(abs(bound) > MOST[kind] for bound, _ in (*lows, *highs)):
        raise NotHeldError("a bound of so many digits")
    low = max(lows, default=None)
    high = min(highs, key=lambda bound: (bound[0], not bound[1]), default=None)
    found = (_integers if kind == "integer" else _numbers)(low, high)
    least, most = (found.get(name, found.get(f"exclusive{name.title()}")) for name in ("minimum", "maximum"))
    # Both ends count, one of them, or only the numbers between: those of integers always count.
    gap = (0, STEP, 2 * STEP)[2 - len(found.keys() & INCLUSIVE)]
    if least is not None and most is not None and Decimal(str(most)) - Decimal(str(least)) < gap:
        raise NotHeldError("bounds without a number between them")
    return {"type": kind, **found}


INCLUSIVE = {"minimum", "maximum"}


def _bounds(schema: Mapping[str, Any], name: str) -> Iterator[Bound]:
    exclusive = schema.get(f"exclusive{name.title()}")
    if name in schema:
        yield Decimal(str(schema[name])), exclusive is True  # so in draft 4
    if exclusive is not None and not isinstance(exclusive, bool):
        yield Decimal(str(exclusive)), True


def _integers(low: Bound | None, high: Bound | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if low is not None:
        found["minimum"] = math.floor(low[0]) + 1 if low[1] else math.ceil(low[0])
    if high is not None:
        found["maximum"] = math.ceil(high[0]) - 1 if high[1] else math.floor(high[0])
    return found


def _numbers(low: Bound | None, high: Bound | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for bound, name, rounding in ((low, "minimum", ROUND_CEILING), (high, "maximum", ROUND_FLOOR)):
        if bound is not None:
            near = bound[0].quantize(STEP, rounding)
            exclusive = bound[1] and near == bound[0]
            found[f"exclusive{name.title()}" if exclusive else name] = _number(near)
    return found


def _number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)
