"""The interface of a suite: its items, and the rule that scores an answer."""

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from autotool_core.calls import Call, same_calls
from autotool_core.errors import AutoToolError

Message = Mapping[str, Any]
Tool = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call as the server returned it."""

    name: str
    arguments: str
    """JSON text as the model wrote it, which may be invalid."""
    id: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """A model's answer in one turn."""

    content: str | None = None
    calls: tuple[ToolCall, ...] = ()
    reasoning: str | None = None

    def message(self) -> dict[str, Any]:
        """Return the assistant message that continues the conversation."""
        calls = [
            {"id": call.id or f"call_{index}", "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for index, call in enumerate(self.calls)
        ]
        return {"role": "assistant", "content": self.content} | ({"tool_calls": calls} if calls else {})


@dataclass(frozen=True, slots=True)
class Item:
    """One task of a suite."""

    id: str
    """Unique within the suite."""
    category: str
    messages: Sequence[Message]
    tools: Sequence[Tool]
    """OpenAI's `function` tools."""
    gold: Any = field(repr=False)
    """The data by which the suite scores an answer; their form is up to the suite."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The score of an attempt at an item."""

    score: float
    """1.0 for a solved item; an all-or-nothing rule gives 1.0 or 0.0."""
    reason: str | None = None
    """The scorer's reason why the item is not solved; None for a solved item."""
    result: Any = None
    """The item's entry in the official scorer's result file (JSON), for suites that have such files."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader of an item needs besides its messages and its gold answers."""

    turns: int = 1
    """The user's turns; the item's messages are those of the first."""
    rule: str | None = None
    """The answers that solve the item, in words, where its gold answer is only one of them."""


ChatModel = Callable[[Sequence[Message], Sequence[Tool]], Awaitable[Reply]]
"""Requests one turn from a model, given messages and tools. Raises AutoToolError or an error of `openai` without an answer."""


class Suite(Protocol):
    """The items of a suite and the rule that scores them. `autotool_bench.suites.load_suite` makes one."""

    name: str
    categories: tuple[str, ...]
    """Categories in the order of reports."""
    unsolvable: Mapping[str, str]
    """Items that no answer solves, not even the gold answer: id → reason."""

    def items(self, category: str) -> Iterator[Item]:
        """Yield the items of a category in a fixed order."""
        ...

    async def attempt(self, item: Item, model: ChatModel) -> Verdict:
        """Let a model answer an item, over all its turns, and score the answers."""
        ...

    def gold(self, item: Item, *, corrupted: bool = False) -> list[Reply]:
        """Return the gold answers of the item's turns; if `corrupted`, similar answers that do not solve it."""
        ...

    def reading(self, item: Item) -> Reading:
        """Return what a reader of the item needs besides its messages and its gold answers."""
        ...

    def finish(self, folder: Path, rows: Callable[[str], Iterator[Mapping[str, Any]]], modes: Sequence[str]) -> dict[str, Any]:
        """Return the official figures of a finished run by mode, as `official.json` keeps them; {} if the suite has none.

        `rows(mode)` reads the run's rows of a mode, as dicts of `autotool_bench.rows.Row`'s fields.
        """
        ...

    def close(self) -> None:
        """Close the processes and files that the suite opened."""
        ...


class SingleTurn(Suite, Protocol):
    """Base class of the suites whose items take one turn and that have no official result files."""

    unsolvable: Mapping[str, str] = MappingProxyType({})

    @abstractmethod
    def score(self, item: Item, answer: Reply) -> Verdict:
        """Score an answer by the suite's rule."""
        ...

    async def attempt(self, item: Item, model: ChatModel) -> Verdict:
        return self.score(item, await model(item.messages, item.tools))

    def reading(self, item: Item) -> Reading:
        return Reading()

    def finish(self, folder: Path, rows: Callable[[str], Iterator[Mapping[str, Any]]], modes: Sequence[str]) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        return


class ExactCalls(SingleTurn, Protocol):
    """Base class of the suites whose items are solved by exactly the calls in `Item.gold`, in any order."""

    def score(self, item: Item, answer: Reply) -> Verdict:
        calls = read_calls(answer)
        if calls is None:
            return Verdict(0.0, "the arguments of a call are no JSON object")
        if same_calls(calls, item.gold):
            return Verdict(1.0)
        return Verdict(0.0, "other calls than the gold ones" if calls else "no call")


def select_categories(wanted: Sequence[str] | None, known: Sequence[str]) -> tuple[str, ...]:
    """Return the wanted categories in the suite's order, or all for None. Raises AutoToolError for unknown categories."""
    if unknown := sorted(set(wanted or ()) - set(known)):
        raise AutoToolError(f"There is no category {', '.join(unknown)}: use {', '.join(known)}.")
    return tuple(category for category in known if wanted is None or category in wanted)


def read_calls(answer: Reply) -> list[Call] | None:
    """Return the answer's calls; None if the arguments of a call are not a JSON object."""
    try:
        return [Call.parse(call.name, call.arguments) for call in answer.calls]
    except ValueError:
        return None


async def score_gold(suite: Suite, item: Item) -> tuple[float, float]:
    """Return the scores of the gold and of the corrupted answers: (1.0, less than 1.0) unless the suite or item is faulty."""
    gold = await suite.attempt(item, _scripted(suite.gold(item)))
    corrupted = await suite.attempt(item, _scripted(suite.gold(item, corrupted=True)))
    return gold.score, corrupted.score


def _scripted(answers: Sequence[Reply]) -> ChatModel:
    remaining = iter(answers)

    async def model(messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:
        return next(remaining, Reply(content=""))

    return model
