"""`acebench`: the normal and special categories of ACEBench's English set.

ACEBench (arXiv 2501.12851, github.com/ACEBench/ACEBench) keeps a category in `data_<category>.json` and its answers in
`possible_answer/data_<category>.json`, one JSON object per line; the directory holds both. Rules and prompts
were read in two public copies of its repository, yxli2123/ACEBench (commit 110e99e) and zeppombal/ACEBench (commit
c9391d0), which are equal: `model_eval/checker.py` and `eval_main.py` (see `normal` and `special`),
`model_inference/prompt/prompt_en.py` (see `prompt`).

A conversation of a multi-turn category is one item. Its steps are requested one by one, each with the right history, and it is
solved if all its steps are: this is the end-to-end accuracy that ACEBench reports for these categories.

The agent categories are not supported: `agent_multi_turn` needs a second model that plays the user, and `agent_multi_step`
needs ACEBench's simulated phone and travel programs.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby, zip_longest
from pathlib import Path
from typing import Any

from autotool_bench.suites.acebench import normal, special
from autotool_bench.suites.acebench.prompt import dialogue, system
from autotool_bench.suites.base import ChatModel, Item, Reading, Reply, SingleTurn, Verdict, select_categories
from autotool_bench.suites.data import convert_rows, find_file, json_lines
from autotool_bench.suites.functions import to_tools
from autotool_core.errors import AutoToolError

CATEGORIES = (
    *("normal_single_turn_single_function", "normal_single_turn_parallel_function"),
    *("normal_multi_turn_user_adjust", "normal_multi_turn_user_switch"),
    *("normal_similar_api", "normal_preference"),
    *("normal_atom_bool", "normal_atom_enum", "normal_atom_number"),
    *("normal_atom_list", "normal_atom_object_deep", "normal_atom_object_short"),
    *("special_incomplete", "special_error_param", "special_irrelevant"),
)


class AceBench(SingleTurn):
    """The suite `acebench`. An item's `gold` is its expected answer; for a conversation, the tuple of its steps as items."""

    name = "acebench"

    def __init__(self, directory: Path, categories: Sequence[str] | None = None) -> None:
        if any(category.startswith("agent") for category in categories or ()):
            raise AutoToolError(
                "ACEBench's agent categories need a second model that plays the user and ACEBench's own simulated programs, "
                f"which this suite does not run: use {', '.join(CATEGORIES)}."
            )
        self.categories = select_categories(categories, CATEGORIES)
        self._directory = directory

    def items(self, category: str) -> Iterator[Item]:
        """Yield the items in the order of the files. Raises AutoToolError for a missing file or a row that cannot be read."""
        path = find_file(self._directory, f"data_{category}.json")
        answers = find_file(self._directory, f"possible_answer/data_{category}.json")
        rows = zip_longest(json_lines(path), json_lines(answers), fillvalue={"id": "no row"})
        steps = convert_rows(path, rows, lambda row: _item(category, *row))
        if not category.startswith("normal_multi_turn"):
            yield from steps
            return
        for name, group in groupby(steps, key=lambda step: step.id.rpartition("_")[0]):
            conversation = tuple(group)
            yield Item(name, category, conversation[0].messages, conversation[0].tools, conversation)

    async def attempt(self, item: Item, model: ChatModel) -> Verdict:
        verdicts = [self.score(step, await model(step.messages, step.tools)) for step in _steps(item)]
        if len(verdicts) == 1:
            return verdicts[0]
        wrong = [f"step {number}: {verdict.reason}" for number, verdict in enumerate(verdicts, 1) if verdict.reason]
        return Verdict(0.0, "; ".join(wrong)) if wrong else Verdict(1.0)

    def score(self, item: Item, answer: Reply) -> Verdict:
        reason = item.gold.judge(answer)
        return Verdict(0.0, reason) if reason else Verdict(1.0)

    def gold(self, item: Item, *, corrupted: bool = False) -> list[Reply]:
        return [step.gold.wrong() if corrupted else step.gold.right() for step in _steps(item)]

    def reading(self, item: Item) -> Reading:
        return Reading(turns=len(_steps(item)))


def _steps(item: Item) -> tuple[Item, ...]:
    return item.gold if isinstance(item.gold, tuple) else (item,)


def _item(category: str, row: dict[str, Any], answer: dict[str, Any]) -> Item:
    if row["id"] != answer["id"]:
        raise ValueError(f"its possible answer is that of {answer['id']}")
    functions = row["function"]
    make = special.expected if category.startswith("special") else normal.expected
    messages = [{"role": "system", "content": system(category, row)}, *dialogue(row["question"])]
    offered = to_tools([(function["name"], function["description"], normal.schema(function)) for function in functions])
    return Item(row["id"], category, messages, offered, make(category, answer["ground_truth"], functions))
