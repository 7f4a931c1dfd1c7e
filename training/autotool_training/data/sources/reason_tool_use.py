"""Reads `reason_tool_use` from LLaMA-Factory: messages whose content is a list of typed parts, some of them reasoning."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from autotool_training.common.records import Record
from autotool_training.data.sources.dialogue import Dialogue, gold_call
from autotool_training.data.sources.rows import RowError, SourceRow, json_list, json_object, parse_rows, read_rows
from autotool_training.data.sources.tools import tools

NAME, LICENCE = "reason_tool_use", "Apache-2.0"


def load_records(location: str, seed: int = 0) -> Iterator[Record | RowError]:
    """Yield a record for every answer, with its reasoning."""
    return parse_rows(read_rows(location), _records)


def _records(row: SourceRow) -> Iterator[Record]:
    dialogue = Dialogue(NAME, LICENCE, row.id, tools(json_list(row.value["tools"])), is_numbered=True)
    for message in row.value["messages"]:
        parts = message["content"]
        if message["role"] == "assistant":
            calls = [gold_call(json_object(text)) for text in _parts(parts, "tool_call")]
            yield dialogue.add_answer(content=_text(parts, "text"), calls=calls, reasoning=_text(parts, "reasoning"))
        elif message["role"] == "tool":
            dialogue.add_result(_text(parts, "text"))
        else:
            dialogue.add_message(message["role"], _text(parts, "text"))


def _parts(parts: Sequence[Mapping[str, Any]], kind: str) -> list[str]:
    return [part["value"] for part in parts if part["type"] == kind]


def _text(parts: Sequence[Mapping[str, Any]], kind: str) -> str:
    return "\n".join(_parts(parts, kind))
