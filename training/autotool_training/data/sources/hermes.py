"""Reads Hermes function calling (`NousResearch/hermes-function-calling-v1`): ShareGPT turns with calls in `<tool_call>` tags.

Its system messages contain the rules of the format and the tools. They are left out, because a checkpoint's template has
its own. The configurations of JSON mode are left out too, because they have no tools.
"""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from autotool_training.common.records import Record
from autotool_training.data.sources.dialogue import Dialogue, gold_call
from autotool_training.data.sources.rows import (
    MalformedError,
    RowError,
    SourceRow,
    json_list,
    json_object,
    parse_rows,
    read_rows,
)
from autotool_training.data.sources.tools import tools

NAME, LICENCE, HUB = "hermes", "Apache-2.0", "NousResearch/hermes-function-calling-v1"
CONFIGS = ("func_calling_singleturn", "func_calling", "glaive_func_calling")
TOOLS = re.compile(r"<tools>(.*?)</tools>", re.DOTALL)
CALL = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)
RESULT = re.compile(r"<tool_response>(.*?)</tool_response>", re.DOTALL)


def load_records(location: str = HUB, seed: int = 0) -> Iterator[Record | RowError]:
    """Yield a record for every answer, which is calls or text."""
    return parse_rows(read_rows(location, CONFIGS if location == HUB else ()), _records)


def _records(row: SourceRow) -> Iterator[Record]:
    dialogue = Dialogue(NAME, LICENCE, row.id, tools(_tools(row.value)), is_numbered=True)
    for turn in row.value["conversations"]:
        text = turn["value"]
        match turn["from"]:
            case "system":
                pass
            case "human":
                dialogue.add_message("user", text)
            case "gpt":
                calls = [gold_call(_object(call)) for call in CALL.findall(text)]
                yield dialogue.add_answer(content=CALL.sub("", text).strip(), calls=calls)
            case "tool":
                dialogue.add_results([result.strip() for result in RESULT.findall(text)])
            case _:
                raise MalformedError("unknown role")


def _tools(row: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the tools from the field, or from the system message if the field is missing or empty."""
    if row.get("tools"):
        return json_list(row["tools"])
    first = row["conversations"][0]
    # The rules mention empty tags before the tags that contain the tools.
    listed = [text for text in TOOLS.findall(first["value"]) if text.strip()] if first["from"] == "system" else []
    return json_list(_literal(listed[-1])) if listed else []


def _object(text: str) -> Mapping[str, Any]:
    return json_object(_literal(text))


def _literal(text: str) -> Any:
    """Parse JSON, or a Python literal as many rows have. Raises ValueError or SyntaxError."""
    try:
        return json_object(text) if text.strip().startswith("{") else json_list(text)
    except ValueError:
        return ast.literal_eval(text.strip())
