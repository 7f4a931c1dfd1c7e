"""What is kept of audited requests: both answers' tokens, and which of them solved it, as far as that is known.

| what is known | the answer of `auto` | the answer of the audit |
|---|---|---|
| feedback about it | solved as the feedback says | solved as the feedback says |
| it has the same calls as the other one | | solved as the answer of `auto` |
| server tools were run | solved if every call that ran has succeeded | (they are never run) |
| nothing else | solved by form | solved by form |

An answer is solved by form if it ended by itself and each of its calls is one of an offered tool, with arguments that are valid
by the tool's schema.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from autotool_core.modes import ResolvedMode

MAX_RECORDS = 4000
"""Audited requests that are kept, of all keys; the oldest are dropped."""

SettledBy = Literal["feedback", "tools", "form"]
"""What has settled whether the answer of `auto` solved the request."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one of the two answers was."""

    tokens: int
    """Decoded tokens of its first turn, and of that in its place where it was escalated, without that of the decision."""
    has_form: bool
    """Whether it is solved by form."""
    calls: tuple[str, ...] = ()
    """Its calls, in a spelling that is equal for equal calls."""


@dataclass(frozen=True, slots=True)
class Pair:
    """An audited request of which both answers are known."""

    resolved: ResolvedMode
    """The mode that `auto` resolved to."""
    tokens: int
    """Those of the answer of `auto`, without that of the decision."""
    solved: bool
    other_tokens: int
    other_solved: bool
    settled_by: SettledBy


@dataclass(slots=True)
class Record:
    """An audited request."""

    key: str | None
    """The name of the client's key in the keys file."""
    resolved: ResolvedMode
    answer: Answer
    tools_succeeded: bool | None = None
    """Whether every call of a server tool that ran has succeeded; None if none ran."""
    other: Answer | None = None
    """The answer of the audit; None before there is one."""
    solved: bool | None = None
    """The feedback about the answer of `auto`."""
    other_solved: bool | None = None
    """The feedback about that of the audit."""

    def pair(self) -> Pair | None:
        """Return which answer solved the request; None before the audit has ended."""
        if self.other is None:
            return None
        solved, by = self._settled()
        return Pair(self.resolved, self.answer.tokens, solved, self.other.tokens, self._other_settled(self.other, solved), by)

    def _settled(self) -> tuple[bool, SettledBy]:
        if self.solved is not None:
            return self.solved, "feedback"
        if self.tools_succeeded is not None:
            return self.tools_succeeded, "tools"
        return self.answer.has_form, "form"

    def _other_settled(self, other: Answer, solved: bool) -> bool:
        if self.other_solved is not None:
            return self.other_solved
        is_same = bool(other.calls) and other.has_form and sorted(other.calls) == sorted(self.answer.calls)
        return solved if is_same else other.has_form


@dataclass(slots=True)
class Records:
    """The audited requests of one server, in memory. It is used from one thread."""

    revision: int = 0
    """Grows with every change of what is known."""
    _kept: OrderedDict[tuple[str | None, str], Record] = field(default_factory=OrderedDict[tuple[str | None, str], Record])

    def add(self, answer_id: str, record: Record) -> None:
        """Keep a record of a request, by the id of its answer."""
        self._kept[record.key, answer_id] = record
        if len(self._kept) > MAX_RECORDS:
            self._kept.popitem(last=False)

    def drop(self, answer_id: str, key: str | None) -> None:
        """Keep a record no longer, as of a request whose audit has not come to its end."""
        self._kept.pop((key, answer_id), None)

    def audited(self, record: Record, other: Answer) -> None:
        """Add the answer of the audit to a record."""
        record.other = other
        self.revision += 1

    def give_feedback(self, answer_id: str, key: str | None, solved: bool, other_solved: bool | None) -> bool:
        """Add the feedback of a key about an answer of its own. Return whether the request is audited."""
        record = self._kept.get((key, answer_id))
        if record is None:
            return False
        record.solved = solved
        record.other_solved = record.other_solved if other_solved is None else other_solved
        self.revision += 1
        return True

    def pairs(self) -> dict[str | None, Sequence[Pair]]:
        """Return the audited requests of which both answers are known, by key."""
        found: dict[str | None, list[Pair]] = {}
        for record in self._kept.values():
            if (pair := record.pair()) is not None:
                found.setdefault(record.key, []).append(pair)
        return {**found}
