"""Reads conversations of one's own, and those of any data set on the hub, in OpenAI's fine-tuning form or in ShareGPT's.

A row has `messages` (roles and contents) or `conversations` (`from` and `value`), and may have `tools`, a list or its JSON,
`system`, `licence` and `source`. Every answer of a conversation becomes a record, with its history before it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from autotool_core.errors import AutoToolError
from autotool_training.common.records import Record
from autotool_training.data.sources.chat import Turn, read_turns
from autotool_training.data.sources.dialogue import Dialogue
from autotool_training.data.sources.openai_chat import read_message
from autotool_training.data.sources.rows import (
    FieldError,
    MalformedError,
    RowError,
    SourceRow,
    is_hub_id,
    json_field,
    parse_rows,
    read_rows,
)
from autotool_training.data.sources.sharegpt import ROLES, read_share_turn
from autotool_training.data.sources.tools import Tool, stated_tools

NAME, LICENCE = "messages", "unknown"
MAX_SOURCES = 20
"""The number of sources that the rows of a file are counted by. Where each row states one of its own, it is no source."""
COLUMN = re.compile(r"\w+")
A_TOOL = 'write {"type": "function", "function": {"name": ..., "description": ..., "parameters": {...}}}'


@dataclass(frozen=True, slots=True)
class Columns:
    """The names of the fields of a row."""

    messages: tuple[str, ...] = ("messages", "conversations")
    tools: tuple[str, ...] = ("tools", "functions")


USUAL = Columns()


@dataclass(frozen=True, slots=True)
class Location:
    """Where the rows are."""

    rows: str
    """A file or a hub id."""
    columns: Columns = USUAL
    config: str | None = None
    """The configuration of a data set of the hub; None for its only or default one."""
    split: str | None = None
    """The split of a data set of the hub; None for `train`."""

    @classmethod
    def parse(cls, text: str) -> "Location":
        """Parse a file or a hub id, with `:` and its columns, `config=NAME` and `split=NAME` behind it, of a hub id alone.

        Raises AutoToolError for another option, and for one that is empty or given twice.
        """
        # A split may have a colon too, and so may a path.
        is_hub = is_hub_id(text.partition(":")[0])
        rows, _, rest = text.partition(":") if is_hub else text.rpartition(":")
        parts = [part.partition("=") for part in rest.split(",")]
        columns = [name for name, equals, _ in parts if not equals]
        options = [(name, value) for name, equals, value in parts if equals]
        named = dict(options)
        are_options = named.keys() <= {"config", "split"} and len(named) == len(options) and all(named.values())
        are_columns = len(columns) <= 2 and all(map(COLUMN.fullmatch, columns))
        if is_hub and are_columns and not are_options:
            raise AutoToolError(f"{text}: behind the columns write config=NAME or split=NAME, each once at most.")
        if not (rows and are_columns and are_options) or Path(text).exists():
            return cls(text)
        return cls(rows, Columns(tuple(columns[:1]) or USUAL.messages, tuple(columns[1:]) or USUAL.tools), **named)


ANSWERING = ("assistant", *(name for name, role in ROLES.items() if role == "assistant"))


def load_records(location: str, seed: int = 0) -> Iterator[Record | RowError]:
    """Yield a record for every answer. `location`: as `Location.parse` takes it. Raises AutoToolError for a file's split."""
    at = Location.parse(location)
    if not Path(at.rows).exists():
        mend = f"name one of its configurations or splits, as in {at.rows}:config=CONFIG,split=SPLIT"
        read = read_rows(at.rows, [at.config] if at.config else (), at.split or "train", mend=mend)
        rows = map(_without_padding, read)
    elif at.config or at.split:
        raise AutoToolError(f"{location}: a file has no configuration and no split: leave them out.")
    else:
        rows = map(_without_file, read_rows(at.rows))
    return parse_rows(rows, partial(_checked, columns=at.columns, sources=[source_name(location)]))


def rows_location(location: str) -> str:
    """Return the file or hub id of a location, without what stands behind it."""
    return Location.parse(location).rows


def source_name(location: str) -> str:
    """Return the name of the data set: the file's without its endings, or the hub id's second part."""
    return Path(rows_location(location)).name.partition(".")[0]


