"""`graded`: this project's tool tasks of known difficulty (`autotool_core.graded`), one category per level.

An item is solved by exactly its gold calls (`autotool_core.calls.same_calls`). The items are those of the test split,
whose wordings occur in no training task.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import islice

from autotool_bench.suites.base import ExactCalls, Item, Reply, ToolCall, select_categories
from autotool_core.graded import LEVELS, generate

SIZE = 500
"""Items per level."""


class Graded(ExactCalls):
    """The suite `graded`, with the categories `level-1` to `level-6`."""

    name = "graded"

    def __init__(self, categories: Sequence[str] | None = None) -> None:
        self.categories = select_categories(categories, [f"level-{level}" for level in LEVELS])

    def items(self, category: str) -> Iterator[Item]:
        for task in islice(generate("test", int(category.removeprefix("level-"))), SIZE):
            yield Item(task.id, category, [{"role": "user", "content": task.request}], task.tools, task.calls)

    def gold(self, item: Item, *, corrupted: bool = False) -> list[Reply]:
        changes = {"day": "Doomsday"} if corrupted else {}
        calls = (ToolCall(call.name, json.dumps({**call.arguments, **changes})) for call in item.gold)
        return [Reply(calls=tuple(calls))]
