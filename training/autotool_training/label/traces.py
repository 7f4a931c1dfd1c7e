"""Recorded attempts: JSON lines of `id`, `reasoning`, `content` and `calls`. A file of records is also a file of traces."""

from collections.abc import Callable, Iterator
from pathlib import Path

from autotool_core import jsonl
from autotool_core.errors import AutoToolError
from autotool_training.label.attempt import LabelAnswer, LabelAttempt, LabelTask, read_answer

NO_TRACE = "no trace is recorded"


class Traces:
    """A model whose answers are read from a file: lines with the same id are its attempts at that record, in order."""

    def __init__(self, path: Path) -> None:
        """Read the file. Raises AutoToolError that names the first line that is not a trace."""
        self._answers: dict[str, list[LabelAnswer]] = {}
        for number, line in enumerate(jsonl.read(path), 1):
            try:
                self._answers.setdefault(line["id"], []).append(read_answer(line))
            except (AttributeError, LookupError, TypeError, ValueError):
                raise AutoToolError(f"{path}, line {number} is no trace: write id, reasoning, content and calls.") from None

    @property
    def max_attempts(self) -> int:
        return max(map(len, self._answers.values()), default=1)

    async def attempt(self, tasks: Iterator[LabelTask], done: Callable[[LabelAttempt], None]) -> None:
        for task in tasks:
            answers = self._answers.get(task.record.id, [])
            answer = answers[task.index] if task.index < len(answers) else None
            done(LabelAttempt(task.record.id, task.index, answer, None if answer else NO_TRACE))

    def close(self) -> None:
        self._answers.clear()
