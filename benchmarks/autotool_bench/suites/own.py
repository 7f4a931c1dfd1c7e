"""`own`: tasks of one's own, in the conversations that `autotool train data --source messages=FILE` reads.

An item is an answer of the assistant, with all that came before it. It is solved by exactly its calls
(`autotool_core.calls.same_calls`), or, where it is text, by an answer without a call, whatever the text says. Its category is
the `source` of its row, else the name of the file.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from autotool_bench.suites.base import ExactCalls, Item, Reply, ToolCall, select_categories
from autotool_core.calls import Call
from autotool_core.errors import AutoToolError
from autotool_training.common.records import Record
from autotool_training.data.sources import messages
from autotool_training.data.sources.rows import RowError


class Own(ExactCalls):
    """The suite `own`. Raises AutoToolError, with line, field and what to write, for the first row that cannot be read."""

    name = "own"

    def __init__(self, file: Path, categories: Sequence[str] | None = None) -> None:
        self._items: defaultdict[str, list[Item]] = defaultdict(list)
        for record in messages.load_records(str(file)):
            if isinstance(record, RowError):
                raise AutoToolError(f"{record.sentence()}.")
            self._items[record.source].append(_item(record))
        if not self._items:
            raise AutoToolError(f"{file} has no answer of an assistant to check answers by: write one conversation a line.")
        self.categories = select_categories(categories, [*self._items])

    def items(self, category: str) -> Iterator[Item]:
        yield from self._items[category]

    def gold(self, item: Item, *, corrupted: bool = False) -> list[Reply]:
        calls = [*item.gold, Call("corrupted", {})] if corrupted else item.gold
        written = tuple(ToolCall(call.name, json.dumps(call.arguments)) for call in calls)
        return [Reply(None if written else "Text.", written)]


def _item(record: Record) -> Item:
    gold = tuple(Call(call.name, call.arguments) for call in record.calls)
    return Item(record.id, record.source, record.messages, record.tools, gold)
