"""Attempts at records: what a model answered, whether it is right, and the file that keeps them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from autotool_core import jsonl
from autotool_core.calls import Call, same_calls
from autotool_core.errors import AutoToolError
from autotool_core.modes import ResolvedMode
from autotool_training.common.fingerprint import comparable
from autotool_training.common.records import Record
from autotool_training.data.quality import MARKERS


@dataclass(frozen=True, slots=True)
class Answer:
    """One turn of a model, read."""

    content: str
    calls: tuple[Call, ...] | None
    """None where one is broken."""
    reasoning: str | None = None
    whole: bool = True
    """Whether the model ended the turn itself."""

    def is_right(self, record: Record) -> bool:
        """Whether it makes the gold calls, or says something where there are none, and is well-formed."""
        if not self.whole or self.calls is None or any(marker in self.content for marker in MARKERS):
            return False
        gold = [Call(call.name, call.arguments) for call in record.calls]
        return same_calls(self.calls, gold) and bool(self.calls or self.content.strip())


@dataclass(frozen=True, slots=True)
class Task:
    """One attempt to be made: the `at`-th at a record."""

    record: Record
    at: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt that was made."""

    id: str
    """Of the record."""
    at: int
    answer: Answer | None
    """None where the model did not answer."""
    error: str | None = None
    """Why not."""
    again: bool = False
    """Whether it is to be made again when the run goes on: the server was busy or slow."""


class Model(Protocol):
    """What makes attempts, in one mode."""

    @property
    def most(self) -> int | None:
        """Most attempts that it can make at a record; None for any number."""
        ...

    async def attempt(self, tasks: Iterator[Task], done: Callable[[Attempt], None]) -> None:
        """Make the attempts, in any order; `done` takes each as it ends.

        Raises AutoToolError where no further one could be made either.
        """
        ...

    def close(self) -> None:
        """Let go of what the attempts needed."""
        ...


class AttemptFile:
    """The attempts of a run, appended as they end, so that a killed run loses none and doubles none."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Make the file, or go on with it. Raises AutoToolError if its attempts were made with other settings.

        One of older code, which kept no fingerprints, is gone on with whatever they are.
        """
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        found = next(jsonl.read(path), None)
        self._appender = jsonl.Appender(path)
        if found is None:
            self._appender.write(dict(settings))
        elif differing := [name for name, value in comparable(settings, found).items() if found.get(name) != value]:
            self._appender.close()
            raise AutoToolError(f"{path} holds attempts with other settings ({', '.join(differing)}): give another --out.")

    def add(self, mode: ResolvedMode, attempt: Attempt) -> None:
        """Append an attempt. Raises AutoToolError where that fails, as on a full disk; those before it are safe."""
        try:
            self._appender.write({"mode": mode.value, **asdict(attempt)})
        except OSError as error:
            raise AutoToolError(f"{self._path} cannot be written ({error}): make room and run again to go on.") from error

    def of(self, mode: ResolvedMode) -> Iterator[Attempt]:
        """The attempts in a mode, one at a time."""
        lines = jsonl.read(self._path)
        next(lines, None)
        return (_attempt(line) for line in lines if line["mode"] == mode.value)

    def close(self) -> None:
        self._appender.close()


def read_answer(value: Mapping[str, Any]) -> Answer:
    """An answer of JSON: `content`, `calls` of name and arguments, `reasoning`. Raises LookupError or TypeError."""
    calls = value.get("calls", ())
    read = None if calls is None else tuple(Call(call["name"], dict(call["arguments"])) for call in calls)
    return Answer(value.get("content") or "", read, value.get("reasoning"), value.get("whole", True))


def _attempt(line: Mapping[str, Any]) -> Attempt:
    answer = line["answer"]
    return Attempt(line["id"], line["at"], read_answer(answer) if answer is not None else None, line["error"], line["again"])
