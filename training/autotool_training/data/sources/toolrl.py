"""Reads ToolRL's SFT rows (arXiv 2504.13958, github.com/qiancheng0/ToolRL): tools in prose, a dialogue in tags, one answer.

The rules on steps and output format are left out, because a checkpoint's template has its own. The first paragraph becomes
the system message. The reasoning within the dialogue consists of stock phrases, and is left out too.
"""

import json
import re
from collections.abc import Iterator

from autotool_training.common.records import GoldCall, Record
from autotool_training.data.sources.dialogue import Dialogue, gold_call
from autotool_training.data.sources.rows import MalformedError, RowError, SourceRow, parse_rows, read_rows
from autotool_training.data.sources.tools import Tool, tools

NAME, LICENCE = "toolrl", "Apache-2.0"
TOOLS, STEPS = "**Available Tools**", "**Steps for Each Turn**"
TOOL = re.compile(r"^\d+\. Name: (.*)\nDescription: ((?:.|\n)*?)\nParameters: (\{.*\})\s*$", re.MULTILINE)
PART = re.compile(r"<(user|think|tool_call|response|obs)>(.*?)</\1>", re.DOTALL)
# The reasoning may quote any tag except its own closing tag.
ANSWER = re.compile(
    r"\s*<think>(?P<think>.*?)</think>\s*(?:<tool_call>(?P<calls>.*?)</tool_call>)?\s*(?:<response>(?P<text>.*)</response>)?\s*",
    re.DOTALL,
)


def load_records(location: str, seed: int = 0) -> Iterator[Record | RowError]:
    """Yield one record per row: the last answer, with its reasoning."""
    return parse_rows(read_rows(location), _record)


def _record(row: SourceRow) -> Iterator[Record]:
    system, _, rest = row.value["instruction"].partition(TOOLS)
    answer = ANSWER.fullmatch(row.value["output"])
    if answer is None:
        raise MalformedError("answer outside of the known tags")
    calls = _calls(answer["calls"] or "")
    dialogue = Dialogue(NAME, LICENCE, row.id, _tools(rest.partition(STEPS)[0], calls))
    dialogue.add_message("system", system.strip())
    _history(dialogue, row.value["input"])
    yield dialogue.add_answer(content=(answer["text"] or "").strip(), calls=calls, reasoning=answer["think"].strip())


def _tools(listed: str, calls: list[GoldCall]) -> list[Tool]:
    listed = listed.partition(":\n")[2]
    if TOOL.sub("", listed).strip():
        raise MalformedError("tool that cannot be read")
    functions = (
        {"name": name, "description": text, "parameters": json.loads(parameters)}
        for name, text, parameters in TOOL.findall(listed)
    )
    return tools(functions, calls)


def _calls(text: str) -> list[GoldCall]:
    return [gold_call(json.loads(line)) for line in text.splitlines() if line.strip()]


def _history(dialogue: Dialogue, text: str) -> None:
    calls: list[GoldCall] = []
    for tag, body in PART.findall(text):
        match tag:
            case "user":
                dialogue.add_message("user", body.strip())
            case "tool_call":
                calls = _calls(body)
            case "response":
                dialogue.add_answer(content=body.strip())
            case "obs":
                dialogue.add_answer(calls=calls)
                dialogue.add_result(body.strip())
            case _:
                pass
