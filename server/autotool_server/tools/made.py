"""The calls that a request has made: what a repeated call is answered from, and which tools the user has let run."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autotool_core.calls import Call
from autotool_server.tools.server_call import ServerCall

MAX_REPEATS = 2
"""Repeats of one call after which a request makes no further calls: the model goes round in circles."""


@dataclass(slots=True)
class MadeCalls:
    """The calls of server tools that were run, those of failed calls included."""

    allowed: set[str] = field(default_factory=set[str])
    """Names of tools that have run in the conversation, before this request too."""
    _first: dict[str, ServerCall] = field(default_factory=dict[str, ServerCall])
    _repeats: Counter[str] = field(default_factory=Counter[str])

    @property
    def is_circling(self) -> bool:
        """Whether one call was repeated so often that no result will change what the model does."""
        return max(self._repeats.values(), default=0) >= MAX_REPEATS

    def copy(self) -> "MadeCalls":
        """Return the same calls, to which those of a turn are added that may be decoded again."""
        return MadeCalls(set(self.allowed), dict(self._first), Counter(self._repeats))

    def add(self, call: ServerCall, arguments: Mapping[str, Any]) -> None:
        """Note that a call is run. The first of several equal ones answers the later ones."""
        self.allowed.add(call.name)
        self._first.setdefault(_key(call, arguments), call)

    def repeated_by(self, call: ServerCall, arguments: Mapping[str, Any]) -> ServerCall | None:
        """Return the call that this one repeats, and count the repeat; None for a new call, or one that may be repeated."""
        if call.tool is None or call.tool.spec.policy.repeatable:
            return None
        key = _key(call, arguments)
        first = self._first.get(key)
        self._repeats[key] += first is not None
        return first


def _key(call: ServerCall, arguments: Mapping[str, Any]) -> str:
    """Return a text that is equal for equal calls: the order of keys, blanks and 1.0 for 1 make no difference."""
    try:
        return Call(call.name, arguments).canonical()
    except RecursionError:
        return f"{call.name} {call.arguments}"
