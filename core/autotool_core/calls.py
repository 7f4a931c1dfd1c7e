"""Comparison of tool calls: equal names and canonical arguments, as multisets.

Binary matching is what Tool-N1 (arXiv 2505.00024) found to beat partial credit; training and benchmarks share it.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call with parsed arguments."""

    name: str
    arguments: Mapping[str, Any]

    @classmethod
    def parse(cls, name: str, text: str) -> "Call":
        """Parse a call whose arguments are JSON text. Raises ValueError if the text is no JSON object."""
        arguments = json.loads(text)
        if not isinstance(arguments, dict):
            raise ValueError("the arguments of a call are a JSON object")  # noqa: TRY004 the same error as for text that is no JSON
        return cls(name, cast("dict[str, Any]", arguments))

    def canonical(self) -> str:
        """Return a text that is equal for equal calls: keys are sorted, and 2.0 is 2, since JSON has one number type."""
        return json.dumps([self.name, _canonical(self.arguments)], sort_keys=True, ensure_ascii=False)

    def canonical_arguments(self) -> str:
        """Return the arguments alone as such a text."""
        return json.dumps(_canonical(self.arguments), sort_keys=True, ensure_ascii=False)


def same_calls(actual: Iterable[Call], expected: Iterable[Call]) -> bool:
    """Return whether both hold the same calls, each the same number of times, in any order."""
    return Counter(call.canonical() for call in actual) == Counter(call.canonical() for call in expected)


def _canonical(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _canonical(inner) for key, inner in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, list):
        return [_canonical(inner) for inner in cast("list[Any]", value)]
    return value
