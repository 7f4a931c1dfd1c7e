"""Attempts that were recorded: JSON lines of `id`, `reasoning`, `content` and `calls`; a file of records is such a file too."""

from collections.abc import Callable, Iterator
from pathlib import Path

from autotool_core import jsonl
from autotool_core.errors import AutoToolError
from autotool_training.label.attempt import Answer, Attempt, Task, read_answer

NONE = "no trace is recorded"


class Traces:
    """A model whose answers are in a file: several lines of one id are several attempts, in their order."""

    def __init__(self, path: Path) -> None:
        """Read the file. Raises AutoToolError naming a line that is no trace."""
        self._answers: dict[str, list[Answer]] = {}
        for number, line in enumerate(jsonl.read(path), 1):
            try:
                self._answers.setdefault(line["id"], []).append(read_answer(line))
            except (AttributeError, LookupError, TypeError, ValueError):
                raise AutoToolError(f"{path}, line {number} is no trace: write id, reasoning, content and calls.") from None

    @property
    def most(self) -> int:
        return max(map(len, self._answers.values()), default=1)

    async def attempt(self, tasks: Iterator[Task], done: Callable[[Attempt], None]) -> None:
        for task in tasks:
            answers = self._answers.get(task.record.id, [])
            answer = answers[task.at] if task.at < len(answers) else None
            done(Attempt(task.record.id, task.at, answer, None if answer else NONE))

    def close(self) -> None:
        self._answers.clear()
