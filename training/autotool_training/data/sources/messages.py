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

from autotool_training.common.records import Record
from autotool_training.data.sources.chat import Turn, read_turns
from autotool_training.data.sources.dialogue import Dialogue
from autotool_training.data.sources.openai_chat import read_message
from autotool_training.data.sources.rows import (
    FieldError,
    MalformedError,
    RowError,
    SourceRow,
    json_field,
    parse_rows,
    read_rows,
)
from autotool_training.data.sources.sharegpt import read_share_turn
from autotool_training.data.sources.tools import Tool, tools

NAME, LICENCE = "messages", "unknown"
LOCATION = re.compile(r"(?P<rows>.+?)(?::(?P<messages>\w+)(?:,(?P<tools>\w+))?)?")
A_TOOL = 'write {"type": "function", "function": {"name": ..., "description": ..., "parameters": {...}}}'


@dataclass(frozen=True, slots=True)
class Columns:
    """The names of the fields of a row."""

    messages: tuple[str, ...] = ("messages", "conversations")
    tools: tuple[str, ...] = ("tools", "functions")


USUAL = Columns()


def load_records(location: str, seed: int = 0) -> Iterator[Record | RowError]:
    """Yield a record for every answer. `location`: a file or a hub id, with `:MESSAGES` or `:MESSAGES,TOOLS` for columns."""
    rows, columns = _split(location)
    return parse_rows(read_rows(rows), partial(_checked, columns=columns, source=source_name(location)))


def rows_location(location: str) -> str:
    """Return the file or hub id of a location, without its columns."""
    return _split(location)[0]


def source_name(location: str) -> str:
    """Return the name of the data set: the file's without its endings, or the hub id's second part."""
    return Path(rows_location(location)).name.partition(".")[0]


def read_conversation(
    row: SourceRow, source: str, licence: str, columns: Columns = USUAL, *, checked: bool = False
) -> Iterator[Record | FieldError]:
    """Yield the records of a row. Raises FieldError for the first field that cannot be read; `checked` as in `read_turns`."""
    if not isinstance(row.value, Mapping):
        raise FieldError("the row", "no object", 'write {"messages": [...], "tools": [...]}')
    offered = _tools(row.value, columns)
    turns = _turns(row.value, columns)
    yield from read_turns(turns, Dialogue(source, licence, row.id, offered, is_numbered=True), checked=checked)


def _checked(row: SourceRow, columns: Columns, source: str) -> Iterator[Record | FieldError]:
    stated: Mapping[str, Any] = row.value if isinstance(row.value, Mapping) else {}
    licence = stated.get("licence") or stated.get("license") or LICENCE
    # The source's name is in the record's id already.
    row = replace(row, id=row.id.rpartition("/")[2])
    is_empty = True
    for made in read_conversation(row, str(stated.get("source") or source), str(licence), columns, checked=True):
        is_empty = False
        yield made
    if is_empty:
        raise FieldError(columns.messages[0], "no answer to learn", "write what the assistant answers, or leave the row out")


def _split(location: str) -> tuple[str, Columns]:
    match = LOCATION.fullmatch(location)
    if match is None or match["messages"] is None or Path(location).exists():
        return location, USUAL
    return match["rows"], Columns((match["messages"],), (match["tools"],) if match["tools"] else USUAL.tools)


def _turns(row: Mapping[str, Any], columns: Columns) -> Iterator[Turn]:
    name = next((name for name in columns.messages if row.get(name) is not None), None)
    if name is None:
        raise FieldError(columns.messages[0], "missing", "write a list of messages, or name the column: FILE:COLUMN")
    if isinstance(row.get("system"), str) and row["system"].strip():
        yield Turn("system", "system", row["system"])
    for number, message in enumerate(json_field(row[name], Sequence, name, "write a list of messages")):
        read = read_share_turn if isinstance(message, Mapping) and "from" in message else read_message
        yield read(message, f"{name}[{number}]")


def _tools(row: Mapping[str, Any], columns: Columns) -> list[Tool]:
    name = next((name for name in columns.tools if row.get(name)), None)
    if name is None and len(columns.tools) == 1 and columns.tools[0] not in row:
        raise FieldError(columns.tools[0], "missing", "name the column of the tools, or leave its name out")
    if name is None:
        return []
    functions = _without_nulls(json_field(row[name], Sequence, name, "write a list of tools"))
    for number, function in enumerate(functions):
        _reject_faulty(function, f"{name}[{number}]")
    try:
        return tools(functions)
    except MalformedError as error:
        raise FieldError(name, str(error), "give each tool a name of its own") from None


def _without_nulls(value: Any) -> Any:
    """Return tools without fields of null, with which the hub pads the fields that other rows have."""
    if isinstance(value, Mapping):
        return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


def _reject_faulty(function: Any, field: str) -> None:
    try:
        tools([function])
    except MalformedError as error:
        raise FieldError(field, str(error), "write its parameters as a JSON schema") from None
    except (AttributeError, LookupError, TypeError, ValueError):
        raise FieldError(field, "no tool", A_TOOL) from None
