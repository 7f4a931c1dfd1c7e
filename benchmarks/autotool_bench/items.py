"""The items of a run as it stores them, one JSON line each: what was asked and the gold answer, for those who read the rows."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from autotool_bench.suites.base import Item, Suite
from autotool_core import jsonl

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
    """Read a run's items; a run of an earlier version has none. Raises AutoToolError as `jsonl.read` does."""
    return jsonl.read(folder / FILE)


def _stored(suite: Suite, item: Item) -> dict[str, Any]:
    """Return what is stored: the first turn's messages, the names of the tools, and the gold answers as assistant messages.

    The schemas of the tools are left out: in suites of many tools they would be most of the file.
    """
    return {
        "id": item.id,
        "category": item.category,
        "messages": list(item.messages),
        "tools": [tool["function"]["name"] for tool in item.tools],
        "gold": [reply.message() for reply in suite.gold(item)],
    }
