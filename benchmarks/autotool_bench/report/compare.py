"""Compare two runs item by item: `autotool bench compare A B`."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from autotool_bench.report import text
from autotool_bench.report.columns import Bools, Floats, StoredRun, read_run
from autotool_bench.report.summary import METHOD, finite
from autotool_bench.report.terminal import add, table_of
from autotool_bench.report.write import write_json
from autotool_core.console import plain_console
from autotool_core.errors import AutoToolError
from autotool_core.intervals import Interval, difference_interval, mcnemar, percentile_interval, ratio, resampled_sums

MAX_LISTED = 5
"""Number of items held by one run only that are listed without `ids`."""


@dataclass(frozen=True, slots=True)
class Solved:
    """Ids of the common items, by the run that solves them."""

    both: tuple[str, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    neither: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A mode of A against a mode of B over the items that both hold. Differences are B - A, ratios B / A."""

    mode_a: str
    mode_b: str
    items: int
    accuracy_a: float
    accuracy_b: float
    difference: float
    difference_interval: Interval
    p_value: float
    """P-value of McNemar's exact test, two-sided, over the items that exactly one of the two solves."""
    tokens_a: float
    """Mean generated tokens per item."""
    tokens_b: float
    token_ratio: float
    """Infinite if A generated no tokens."""
    token_ratio_interval: Interval
    solved: Solved
    missing_in_a: tuple[str, ...]
    """Ids of the items that B holds in its mode and A does not: they count in no figure."""
    missing_in_b: tuple[str, ...]


def compare(
    a: Path,
    b: Path,
    mode_a: str | None = None,
    mode_b: str | None = None,
    *,
    ids: bool = False,
    out: Path | None = None,
    console: Console | None = None,
) -> None:
    """Print the comparison, and write it as JSON to the file `out`. Raises AutoToolError if the runs cannot be compared."""
    console, runs = console or plain_console(), (read_run(a), read_run(b))
    comparisons = compare_runs(*runs, mode_a, mode_b)
    if out is not None:
        write_json(out, comparison_json(a, b, comparisons))
    for name, run in zip("AB", runs, strict=True):
        console.print(Text(f"{name}: {_described(run)}", style="dim"))
    show(comparisons, console, ids=ids)


def _described(run: StoredRun) -> str:
    """Say what a run measured."""
    started = str(run.about.get("started") or "")[:10] or "unknown date"
    suite, model = run.about.get("suite"), text.short(str(run.about.get("model")))
    return f"{run.label}: {suite}, {text.counted(len(run.items.ids), 'item')}, model {model}, started {started}"