def read_conversation(
    row: SourceRow, source: str, licence: str, columns: Columns = USUAL, *, checked: bool = False
) -> Iterator[Record | FieldError]:
    """Yield the records of a row. Raises FieldError for the first faulty field; `checked` as in `read_turns`."""
    if not isinstance(row.value, Mapping):
        raise FieldError("the row", "no object", 'write {"messages": [...], "tools": [...]}')
    offered = _tools(row.value, columns)
    turns = _turns(row.value, columns, "write a list of messages" + (", or name the column: FILE:COLUMN" if checked else ""))
    yield from read_turns(turns, Dialogue(source, licence, row.id, offered, is_numbered=True), checked=checked)


def _checked(row: SourceRow, columns: Columns, sources: list[str]) -> Iterator[Record | FieldError]:
    """Yield the records of a row of one's own and its faults. Raises FieldError for one that ends it, and if there are none."""
    count = 0
    try:
        for one in _own(row, columns, sources):
            count += 1
            yield one
    except FieldError as error:
        error.lost = max(_answers(row.value, columns) - count, 1)
        raise
    if not count:
        name = _messages_column(row.value, columns)
        raise FieldError(name, "no answer to learn", "write what the assistant answers after a request, without weight 0")


def _answers(row: Any, columns: Columns) -> int:
    """Return the number of the assistant's messages in a row, as far as it can be read."""
    name = _messages_column(row, columns) if isinstance(row, Mapping) else ""
    listed = row[name] if isinstance(row, Mapping) and isinstance(row.get(name), Sequence) else ()
    trained = [message for message in listed if isinstance(message, Mapping) and message.get("weight") != 0]
    return sum(message.get("role", message.get("from")) in ANSWERING for message in trained)


def _own(row: SourceRow, columns: Columns, sources: list[str]) -> Iterator[Record | FieldError]:
    stated: Mapping[str, Any] = row.value if isinstance(row.value, Mapping) else {}
    licence = stated.get("licence") or stated.get("license") or LICENCE
    return read_conversation(row, _source(stated, sources), str(licence), columns, checked=True)


def _source(row: Mapping[str, Any], sources: list[str]) -> str:
    """Return the source that a row states, and note it in `sources`; the first of these if there are too many to be counted."""
    name = str(row.get("source") or sources[0])
    if name not in sources:
        if len(sources) == MAX_SOURCES:
            return sources[0]
        sources.append(name)
    return name


def _without_file(row: SourceRow | RowError) -> SourceRow | RowError:
    """Return a row of a file with its number as its id: the source's name is in the record's id already."""
    return row if isinstance(row, RowError) else replace(row, id=row.id.rpartition("/")[2])


def _without_padding(row: SourceRow | RowError) -> SourceRow | RowError:
    """Return a row of the hub without the fields that its messages, tools and arguments do not have: there they are None."""
    return row if isinstance(row, RowError) else replace(row, value={name: _stated(one) for name, one in row.value.items()})


def _stated(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _stated(inner) for name, inner in value.items() if inner is not None}
    return [_stated(inner) for inner in value] if isinstance(value, list) else value


def _turns(row: Mapping[str, Any], columns: Columns, mend: str) -> Iterator[Turn]:
    name = _messages_column(row, columns)
    if row.get(name) is None:
        raise FieldError(name, "missing", mend)
    if isinstance(row.get("system"), str) and row["system"].strip():
        yield Turn("system", "system", row["system"])
    for number, message in enumerate(json_field(row[name], Sequence, name, "write a list of messages")):
        read = read_share_turn if isinstance(message, Mapping) and "from" in message else read_message
        yield read(message, f"{name}[{number}]")


def _messages_column(row: Mapping[str, Any], columns: Columns) -> str:
    return next((name for name in columns.messages if row.get(name) is not None), columns.messages[0])


def _tools(row: Mapping[str, Any], columns: Columns) -> list[Tool]:
    name = next((name for name in columns.tools if row.get(name)), None)
    if columns.tools != USUAL.tools and columns.tools[0] not in row:
        raise FieldError(columns.tools[0], "missing", "name the column of the tools, or leave its name out")
    if name is None:
        return []
    functions = json_field(row[name], Sequence, name, "write a list of tools")
    for number, function in enumerate(functions):
        _reject_faulty(function, f"{name}[{number}]")
    try:
        return stated_tools(functions)
    except MalformedError as error:
        raise FieldError(name, str(error), "give each tool a name of its own") from None


def _reject_faulty(function: Any, field: str) -> None:
    try:
        stated_tools([function])
    except MalformedError as error:
        raise FieldError(field, str(error), "write its parameters as a JSON schema") from None
    except (AttributeError, LookupError, TypeError, ValueError):
        raise FieldError(field, "no tool", A_TOOL) from None
