"""Attempts at records: what a model answered, whether it is right, and the file of all attempts."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from autotool_core import jsonl
from autotool_core.calls import Call, same_calls
from autotool_core.errors import AutoToolError
from autotool_core.modes import ResolvedMode
from autotool_training.common.fingerprint import comparable, portable
from autotool_training.common.records import Record
from autotool_training.data.quality import MARKERS


@dataclass(frozen=True, slots=True)
class LabelAnswer:
    """One parsed turn of a model."""

    content: str
    calls: tuple[Call, ...] | None
    """None if a call is malformed."""
    reasoning: str | None = None
    whole: bool = True
    """Whether the model ended the turn itself."""

    def is_right(self, record: Record) -> bool:
        """Return whether it makes the gold calls, or has text if there are none, and is well-formed."""
        if not self.whole or self.calls is None or any(marker in self.content for marker in MARKERS):
            return False
        gold = [Call(call.name, call.arguments) for call in record.calls]
        return same_calls(self.calls, gold) and bool(self.calls or self.content.strip())


@dataclass(frozen=True, slots=True)
class LabelTask:
    """One attempt to be made at a record."""

    record: Record
    index: int
    """Number of the attempt among those at the record, from 0."""


@dataclass(frozen=True, slots=True)
class LabelAttempt:
    """One attempt that was made."""

    id: str
    """The record's id."""
    index: int
    """Number of the attempt among those at the record, from 0."""
    answer: LabelAnswer | None
    """None if the model did not answer."""
    error: str | None = None
    """Why there is no answer."""
    retryable: bool = False
    """Whether a resumed run makes the attempt again, because the server was busy or slow."""

    def as_dict(self) -> dict[str, Any]:
        """Return the attempt as the file of attempts holds it."""
        answer = None if self.answer is None else asdict(self.answer)
        return {"id": self.id, "at": self.index, "answer": answer, "error": self.error, "again": self.retryable}


class LabelModel(Protocol):
    """A model that makes attempts in one mode."""

    @property
    def max_attempts(self) -> int | None:
        """Return the number of attempts that it can make at a record; None if there is no limit."""
        ...

    async def attempt(self, tasks: Iterator[LabelTask], done: Callable[[LabelAttempt], None]) -> None:
        """Make the attempts, in any order, and pass each to `done` as it ends.

        Raises AutoToolError if no further attempt could be made either.
        """
        ...

    def close(self) -> None:
        """Release what the attempts needed."""
        ...


class AttemptFile:
    """The attempts of a run, appended as they end, so that a killed run loses none and makes none twice."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Create the file, or open it to continue. Raises AutoToolError if its attempts were made with other settings.

        A file of older code, which stored no fingerprints, is continued whatever the models hold.
        """
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        settings, held = portable(settings), portable(next(jsonl.read(path), None))
        self._appender = jsonl.Appender(path)
        if held is None:
            self._appender.write(settings)
        elif differing := [name for name, value in comparable(settings, held).items() if held.get(name) != value]:
            self._appender.close()
            raise AutoToolError(
                f"{path} holds attempts with other settings ({', '.join(differing)}): give another --out, or remove it."
            )

    def add(self, mode: ResolvedMode, attempt: LabelAttempt) -> None:
        """Append an attempt. Raises AutoToolError if that fails, as on a full disk; earlier attempts stay intact."""
        try:
            self._appender.write({"mode": mode.value, **attempt.as_dict()})
        except OSError as error:
            raise AutoToolError(f"{self._path} cannot be written ({error}): make room and run again to go on.") from error

    def of(self, mode: ResolvedMode) -> Iterator[LabelAttempt]:
        """Yield the attempts in a mode."""
        lines = jsonl.read(self._path)
        next(lines, None)
        return (_attempt(line) for line in lines if line["mode"] == mode.value)

    def close(self) -> None:
        self._appender.close()


def read_answer(value: Mapping[str, Any]) -> LabelAnswer:
    """Return the answer that a JSON object holds: `content`, `calls` (name and arguments), `reasoning`.

    Raises LookupError or TypeError for an object of another shape.
    """
    calls = value.get("calls", ())
    parsed = None if calls is None else tuple(Call(call["name"], dict(call["arguments"])) for call in calls)
    return LabelAnswer(value.get("content") or "", parsed, value.get("reasoning"), value.get("whole", True))


def _attempt(line: Mapping[str, Any]) -> LabelAttempt:
    answer = read_answer(line["answer"]) if line["answer"] is not None else None
    return LabelAttempt(line["id"], line["at"], answer, line["error"], line["again"])
