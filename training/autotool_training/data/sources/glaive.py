"""Reads Glaive's tool calls from LLaMA-Factory: ShareGPT turns of human, function_call, observation and gpt."""

from collections.abc import Iterator

from autotool_training.common.records import Record
from autotool_training.data.sources import rows
from autotool_training.data.sources.dialogue import Dialogue, gold_call
from autotool_training.data.sources.tools import tools

NAME, LICENCE = "glaive", "Apache-2.0"


def load_records(location: str, seed: int = 0) -> Iterator[Record | rows.RowError]:
    """Yield a record for every answer, which is a call or text."""
    return rows.parse_rows(rows.read_rows(location), _records)


def _records(row: rows.SourceRow) -> Iterator[Record]:
    dialogue = Dialogue(NAME, LICENCE, row.id, tools(rows.json_list(row.value["tools"])), is_numbered=True)
    for turn in row.value["conversations"]:
        text = turn["value"]
        match turn["from"]:
            case "human":
                dialogue.add_message("user", text)
            case "gpt":
                yield dialogue.add_answer(content=text)
            case "function_call":
                yield dialogue.add_answer(calls=[gold_call(rows.json_object(text))])
            case "observation":
                dialogue.add_result(text)
            case _:
                raise rows.MalformedError("unknown role")
