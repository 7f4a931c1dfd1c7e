"""The calls that a request has made: what a repeated call is answered from, and which tools the user has let run."""

from collections import Counter
from dataclasses import dataclass, field

from autotool_core.calls import Call
from autotool_server.tools.results import has_run
from autotool_server.tools.server_call import ServerCall

MAX_REPEATS = 2
"""Repeats of one call after which a request makes no further calls: the model goes round in circles."""
MAX_APPROVED = 1024
"""Approved calls that are remembered."""


class ApprovedCalls:
    """The last approved calls that this server has run, so that a request that is sent again does not run them again.

    `key`: the name of the client's key. What the holder of one key has approved is unknown to all others.
    """

    def __init__(self, key: str | None = None) -> None:
        self._key = key
        self._calls: dict[tuple[str | None, str, str, str], ServerCall] = {}

    def of_key(self, key: str | None) -> "ApprovedCalls":
        """Return the approved calls of a key's holder. Those of all are kept together, up to `MAX_APPROVED`."""
        approved = ApprovedCalls(key)
        approved._calls = self._calls
        return approved

    def add(self, call: ServerCall) -> None:
        """Note that an approved call is run."""
        self._calls[self._key, call.id, call.name, call.arguments] = call
        if len(self._calls) > MAX_APPROVED:
            del self._calls[next(iter(self._calls))]

    def find(self, call: ServerCall) -> ServerCall | None:
        """Return the call as it was run for an earlier request; None if it was not, or was cancelled without effect."""
        earlier = self._calls.get((self._key, call.id, call.name, call.arguments))
        return earlier if earlier is not None and has_run(earlier.content) else None


@dataclass(slots=True)
class MadeCalls:
    """The calls of server tools that were run, those of failed calls included."""

    approved: ApprovedCalls
    allowed: set[str]
    """Names of tools that have run in the conversation, before this request too."""
    _first: dict[str, ServerCall] = field(default_factory=dict[str, ServerCall])
    _rejected: set[str] = field(default_factory=set[str])
    _repeats: Counter[str] = field(default_factory=Counter[str])

    @property
    def is_circling(self) -> bool:
        """Whether one call was repeated so often that no result will change what the model does."""
        return max(self._repeats.values(), default=0) >= MAX_REPEATS

    def copy(self) -> "MadeCalls":
        """Return the same calls, to which those of a turn are added that may be decoded again."""
        return MadeCalls(self.approved, set(self.allowed), dict(self._first), set(self._rejected), Counter(self._repeats))

    def add(self, call: ServerCall) -> None:
        """Note that a call is run, so that its tool is allowed from now on."""
        self.allowed.add(call.name)
        self.add_earlier(call)
        if call.approved:
            self.approved.add(call)

    def add_earlier(self, call: ServerCall) -> None:
        """Note a call that was run. The first of several equal ones answers the later ones."""
        self._first.setdefault(_key(call), call)

    def add_rejected(self, call: ServerCall) -> None:
        """Note a call that cannot be run, and count it as a repeat if an equal one was rejected before."""
        key = _key(call)
        self._repeats[key] += key in self._rejected
        self._rejected.add(key)

    def repeated_by(self, call: ServerCall) -> ServerCall | None:
        """Return the call that this one repeats, and count the repeat; None for a new call, or one that may be repeated."""
        if call.approved and (earlier := self.approved.find(call)) is not None:
            self.add_earlier(earlier)
            return earlier
        if call.tool is None or call.tool.spec.policy.repeatable:
            return None
        key = _key(call)
        self._repeats[key] += key in self._first
        return self._first.get(key)


def _key(call: ServerCall) -> str:
    """Return a text that is equal for equal calls: the order of keys, blanks and 1.0 for 1 make no difference."""
    try:
        return Call.parse(call.name, call.arguments).canonical()
    except (ValueError, RecursionError):
        return f"{call.name} {call.arguments}"
