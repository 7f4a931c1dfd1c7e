"""The record type of training: a task, its gold answer and its source. A file of records is JSON lines."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from autotool_core import jsonl
from autotool_core.errors import AutoToolError


class GoldCall(BaseModel):
    """A call of the gold answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    arguments: dict[str, Any]


class Record(BaseModel):
    """One turn to be trained: the prompt's messages and tools, and the gold answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    """Unique in its file."""
    tools: list[dict[str, Any]]
    """OpenAI's `function` tools."""
    messages: list[dict[str, Any]]
    """OpenAI's messages, up to the answer, which is not among them."""
    calls: list[GoldCall]
    """The gold calls; empty if the right answer is text."""
    content: str | None = None
    """The gold text, if the answer is or begins with text."""
    reasoning: str | None = None
    """How the answer is derived, if the source has it."""
    source: str
    """Name of the data set."""
    licence: str
    """SPDX identifier."""
    level: int | None = None
    """Level of a graded task."""
    label: Literal["long", "short"] | None = None
    """The mode that the answer is trained in, once labelled; a long answer has `reasoning` in its think block."""

    @field_validator("messages")
    @classmethod
    def _have_roles(cls, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if not messages or not all(isinstance(message.get("role"), str) for message in messages):
            raise ValueError('write at least one message, each with "role" and "content"')
        return messages

    @field_validator("tools")
    @classmethod
    def _are_functions(cls, tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if not all(isinstance(tool.get("function"), dict) and isinstance(tool["function"].get("name"), str) for tool in tools):
            raise ValueError('write each tool as {"type": "function", "function": {"name": ..., ...}}')
        return tools

    @model_validator(mode="after")
    def _long_thinks(self) -> Self:
        if self.label == "long" and not (self.reasoning or "").strip():
            raise ValueError("a record of label long needs reasoning")
        return self


def reject_duplicate_ids(records: Sequence[Record]) -> None:
    """Raise AutoToolError if two records have the same id, by which a stage tells its results apart."""
    counts = Counter(record.id for record in records)
    if doubled := [name for name, count in counts.items() if count > 1]:
        raise AutoToolError(
            f"Two records have the same id, {doubled[0]}: make the file again with `autotool train data`, or give each its own."
        )


def write(path: Path, records: Iterable[Record]) -> int:
    """Write a file of records, whole or not at all, and return their number."""
    count = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with jsonl.atomic_write(path) as part, part.open("w", encoding="utf-8") as out:
        for record in records:
            out.write(record.model_dump_json(exclude_none=True) + "\n")
            count += 1
    return count


def read(path: Path, *, strict: bool = False, skipped: Callable[[str], None] | None = None) -> Iterator[Record]:
    """Yield the records of a file.

    An invalid one is skipped, and `skipped` gets a sentence with file, line and field; with `strict` it raises
    AutoToolError.
    """
    if not path.exists():
        raise AutoToolError(f"{path}: there is no such file of records.")
    # Lines are read as bytes, so that one that is not UTF-8 is one invalid record.
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield Record.model_validate_json(line)
            except ValidationError as error:
                first = error.errors(include_input=False, include_url=False)[0]
                field = ".".join(str(part) for part in first["loc"]) or "the line"
                sentence = f"{path}, line {number}: {field}: {first['msg']}"
                if strict:
                    raise AutoToolError(sentence + ".") from None
                if skipped:
                    skipped(sentence)
