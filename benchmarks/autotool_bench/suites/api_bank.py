"""`api-bank`: the next call of a dialogue. Levels 1 and 2 are the benchmark; level 3 is an addition.

The data are API-Bank's (arXiv 2304.08244) as ToolRL processed them (arXiv 2504.13958, github.com/qiancheng0/ToolRL,
`benchmarks/API-Bank`): `api_bank_level{1,2,3}.json` or, under ToolRL's name, `level-{1,2,3}-api_processed.json`. Level 1
gives the tools that the dialogue uses, level 2 those that it has found so far, level 3 has several calls per request. Level 3
is an addition only, because its gold calls hold free text that can be written in many ways (the content of a reminder), which
exact comparison rejects.

The rule is that of ToolRL's `evaluate.py` (read in the public copy cczslp/ToolRL, commit bf3042f), its soft match: the row is
solved if any call of the answer has the gold call's name and exactly its arguments. So additional calls cost only tokens,
and a call whose arguments are not a JSON object is skipped. API-Bank's own `evaluator.py` executes the call and compares
results, on code and databases that the processed data lack.

The rule is strict and the data are not. It is not softened here, so that figures compare with ToolRL's. Of the 399, 67 and 131
rows of the levels,
- 40, 9 and 55 have gold values in text for parameters of another type (int, float, bool, list), where a number is then wrong;
- 31, 8 and 1 have gold dates with a year (2023) that the prompt does not mention;
- 8, 6 and 0 call a tool, or give an argument, that is not described.

What differs from ToolRL: the checkpoint's own template renders the tools, as JSON schema, and the dialogue, as messages.
ToolRL's instructions on steps and output format are left out, since they contradict such templates; the row's first paragraph
stays as the system message, and so does its final request for a single call.
"""

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from autotool_bench.suites.base import Item, Message, Reply, SingleTurn, Tool, ToolCall, Verdict, select_categories
from autotool_bench.suites.data import convert_rows, find_file
from autotool_bench.suites.functions import to_tools
from autotool_core.calls import Call, same_calls
from autotool_core.function_schemas import plain_name

TOOL = re.compile(r"\d+\. (?:Name: (\S+)\nDescription: |([^\s:]+): )(.*)\nParameters: (\{.*\})\s*")
PART = re.compile(r"<(user|response|tool_call|obs)>(.*?)</\1>", re.DOTALL)
HISTORY = "Dialogue Records History"


class ApiBank(SingleTurn):
    """The suite `api-bank`, with the categories `level-1` to `level-3`."""

    name = "api-bank"

    def __init__(self, directory: Path, categories: Sequence[str] | None = None) -> None:
        self.categories = select_categories(categories, ["level-1", "level-2", "level-3"])
        self._directory = directory

    def items(self, category: str) -> Iterator[Item]:
        """Yield the items in the order of the file. Raises AutoToolError for a missing file or a row that cannot be read."""
        level = category.removeprefix("level-")
        path = find_file(self._directory, f"api_bank_level{level}.json", f"level-{level}-api_processed.json")
        # A file holds one list, so the file counts as one row.
        rows = next(convert_rows(path, [path], lambda file: json.loads(file.read_text(encoding="utf-8"))))
        yield from convert_rows(path, enumerate(rows), lambda row: _item(category, *row))

    def score(self, item: Item, answer: Reply) -> Verdict:
        calls = list(_readable(answer))
        if any(same_calls([call], [item.gold]) for call in calls):
            return Verdict(1.0)
        if not calls:
            return Verdict(0.0, "no call that can be read")
        named = any(call.name == item.gold.name for call in calls)
        return Verdict(0.0, "other arguments than the gold call's" if named else "another tool than the gold one")

    def gold(self, item: Item, *, corrupted: bool = False) -> list[Reply]:
        arguments = dict(item.gold.arguments)
        if corrupted and not arguments:
            return [Reply(content="Done.")]
        if corrupted:
            last = next(reversed(arguments))
            arguments[last] = f"{arguments[last]}0"
        return [Reply(calls=(ToolCall(item.gold.name, json.dumps(arguments)),))]


def _item(category: str, number: int, row: Mapping[str, Any]) -> Item:
    head, _, rest = row["system"].partition("**Available Tools**")
    listed, found, _ = rest.partition("**Steps for Each Turn**")
    if not found:
        raise ValueError("its system prompt has no list of tools")
    answer = row["answer"][0] if isinstance(row["answer"], list) else row["answer"]
    messages = [{"role": "system", "content": head.strip()}, *_messages(row["user"])]
    gold = Call(plain_name(answer["name"]), answer["parameters"])
    return Item(f"{category}/{number}", category, messages, _tools(listed.partition(":\n")[2]), gold)


def _tools(listed: str) -> list[Tool]:
    if TOOL.sub("", listed):
        raise ValueError("a tool in its system prompt cannot be read")
    return to_tools(
        [
            (name or short, text, {"type": "object", "properties": ast.literal_eval(parameters)})
            for name, short, text, parameters in TOOL.findall(listed)
        ]
    )


def _messages(dialogue: str) -> Sequence[Message]:
    if PART.sub("", dialogue).strip("* \n") != HISTORY:
        raise ValueError("its dialogue has text outside of the known tags")
    messages: list[dict[str, Any]] = []
    for tag, text in PART.findall(dialogue):
        _append(messages, tag, text.strip())
    return messages


def _append(messages: list[dict[str, Any]], tag: str, text: str) -> None:
    last: dict[str, Any] = messages[-1] if messages else {"role": None}
    if tag == "obs":
        messages.append({"role": "tool", "tool_call_id": last["tool_calls"][0]["id"], "content": text})
    elif tag == "tool_call":
        calls = [_call(json.loads(text), len(messages))]
        if last["role"] == "assistant":
            last["tool_calls"] = calls
        else:
            messages.append({"role": "assistant", "content": None, "tool_calls": calls})
    elif last["role"] == (role := "user" if tag == "user" else "assistant"):
        # Many templates reject two consecutive messages of the same role.
        last["content"] += f"\n{text}"
    else:
        messages.append({"role": role, "content": text})


def _call(call: Mapping[str, Any], number: int) -> dict[str, Any]:
    function = {"name": plain_name(call["name"]), "arguments": json.dumps(call["parameters"])}
    return {"id": f"call_{number}", "type": "function", "function": function}


def _readable(answer: Reply) -> Iterator[Call]:
    for call in answer.calls:
        try:
            yield Call.parse(call.name, call.arguments)
        except ValueError:
            continue
