"""What a suite is: items, and the rule that says what an answer to one is worth."""

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
    """A tool call as a server answered it."""

    name: str
    arguments: str
    """JSON text as the model wrote it: it need not be valid."""
    id: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """One turn of a model."""

    content: str | None = None
    calls: tuple[ToolCall, ...] = ()
    reasoning: str | None = None

    def message(self) -> dict[str, Any]:
        """The assistant message to append to a conversation that goes on."""
        calls = [
            {"id": call.id or f"call_{at}", "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for at, call in enumerate(self.calls)
        ]
        return {"role": "assistant", "content": self.content} | ({"tool_calls": calls} if calls else {})


@dataclass(frozen=True, slots=True)
class Item:
    """One task of a suite."""

    id: str
    """Unique in its suite."""
    category: str
    messages: Sequence[Message]
    tools: Sequence[Tool]
    """OpenAI's `function` tools."""
    gold: Any = field(repr=False)
    """What the suite's own rule needs to judge an answer; its form is the suite's business."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an attempt at an item was worth."""

    score: float
    """1.0 for a solved task; a suite whose rule is all or nothing gives 1.0 or 0.0."""
    reason: str | None = None
    """Why it was not solved, in the scorer's words; None where it was."""
    result: Any = None
    """What the official scorer's own result file holds for the item (JSON), for suites that have such files."""


ChatModel = Callable[[Sequence[Message], Sequence[Tool]], Awaitable[Reply]]
"""One turn: messages and tools in, the model's answer out. Raises AutoToolError or an error of `openai` where there is none."""


class Suite(Protocol):
    """Items and their rule. Made by a `load` function per suite (`autotool_bench.suites.load`)."""

    name: str
    categories: tuple[str, ...]
    """In the order of reports."""
    unsolvable: Mapping[str, str]
    """Items that no answer solves, not even the gold one, and why."""

    def items(self, category: str) -> Iterator[Item]:
        """The items of a category, in a fixed order, read as they are needed."""
        ...

    async def attempt(self, item: Item, model: ChatModel) -> Verdict:
        """Let a model try an item, over as many turns as it has, and judge."""
        ...

    def gold(self, item: Item, *, corrupted: bool = False) -> list[Reply]:
        """Answers, turn by turn, that solve the item; `corrupted`: that look alike and do not."""
        ...

    def finish(self, folder: Path, rows: Callable[[str], Iterator[Mapping[str, Any]]], modes: Sequence[str]) -> dict[str, Any]:
        """After a run: official figures by mode (as `official.json` in the folder keeps them), {} where the suite has none.

        `rows(mode)` reads the run's rows of a mode, as dicts of `autotool_bench.rows.Row`'s fields.
        """
        ...

    def close(self) -> None:
        """End what the suite started (processes, files)."""
        ...


class SingleTurn(Suite, Protocol):
    """What is the same for all suites whose items take one turn and that have no official result files: a base class."""

    unsolvable: Mapping[str, str] = MappingProxyType({})

    @abstractmethod
    def score(self, item: Item, answer: Reply) -> Verdict:
        """The suite's rule."""
        ...

    async def attempt(self, item: Item, model: ChatModel) -> Verdict:
        return self.score(item, await model(item.messages, item.tools))

    def finish(self, folder: Path, rows: Callable[[str], Iterator[Mapping[str, Any]]], modes: Sequence[str]) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        return


class ExactCalls(SingleTurn, Protocol):
    """A suite whose items are solved by exactly their gold calls, in any order; `Item.gold` holds them."""

    def score(self, item: Item, answer: Reply) -> Verdict:
        calls = read_calls(answer)
        if calls is None:
            return Verdict(0.0, "the arguments of a call are no JSON object")
        if same_calls(calls, item.gold):
            return Verdict(1.0)
        return Verdict(0.0, "other calls than the gold ones" if calls else "no call")


def choose(wanted: Sequence[str] | None, known: Sequence[str]) -> tuple[str, ...]:
    """The categories asked for, in the suite's order; all of them for None. Raises AutoToolError naming one there is not."""
    if unknown := sorted(set(wanted or ()) - set(known)):
        raise AutoToolError(f"There is no category {', '.join(unknown)}: use {', '.join(known)}.")
    return tuple(category for category in known if wanted is None or category in wanted)


def read_calls(answer: Reply) -> list[Call] | None:
    """The answer's calls; None where the arguments of one are no JSON object."""
    try:
        return [Call.parse(call.name, call.arguments) for call in answer.calls]
    except ValueError:
        return None


async def score_gold(suite: Suite, item: Item) -> tuple[float, float]:
    """Scores of the item's own gold answers, and of the corrupted ones: (1.0, less than 1.0) unless suite or item is broken."""
    right = await suite.attempt(item, _scripted(suite.gold(item)))
    wrong = await suite.attempt(item, _scripted(suite.gold(item, corrupted=True)))
    return right.score, wrong.score


def _scripted(answers: Sequence[Reply]) -> ChatModel:
    left = iter(answers)

    async def model(messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:
        return next(left, Reply(content=""))

    return model
