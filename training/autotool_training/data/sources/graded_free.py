"""Generates graded tasks of the train split whose reasoning is a free thought (`autotool_training.data.free_thoughts`)."""

from collections.abc import Iterator
from itertools import islice

from autotool_core.errors import AutoToolError
from autotool_core.graded import LEVELS, Task, generate
from autotool_training.common.records import Record
from autotool_training.data.free_thoughts import free_thought
from autotool_training.data.sources import graded
from autotool_training.data.sources.rows import RowError

NAME, LICENCE = "graded_free", graded.LICENCE


def load_records(location: str, seed: int = 0) -> Iterator[Record | RowError]:
    """Yield `location` tasks of every level. Raises AutoToolError if it is no number."""
    if not location.isdecimal():
        raise AutoToolError(f"graded_free={location}: give the number of tasks a level, such as graded_free=200.")
    return (record(task) for level in LEVELS for task in islice(generate("train", level, seed), int(location)))


def record(task: Task) -> Record:
    """Return the record of a task with its gold answer and a free thought."""
    changes = {"id": f"{NAME}/{task.id}", "source": NAME, "reasoning": free_thought(task).text}
    return graded.record(task).model_copy(update=changes)
