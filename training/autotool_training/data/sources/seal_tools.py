"""Reads Seal-Tools (arXiv 2405.08355, github.com/fairyshine/Seal-Tools): a request and all its calls in one turn.

The descriptions of the tools are in `seal_tools_apis.jsonl` (upstream `tool.jsonl`) in the same folder. A record has only the
tools that its calls need, so it should get distractor tools. They are drawn from the whole file.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from autotool_training.common.records import Record
from autotool_training.data.sources.dialogue import Dialogue, gold_call
from autotool_training.data.sources.rows import MalformedError, RowError, SourceRow, parse_rows, read_rows, sibling
from autotool_training.data.sources.tools import Tool, tools

NAME, LICENCE = "seal_tools", "Apache-2.0"
APIS = ("seal_tools_apis.jsonl", "tool.jsonl")
PARTS = ("api_name", "api_description", "parameters", "required")


def load_records(location: str, seed: int = 0) -> Iterator[Record | RowError]:
    """Yield one record per row."""
    apis = {api["api_name"]: api for api in _apis(location)}
    return parse_rows(read_rows(location), lambda row: _record(row, apis))


def load_tools(location: str) -> Iterator[Tool]:
    """Yield every described tool."""
    for api in _apis(location):
        try:
            yield from tools([_function(api)])
        except (AttributeError, LookupError, TypeError, ValueError):
            continue  # No row can use this tool either.


def _apis(location: str) -> Iterator[Mapping[str, Any]]:
    """Yield the complete descriptions. A tool with an incomplete one counts as undescribed."""
    for row in read_rows(str(sibling(location, *APIS))):
        if isinstance(row, SourceRow) and _is_whole(row.value):
            yield row.value


def _is_whole(api: Any) -> bool:
    return isinstance(api, Mapping) and {*PARTS} <= api.keys() and isinstance(api["api_name"], str)


def _record(row: SourceRow, apis: Mapping[str, Mapping[str, Any]]) -> Iterator[Record]:
    names = list(dict.fromkeys(call["api"] for call in row.value["calling"]))
    if any(name not in apis for name in names):
        raise MalformedError("call of an undescribed tool")
    dialogue = Dialogue(NAME, LICENCE, row.value["id"], tools(_function(apis[name]) for name in names))
    dialogue.add_message("user", row.value["query"])
    yield dialogue.add_answer(calls=[gold_call({**call, "name": call["api"]}) for call in row.value["calling"]])


def _function(api: Mapping[str, Any]) -> Mapping[str, Any]:
    schema = {"properties": api["parameters"], "required": api["required"]}
    return {"name": api["api_name"], "description": api["api_description"], "parameters": schema}
