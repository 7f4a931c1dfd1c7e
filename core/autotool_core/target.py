"""What `auto` is to cost: a target, for which the server finds the reasoning bias (docs/guides/targets.md)."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal, cast, get_args

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

Kind = Literal["thinking-rate", "tokens", "regret"]

_EXAMPLES = "thinking-rate=0.3, tokens=200 or regret=2%"


@dataclass(frozen=True, slots=True)
class Target:
    """A target of the answers in `auto`."""

    kind: Kind
    """`thinking-rate`: the share of turns that think. `tokens`: the mean number of decoded tokens in a turn. `regret`: the
    accuracy, as a share, that may be lost against the best reasoning bias of the dial."""
    value: float

    @classmethod
    def parse(cls, text: str) -> "Target":
        """Return the target that a text names. Raises ValueError, whose text says what to write.

        >>> Target.parse("thinking-rate=0.3")
        Target(kind='thinking-rate', value=0.3)
        >>> Target.parse("regret=2%").value
        0.02
        """
        kind, _, number = text.partition("=")
        if kind not in get_args(Kind):
            raise ValueError(f"Write {_EXAMPLES}")
        value = _number(number)
        if kind == "tokens":
            if not 1 <= value < math.inf:
                raise ValueError("tokens must be 1 or more, such as tokens=200")
        elif not 0 <= value <= 1:
            raise ValueError(f"{kind} must be a share from 0 to 1, such as {kind}={'0.3' if kind == 'thinking-rate' else '2%'}")
        return cls(cast("Kind", kind), value)

    def __str__(self) -> str:
        """Return the target as it is written."""
        return f"{self.kind}={self.value:g}"


def _number(text: str) -> float:
    """Return a number or a percentage; NaN for another text."""
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return math.nan


def _checked(text: str) -> str:
    try:
        Target.parse(text)
    except ValueError as error:
        raise PydanticCustomError("target", "{reason}", {"reason": str(error)}) from None
    return text


TargetText = Annotated[str, AfterValidator(_checked)]
"""The text of a target, as settings, keys files and requests have it."""
