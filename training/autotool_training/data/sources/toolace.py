"""ToolACE (`Team-ACE/ToolACE`, arXiv 2409.00920): tools as JSON within the system message, calls as `[name(argument=value)]`.

The rest of the system message, the rules of that format, is left out, since a checkpoint's own template has others; a
sentence that tells the date or time stays.
"""

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

from autotool_training.common.records import GoldCall, Record
from autotool_training.data.sources.dialogue import Dialogue, gold_call
from autotool_training.data.sources.rows import MalformedError, RowError, SourceRow, parse_rows, read_rows
from autotool_training.data.sources.tools import Tool, tools

NAME, LICENCE, HUB = "toolace", "Apache-2.0", "Team-ACE/ToolACE"
TOOLS = re.compile(r"list of functions in JSON format that you can invoke[:.]\s*(?=\[)")
CALLS = re.compile(r"\s*\[\s*[^\[\]{}\"'(]+\(.*\)\s*\]\s*", re.DOTALL)
NOW = re.compile(r"[^.\n]*(?:current (?:date|time)|[Tt]oday(?:'s date)?) is[^\n]*")
OPEN, CLOSE, QUOTES = "([{", ")]}", "\"'"
CONSTANTS = {"true": True, "false": False, "null": None}


def load_records(location: str = HUB, seed: int = 0) -> Iterator[Record | RowError]:
    """A record for every answer, calls or text."""
    return parse_rows(read_rows(location), _records)


def _records(row: SourceRow) -> Iterator[Record]:
    system = row.value["system"]
    dialogue = Dialogue(NAME, LICENCE, row.id, _tools(system), is_numbered=True)
    if now := NOW.search(system):
        dialogue.add_message("system", now[0].strip())
    for turn in row.value["conversations"]:
        text = turn["value"]
        match turn["from"]:
            case "user":
                dialogue.add_message("user", text)
            case "assistant" if CALLS.fullmatch(text):
                yield dialogue.add_answer(calls=_calls(text))
            case "assistant":
                yield dialogue.add_answer(content=text)
            case "tool":
                dialogue.add_result(text)
            case _:
                raise MalformedError("unknown role")


def _tools(system: str) -> list[Tool]:
    found = TOOLS.search(system)
    return tools(json.JSONDecoder().raw_decode(system, found.end())[0]) if found else []


def _calls(text: str) -> list[GoldCall]:
    return [_call(part) for part in _split(text.strip()[1:-1])]


def _call(text: str) -> GoldCall:
    name, found, rest = text.partition("(")
    if not found or not rest.endswith(")"):
        raise MalformedError("call that cannot be read")
    arguments = dict(_argument(part) for part in _split(rest[:-1]))
    return gold_call({"name": name.strip(), "arguments": arguments})


def _argument(text: str) -> tuple[str, Any]:
    name, found, value = text.partition("=")
    if not found:
        raise MalformedError("call that cannot be read")
    return name.strip(), _value(value.strip())


def _value(text: str) -> Any:
    """JSON, or as Python writes it, in which JSON's constants may stand."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return _evaluate(ast.parse(text, mode="eval").body)


def _evaluate(node: ast.expr) -> Any:
    match node:
        case ast.Name(id=name) if name in CONSTANTS:
            return CONSTANTS[name]
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return [_evaluate(part) for part in parts]
        case ast.Dict(keys=keys, values=values):
            return {ast.literal_eval(key): _evaluate(value) for key, value in zip(keys, values, strict=True) if key is not None}
        case _:
            return ast.literal_eval(node)


def _split(text: str) -> Iterator[str]:
    """The parts between commas that stand outside of brackets and quotes."""
    depth, quote, start, escaped = 0, "", 0, False
    for at, character in enumerate(text):
        if quote:
            quote = "" if character == quote and not escaped else quote
            escaped = character == "\\" and not escaped
        elif character in QUOTES:
            quote = character
        else:
            depth += (character in OPEN) - (character in CLOSE)
            if character == "," and depth == 0:
                yield text[start:at].strip()
                start = at + 1
    if last := text[start:].strip():
        yield last
