"""`reason_tool_use`, as LLaMA-Factory ships it: messages whose content is a list of typed parts, reasoning among them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from autotool_training.common.records import Record
from autotool_training.data.sources.dialogue import Dialogue, gold_call
from autotool_training.data.sources.rows import Bad, Row, each, listing, mapping, read
from autotool_training.data.sources.tools import tools

NAME, LICENCE = "reason_tool_use", "Apache-2.0"


def load(location: str, seed: int = 0) -> Iterator[Record | Bad]:
    """A record for every answer, with its reasoning."""
    return each(read(location), _records)


def _records(row: Row) -> Iterator[Record]:
    dialogue = Dialogue(NAME, LICENCE, row.id, tools(listing(row.value["tools"])), several=True)
    for message in row.value["messages"]:
        parts = message["content"]
        if message["role"] == "assistant":
            calls = [gold_call(mapping(text)) for text in _parts(parts, "tool_call")]
            yield dialogue.answer(content=_text(parts, "text"), calls=calls, reasoning=_text(parts, "reasoning"))
        elif message["role"] == "tool":
            dialogue.result(_text(parts, "text"))
        else:
            dialogue.say(message["role"], _text(parts, "text"))


def _parts(parts: Sequence[Mapping[str, Any]], kind: str) -> list[str]:
    return [part["value"] for part in parts if part["type"] == kind]


def _text(parts: Sequence[Mapping[str, Any]], kind: str) -> str:
    return "\n".join(_parts(parts, kind))
