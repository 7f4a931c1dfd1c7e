"""Generates graded tasks (`autotool_core.graded`) of the train split, whose reasoning is the gold derivation."""

from collections.abc import Iterator
from itertools import islice

from autotool_core.errors import AutoToolError
from autotool_core.graded import LEVELS, Task, generate
from autotool_training.common.records import GoldCall, Record
from autotool_training.data.sources.rows import RowError

NAME, LICENCE = "graded", "Apache-2.0"


def load_records(location: str, seed: int = 0) -> Iterator[Record | RowError]:
    """Yield `location` tasks of every level. Raises AutoToolError if it is no number."""
    if not location.isdecimal():
        raise AutoToolError(f"graded={location}: give the number of tasks a level, such as graded=200.")
    return (record(task) for level in LEVELS for task in islice(generate("train", level, seed), int(location)))


def record(task: Task) -> Record:
    """Return the record of a task with its gold answer."""
    return Record(
        id=f"{NAME}/{task.id}",
        tools=list(task.tools),
        messages=[{"role": "user", "content": task.request}],
        calls=[GoldCall(name=call.name, arguments=dict(call.arguments)) for call in task.calls],
        reasoning=task.reasoning,
        source=NAME,
        licence=LICENCE,
        level=task.level,
    )
