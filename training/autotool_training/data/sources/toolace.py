"""Reads ToolACE (`Team-ACE/ToolACE`, arXiv 2409.00920): tools as JSON in the system message, calls as `[name(argument=value)]`.

The rest of the system message contains the rules of that format. It is left out, because a checkpoint's template has its
own. A sentence with the date or time is kept.
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
DATE_SENTENCE = re.compile(r"[^.\n]*(?:current (?:date|time)|[Tt]oday(?:'s date)?) is[^\n]*")
OPEN, CLOSE, QUOTES = "([{", ")]}", "\"'"
CONSTANTS = {"true": True, "false": False, "null": None}


def load_records(location: str = HUB, seed: int = 0) -> Iterator[Record | RowError]:
    """Yield a record for every answer, which is calls or text."""
    return parse_rows(read_rows(location), _records)


def _records(row: SourceRow) -> Iterator[Record]:
    system = row.value["system"]
    dialogue = Dialogue(NAME, LICENCE, row.id, _tools(system), is_numbered=True)
    if date_sentence := DATE_SENTENCE.search(system):
        dialogue.add_message("system", date_sentence[0].strip())
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
    match = TOOLS.search(system)
    return tools(json.JSONDecoder().raw_decode(system, match.end())[0]) if match else []


def _calls(text: str) -> list[GoldCall]:
    return [_call(part) for part in _split(text.strip()[1:-1])]


def _call(text: str) -> GoldCall:
    name, separator, rest = text.partition("(")
    if not separator or not rest.endswith(")"):
        raise MalformedError("call that cannot be read")
    arguments = dict(_argument(part) for part in _split(rest[:-1]))
    return gold_call({"name": name.strip(), "arguments": arguments})


def _argument(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not separator:
        raise MalformedError("call that cannot be read")
    return name.strip(), _value(value.strip())


def _value(text: str) -> Any:
    """Parse JSON, or a Python literal that may contain JSON's constants."""
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
    """Split the text at the commas outside of brackets and quotes."""
    depth, quote, start, escaped = 0, "", 0, False
    for index, character in enumerate(text):
        if quote:
            quote = "" if character == quote and not escaped else quote
            escaped = character == "\\" and not escaped
        elif character in QUOTES:
            quote = character
        else:
            depth += (character in OPEN) - (character in CLOSE)
            if character == "," and depth == 0:
                yield text[start:index].strip()
                start = index + 1
    if last := text[start:].strip():
        yield last
