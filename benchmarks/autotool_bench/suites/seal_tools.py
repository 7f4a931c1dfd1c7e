"""`seal-tools`: all calls of a request in one turn, mostly three or more; the test set outside the training domains.

Seal-Tools (arXiv 2405.08355, github.com/fairyshine/Seal-Tools): `seal_tools_out_domain.jsonl` (there
`test_out_domain.jsonl`), and the descriptions of its functions, `seal_tools_apis.jsonl` (there `tool.jsonl`), in the same
directory or in a sibling `train`. An item's tools are the functions that its gold calls name, and others that are
sampled from the descriptions with the item's id as the seed, shuffled.

The published metric is precision, recall and F1 of tools and of single parameters, over the whole set. This suite is strict: an
item is solved by exactly its gold calls (`autotool_core.calls.same_calls`), because a request with one wrong call of three is
not a solved task.

In a few items a call takes a result of an earlier call. The data write such a value as `API_call_N`, where the results of all
calls are numbered in the order of the calls, and the answer must do the same: the system message explains it, and each
description lists what its function returns.
"""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from autotool_bench.suites.base import ExactCalls, Item, Reply, ToolCall, select_categories
from autotool_bench.suites.data import convert_rows, find_file, json_lines
from autotool_bench.suites.functions import to_tools
from autotool_core.calls import Call
from autotool_core.function_schemas import plain_name

DISTRACTORS = 5
"""Number of tools of an item that its gold calls do not use."""
SYSTEM = (
    "Make every tool call that the request needs, all in one turn, in the order of the request. What the calls return is "
    "numbered from 0, through all calls in their order, and for each call in the order that its tool's description lists. "
    "Where an argument is something that an earlier call returns, write API_call_ and that number, such as API_call_0."
)


class SealTools(ExactCalls):
    """The suite `seal-tools`, with the categories `easy` (one call) and `difficult` (several calls, some nested)."""

    name = "seal-tools"

    def __init__(self, directory: Path, categories: Sequence[str] | None = None) -> None:
        self.categories = select_categories(categories, ["easy", "difficult"])
        self._path = find_file(directory, "seal_tools_out_domain.jsonl", "test_out_domain.jsonl")
        self._apis = find_file(directory, "seal_tools_apis.jsonl", "../train/seal_tools_apis.jsonl", "tool.jsonl")

    def items(self, category: str) -> Iterator[Item]:
        """Yield the items in the order of the file. Raises AutoToolError for a row that cannot be read."""
        apis = {api["api_name"]: api for api in convert_rows(self._apis, json_lines(self._apis), _described)}
        # Rows of the other category are converted too, so that an error names the right row number.
        rows = convert_rows(self._path, json_lines(self._path), lambda row: _item(row, apis))
        yield from (item for item in rows if item.category == category)

    def gold(self, item: Item, *, corrupted: bool = False) -> list[Reply]:
        kept = item.gold[:-1] if corrupted else item.gold
        return [Reply(calls=tuple(ToolCall(call.name, json.dumps(call.arguments)) for call in kept))]


def _described(api: Mapping[str, Any]) -> Mapping[str, Any]:
    _function(api)
    return api


def _item(row: Mapping[str, Any], apis: Mapping[str, Mapping[str, Any]]) -> Item:
    category = row["id"].split("-")[-2]
    gold = [Call(plain_name(call["api"]), call["parameters"]) for call in row["calling"]]
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": row["query"]}]
    return Item(row["id"], category, messages, to_tools([_function(apis[name]) for name in _chosen(row, apis)]), gold)


def _chosen(row: Mapping[str, Any], apis: Mapping[str, Any]) -> list[str]:
    needed = list(dict.fromkeys(call["api"] for call in row["calling"]))
    draw = random.Random(row["id"])  # noqa: S311 - the same tools in every run, nothing secret
    names = needed + draw.sample([name for name in apis if name not in needed], min(DISTRACTORS, len(apis) - len(needed)))
    draw.shuffle(names)
    return names


def _function(api: Mapping[str, Any]) -> tuple[str, str, Mapping[str, Any]]:
    text = f"{api['api_description'].rstrip('.')}. Returns: {', '.join(api['responses']) or 'nothing'}."
    return api["api_name"], text, {"type": "object", "properties": api["parameters"], "required": api["required"]}
