"""The items of a report's page: as many as keep the page small, those first on which the attempts differ."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autotool_bench.report import text
from autotool_bench.report.attempts import Attempt, ItemAttempts, order_of_interest, read_items, read_verdicts
from autotool_bench.report.groups import Group
from autotool_bench.report.plots import Series
from autotool_bench.report.summary import RunReport

MAX_ITEMS = 300
MAX_CHARACTERS = 400_000
"""Characters of all items of a page."""
SHOWN = 1500
"""Characters of a text that are shown."""


@dataclass(frozen=True, slots=True)
class ItemList:
    """Items of runs, and what they can be filtered by."""

    items: Sequence[ItemAttempts]
    total: int
    """Number of items of the runs, shown or not."""
    categories: Sequence[str]
    labels: Sequence[str]
    commands: Sequence[str]
    """The command for each run that shows its unsolved items in a terminal."""


def of_group(group: Group, series: Sequence[Series]) -> ItemList:
    """Return the items of the runs of a group."""
    runs = [(Path(run.folder), _labels(series, run.label)) for run in group.runs]
    order = order_of_interest(read_verdicts(runs))
    items = list(_bounded(read_items(runs, order[:MAX_ITEMS])))
    return ItemList(
        items=items,
        total=len(order),
        categories=list(dict.fromkeys(item.category for item in items)),
        labels=[entry.label for entry in series],
        commands=[_command(run) for run in group.runs],
    )


def _command(run: RunReport) -> str:
    modes = [report.mode for report in run.modes]
    mode = "auto" if "auto" in modes else modes[0]
    return shlex.join(["autotool", "bench", "items", run.folder, "--wrong", *(["--mode", mode] if len(modes) > 1 else [])])


def _labels(series: Sequence[Series], run: str) -> Mapping[str, str]:
    return {entry.report.mode: entry.label for entry in series if entry.run == run}


def _bounded(items: Iterator[ItemAttempts]) -> Iterator[ItemAttempts]:
    """Yield items with cut texts until the page is full; the first one always."""
    used = 0
    for item in items:
        shown = _cut(item)
        used += _size(shown)
        if used > MAX_CHARACTERS and used > _size(shown):
            return
        yield shown


def _cut(item: ItemAttempts) -> ItemAttempts:
    return replace(
        item,
        question=_cut_all(item.question),
        gold=_cut_all(item.gold),
        attempts=tuple(_cut_attempt(attempt) for attempt in item.attempts),
    )


def _cut_attempt(attempt: Attempt) -> Attempt:
    reason = None if attempt.reason is None else text.cut(attempt.reason, SHOWN)
    return replace(attempt, reason=reason, reasoning=_cut_all(attempt.reasoning), answers=_cut_all(attempt.answers))


def _cut_all(parts: Sequence[str]) -> tuple[str, ...]:
    return tuple(text.cut(part, SHOWN) for part in parts)


def _size(item: ItemAttempts) -> int:
    """Return about how many characters the page spends on an item, with its markup."""
    texts = [*item.question, *item.gold]
    for attempt in item.attempts:
        texts += [*attempt.answers, *attempt.reasoning, attempt.reason or ""]
    return 300 + 200 * len(item.attempts) + sum(map(len, texts))
