"""`bfcl`: single-turn and multi-turn items with the official verdicts."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from autotool_bench.suites.base import ChatModel, Item, Reading, Reply, Verdict
from autotool_bench.suites.bfcl import categories, environment, gold, official
from autotool_bench.suites.bfcl.episode import Episode, result_of
from autotool_bench.suites.bfcl.process import SECONDS, RefusedError, ScorerProcess

_PAGE = 50


class Bfcl:
    """BFCL v4 of `bfcl-eval`: all single-turn and multi-turn categories, scored by the official functions item by item.

    `names` are categories or groups of them (all, single_turn, non_live, live, multi_turn); None: all. `seconds` limits an
    official operation. Raises AutoToolError for other names, and if the package's environment cannot be created.
    """

    name = "bfcl"
    unsolvable: Mapping[str, str] = gold.UNSOLVABLE

    def __init__(self, names: Sequence[str] | None = None, *, seconds: float = SECONDS) -> None:
        self.categories = categories.select(["all"] if names is None else names)
        self._python = environment.ensure()
        root = environment.cache_folder() / "bfcl-project"
        root.mkdir(parents=True, exist_ok=True)
        self._scorer = ScorerProcess(self._python, root, seconds)
        self._step_limit = self._scorer.hello()["step_limit"]
        self._episodes = itertools.count()

    def items(self, category: str) -> Iterator[Item]:
        for start in itertools.count(0, _PAGE):
            page = self._scorer.call("items", category=category, start=start, count=_PAGE)
            yield from (_item(category, entry) for entry in page)
            if len(page) < _PAGE:
                return

    async def attempt(self, item: Item, model: ChatModel) -> Verdict:
        try:
            if categories.is_multi_turn(item.category):
                result = await Episode(self._scorer, f"episode{next(self._episodes)}", item, self._step_limit).run(model)
            else:
                result = result_of(await model(item.messages, item.tools))
            verdict = await self._scorer.call_async("judge", item=item.id, result=result)
        except RefusedError as error:  # the official run would end on this answer
            return Verdict(0.0, str(error), official.unanswered(item.category, str(error)))
        return Verdict(float(verdict["solved"]), verdict["reason"], result)

    def gold(self, item: Item, *, corrupted: bool = False) -> list[Reply]:
        category, data = item.category, item.gold
        if categories.is_irrelevance(category) or categories.is_relevance(category):
            return gold.text_or_call(item.tools, call=categories.is_relevance(category) != corrupted)
        if categories.is_multi_turn(category):
            tools = [tool for turn in data["turns"] for tool in turn["tools"] or ()]
            return gold.multi_turn(data["answers"], tools, corrupted=corrupted)
        language = category.removeprefix("simple_")
        return gold.single_turn(data["answers"], data["functions"], language, corrupted=corrupted)

    def reading(self, item: Item) -> Reading:
        return Reading(len(item.gold["turns"]), categories.rule(item.category))

    def finish(self, folder: Path, rows: Callable[[str], Iterator[Mapping[str, Any]]], modes: Sequence[str]) -> dict[str, Any]:
        model = self._scorer.hello()["model"]
        figures = {mode: official.evaluate(self._python, folder / "bfcl" / mode, model, rows(mode)) for mode in modes}
        return {mode: figure for mode, figure in figures.items() if figure}

    def close(self) -> None:
        self._scorer.close()


def _item(category: str, entry: Mapping[str, Any]) -> Item:
    first = entry["turns"][0]
    return Item(entry["id"], category, first["messages"], first["tools"], entry)
