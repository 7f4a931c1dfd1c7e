"""What this server knows of one key, and has not brought to the store of spend yet."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from autotool_server.api.keys.file import Key
from autotool_server.state_store.spend import Change
from autotool_server.state_store.use import Use
from autotool_server.state_store.windows import Verdict

Used = dict[tuple[str, str], Use]
"""What was used, by day and mode."""


@dataclass(frozen=True, slots=True)
class Question:
    """A request that waits to be let in, or to go on with a further turn."""

    tokens: int
    answer: asyncio.Future[Verdict]
    is_further: bool = False


@dataclass(slots=True)
class Account:
    """The requests of a key on this server."""

    key: Key
    """The key as the keys file has it now."""
    reserved: int = 0
    """Tokens that requests in flight may still use."""
    questions: list[Question] = field(default_factory=list[Question])
    unwritten: Used = field(default_factory=dict[tuple[str, str], Use])
    """What ended requests have used."""
    since_lost: Used = field(default_factory=dict[tuple[str, str], Use])
    """The part of it that the process's memory, which stands in for a lost store, does not have yet."""
    withdrawn: Counter[int] = field(default_factory=Counter[int])
    """Requests that were let in and are not to be counted, by the minute that they were counted in."""

    def end(self, tokens: int, day: str, mode: str, use: Use) -> None:
        """Note what a request has used that had reserved `tokens`."""
        self.reserved -= tokens
        for used in (self.unwritten, self.since_lost):
            add(used, {(day, mode): use})

    def withdraw(self, tokens: int, minute: int) -> None:
        """Note that a request which had reserved `tokens`, and was counted in a minute, is not to be counted."""
        self.reserved -= tokens
        self.withdrawn[minute] += 1

    def take(self) -> "Batch":
        """Return what there is to write and to ask, as a part of the next batch."""
        # A client that has left meanwhile must not take what another one asks for.
        waiting = [question for question in self.questions if not question.answer.done()]
        waiting.sort(key=lambda question: not question.is_further)  # as the verdicts on a change
        batch = Batch(self, self.reserved, self.unwritten, self.since_lost, self.withdrawn, waiting)
        self.unwritten, self.since_lost, self.withdrawn, self.questions = {}, {}, Counter(), []
        return batch


@dataclass(frozen=True, slots=True)
class Batch:
    """What of one key is written and asked at once."""

    account: Account
    reserved: int
    used: Used
    since_lost: Used
    withdrawn: Mapping[int, int]
    questions: list[Question]

    def change(self, *, in_memory: bool = False) -> Change:
        """Return it as the store takes it; `in_memory`: as what stands in for a lost store takes it."""
        key, used = self.account.key, self.since_lost if in_memory else self.used
        asked, further = (
            [question.tokens for question in self.questions if question.is_further is kind] for kind in (False, True)
        )
        # What stands in has not counted those that are withdrawn.
        return Change(key.name, key.limits, self.reserved, used, asked, further, {} if in_memory else self.withdrawn)

    def restore(self) -> None:
        """Keep for a later batch what was used and what was withdrawn, since the store does not have it."""
        add(self.account.unwritten, self.used)
        self.account.withdrawn.update(self.withdrawn)

    def answer(self, verdicts: list[Verdict] | Exception) -> None:
        """Tell the requests. What is reserved for one whose client has left meanwhile is given back."""
        for number, question in enumerate(self.questions):
            if question.answer.done():
                continue
            if isinstance(verdicts, Exception):
                question.answer.set_exception(verdicts)
                continue
            verdict = verdicts[number]
            self.account.reserved += 0 if verdict.refused_by else question.tokens
            question.answer.set_result(verdict)


def add(used: Used, more: Mapping[tuple[str, str], Use]) -> None:
    """Add to what was used."""
    for place, use in more.items():
        used[place] = used.get(place, Use()) + use
