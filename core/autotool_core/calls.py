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
    """One tool call, its arguments read."""

    name: str
    arguments: Mapping[str, Any]

    @classmethod
    def parse(cls, name: str, text: str) -> "Call":
        """Read a call whose arguments are JSON text. Raises ValueError if the text is no JSON object."""
        arguments = json.loads(text)
        if not isinstance(arguments, dict):
            raise ValueError("the arguments of a call are a JSON object")  # noqa: TRY004 one kind of error for bad text
        return cls(name, cast("dict[str, Any]", arguments))

    def canonical(self) -> str:
        """A text that is equal for equal calls: keys in order, and 2.0 written as 2, for JSON has one kind of number."""
        return json.dumps([self.name, _canonical(self.arguments)], sort_keys=True, ensure_ascii=False)


def same_calls(got: Iterable[Call], wanted: Iterable[Call]) -> bool:
    """Whether both hold the same calls, each as often, in any order."""
    return Counter(call.canonical() for call in got) == Counter(call.canonical() for call in wanted)


def _canonical(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _canonical(inner) for key, inner in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, list):
        return [_canonical(inner) for inner in cast("list[Any]", value)]
    return value
