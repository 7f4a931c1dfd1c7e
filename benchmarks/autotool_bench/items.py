"""The items of a run as it stores them, one JSON line each: what was asked and the gold answer, for those who read the rows."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from autotool_bench.suites.base import Item, Suite
from autotool_core import jsonl
from autotool_core.errors import AutoToolError

FILE = "items.jsonl"


def write(folder: Path, suite: Suite, items: Iterable[Item]) -> None:
    """Write the items of a run, unless an earlier start of the run has written them."""
    path = folder / FILE
    if path.exists():
        return
    with jsonl.atomic_write(path) as part, jsonl.Appender(part) as lines:
        for item in items:
            lines.write(_stored(suite, item))


def read(folder: Path) -> Iterator[Mapping[str, Any]]:
    """Read a run's items; a run of an earlier version has none. Raises AutoToolError with the file and line of what is none."""
    path = folder / FILE
    for number, item in enumerate(jsonl.read(path), 1):
        if not isinstance(item, dict) or "id" not in item:
            raise AutoToolError(f"{path}, line {number} is not an item of a run: remove the file; the rows stay.")
        yield item


def _stored(suite: Suite, item: Item) -> dict[str, Any]:
    """Return what is stored: the first turn's messages, the names of the tools, and the gold answers as assistant messages.

    The schemas of the tools are left out: in suites of many tools they would be most of the file. Of gold answers that only
    stand for others, the rule is stored; of those of several turns, the ones that end a turn are left out.
    """
    reading = suite.reading(item)
    gold = [] if reading.rule else suite.gold(item)
    return {
        "id": item.id,
        "category": item.category,
        "messages": list(item.messages),
        "tools": [tool["function"]["name"] for tool in item.tools],
        "gold": [reply.message() for reply in gold if reply.calls or reading.turns == 1],
        "rule": reading.rule,
        "turns": reading.turns,
    }
