"""Glaive's tool calls as LLaMA-Factory ships them, in ShareGPT's shape: turns of human, function_call, observation and gpt."""

from collections.abc import Iterator

from autotool_training.common.records import Record
from autotool_training.data.sources.dialogue import Dialogue, gold_call
from autotool_training.data.sources.rows import Bad, MalformedError, Row, each, listing, mapping, read
from autotool_training.data.sources.tools import tools

NAME, LICENCE = "glaive", "Apache-2.0"


def load(location: str, seed: int = 0) -> Iterator[Record | Bad]:
    """A record for every answer, a call or text."""
    return each(read(location), _records)


def _records(row: Row) -> Iterator[Record]:
    dialogue = Dialogue(NAME, LICENCE, row.id, tools(listing(row.value["tools"])), several=True)
    for turn in row.value["conversations"]:
        text = turn["value"]
        match turn["from"]:
            case "human":
                dialogue.say("user", text)
            case "gpt":
                yield dialogue.answer(content=text)
            case "function_call":
                yield dialogue.answer(calls=[gold_call(mapping(text))])
            case "observation":
                dialogue.result(text)
            case _:
                raise MalformedError("unknown role")