def comparison_json(a: Path, b: Path, comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Return the comparison as JSON, with null for an infinite number."""
    return {
        "method": METHOD,
        "a": str(a),
        "b": str(b),
        "comparisons": [finite(asdict(comparison)) for comparison in comparisons],
    }


def compare_runs(a: StoredRun, b: StoredRun, mode_a: str | None = None, mode_b: str | None = None) -> list[Comparison]:
    """Compare every common mode with itself, or the given modes; a single given mode stands for both runs.

    Raises AutoToolError if the suites differ, a mode is missing, or two modes have no common item.
    """
    if a.about.get("suite") != b.about.get("suite"):
        raise AutoToolError(f"{a.folder} and {b.folder} are runs of different suites: compare two runs of the same one.")
    return [_compare(a, b, *pair) for pair in _pairs(a, b, mode_a, mode_b)]


def _pairs(a: StoredRun, b: StoredRun, mode_a: str | None, mode_b: str | None) -> list[tuple[str, str]]:
    if mode_a is None and mode_b is None:
        pairs = [(mode, mode) for mode in a.items.modes if mode in b.items.modes]
        if not pairs:
            raise AutoToolError(
                f"{a.folder} and {b.folder} have no mode in common: name a mode of each by --mode-a and --mode-b."
            )
        return pairs
    first, second = mode_a or mode_b or "", mode_b or mode_a or ""
    for run, mode, option in ((a, first, "--mode-a"), (b, second, "--mode-b")):
        if mode not in run.items.modes:
            raise AutoToolError(f"{option}: {run.folder} has no mode {mode!r}, only {', '.join(run.items.modes)}.")
    return [(first, second)]


def _compare(a: StoredRun, b: StoredRun, mode_a: str, mode_b: str) -> Comparison:
    rows_a, rows_b = _rows(a, mode_a), _rows(b, mode_b)
    ids = [item for item in rows_a if item in rows_b]
    if not ids:
        raise AutoToolError(f"{mode_a} of {a.folder} and {mode_b} of {b.folder} have no item in common: nothing to compare.")
    paired = np.hstack([_counted(a, rows_a, ids), _counted(b, rows_b, ids)])
    sums = resampled_sums(paired, a.items.codes("category")[[rows_a[item] for item in ids]]).sum(axis=0)
    solved_a, tokens_a, solved_b, tokens_b = (float(value) for value in paired.mean(axis=0))
    solved = _who_solved(ids, paired[:, 0] > 0, paired[:, 2] > 0)
    return Comparison(
        mode_a,
        mode_b,
        items=len(ids),
        accuracy_a=solved_a,
        accuracy_b=solved_b,
        difference=solved_b - solved_a,
        difference_interval=difference_interval(sums[:, 2] - sums[:, 0], len(ids)),
        p_value=mcnemar(len(solved.only_a), len(solved.only_b)),
        tokens_a=tokens_a,
        tokens_b=tokens_b,
        token_ratio=tokens_b / tokens_a if tokens_a else np.inf,
        token_ratio_interval=percentile_interval(ratio(sums[:, 3], sums[:, 1])),
        solved=solved,
        missing_in_a=tuple(item for item in rows_b if item not in rows_a),
        missing_in_b=tuple(item for item in rows_a if item not in rows_b),
    )


def _rows(run: StoredRun, mode: str) -> dict[str, int]:
    """Return the row of each item id."""
    codes = run.items.codes("id")
    return {run.items.ids[codes[row]]: int(row) for row in run.items.rows_of(mode)}


def _counted(run: StoredRun, rows: dict[str, int], ids: Sequence[str]) -> Floats:
    """Return solved and generated tokens of the items, (items, 2)."""
    indices = [rows[item] for item in ids]
    return np.stack([run.items.columns["solved"][indices], run.items.columns["generated"][indices]], axis=1)


def _who_solved(ids: Sequence[str], a: Bools, b: Bools) -> Solved:
    groups = (a & b, a & ~b, ~a & b, ~a & ~b)
    both, only_a, only_b, neither = (tuple(str(ids[index]) for index in np.flatnonzero(group)) for group in groups)
    return Solved(both, only_a, only_b, neither)


def show(comparisons: Sequence[Comparison], console: Console, *, ids: bool) -> None:
    """Print comparisons; `ids` lists the items that only one run solves, and all items that one run lacks."""
    console.print(_accuracy(comparisons), _tokens(comparisons), _solved(comparisons), sep="\n")
    for comparison in comparisons:
        _list_ids(console, "only in A, left out", comparison.missing_in_b, None if ids else MAX_LISTED)
        _list_ids(console, "only in B, left out", comparison.missing_in_a, None if ids else MAX_LISTED)
        if ids:
            _list_ids(console, f"only A ({comparison.mode_a}) solves", comparison.solved.only_a, None)
            _list_ids(console, f"only B ({comparison.mode_b}) solves", comparison.solved.only_b, None)


def _modes(comparison: Comparison) -> str:
    return comparison.mode_a if comparison.mode_a == comparison.mode_b else f"{comparison.mode_a} → {comparison.mode_b}"


def _accuracy(comparisons: Sequence[Comparison]) -> Table:
    table = table_of("Accuracy, of the items that both have", ("A → B", "items", "A", "B", "B - A", "95 %", "p"))
    for comparison in comparisons:
        add(
            table,
            _modes(comparison),
            str(comparison.items),
            text.percent(comparison.accuracy_a),
            text.percent(comparison.accuracy_b),
            text.points(comparison.difference),
            text.points_range(comparison.difference_interval),
            text.p_value(comparison.p_value),
        )
    return table


def _tokens(comparisons: Sequence[Comparison]) -> Table:
    table = table_of("\nGenerated tokens per item", ("A → B", "A", "B", "B / A", "95 %"))
    for comparison in comparisons:
        means = (text.tokens(comparison.tokens_a), text.tokens(comparison.tokens_b), text.factor(comparison.token_ratio))
        add(table, _modes(comparison), *means, text.factor_range(comparison.token_ratio_interval))
    return table


def _solved(comparisons: Sequence[Comparison]) -> Table:
    table = table_of("\nSolved by", ("A → B", "both", "only A", "only B", "neither"))
    for comparison in comparisons:
        groups = (comparison.solved.both, comparison.solved.only_a, comparison.solved.only_b, comparison.solved.neither)
        add(table, _modes(comparison), *(str(len(group)) for group in groups))
    return table


def _list_ids(console: Console, title: str, ids: Sequence[str], max_listed: int | None) -> None:
    if ids:
        listed = [text.short(item, 80) for item in ids[:max_listed]]
        more = [f"{len(ids) - len(listed)} more"] if len(listed) < len(ids) else []
        console.print(Text(f"{len(ids)} {title}: {', '.join([*listed, *more])}"))
