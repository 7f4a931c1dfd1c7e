"""`autotool bench compare A B`: two runs, item by item."""

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
from autotool_bench.report.intervals import Interval, difference_interval, mcnemar, percentile_interval, ratio, resampled_sums
from autotool_bench.report.summary import METHOD, finite
from autotool_bench.report.terminal import add, table_of
from autotool_bench.report.write import write_json
from autotool_core.errors import AutoToolError

NAMED = 5
"""How many of the items that only one run holds are named without `ids`."""


@dataclass(frozen=True, slots=True)
class Solved:
    """Ids of the common items, by who solved them."""

    both: tuple[str, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    neither: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A mode of A against a mode of B over the items that both hold. Differences are B less A, ratios B over A."""

    mode_a: str
    mode_b: str
    items: int
    accuracy_a: float
    accuracy_b: float
    difference: float
    difference_interval: Interval
    p_value: float
    """McNemar's exact test, two-sided: how often a fair coin splits the items that one alone solves at least so unevenly."""
    tokens_a: float
    """Mean generated tokens an item."""
    tokens_b: float
    token_ratio: float
    """Infinite where A generated none."""
    token_ratio_interval: Interval
    solved: Solved
    missing_in_a: tuple[str, ...]
    """Ids of items that B holds in its mode and A does not hold in its own: left out of every figure."""
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
    """Print the comparison, and write it as JSON to the file `out`. Raises AutoToolError where nothing can be compared."""
    comparisons = compare_runs(read_run(a), read_run(b), mode_a, mode_b)
    if out is not None:
        write_json(out, comparison_json(a, b, comparisons))
    show(comparisons, console or Console(), ids=ids)


def comparison_json(a: Path, b: Path, comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """The comparison as JSON, an infinite number as null."""
    return {"method": METHOD, "a": str(a), "b": str(b), "comparisons": [finite(asdict(one)) for one in comparisons]}


def compare_runs(a: StoredRun, b: StoredRun, mode_a: str | None = None, mode_b: str | None = None) -> list[Comparison]:
    """Every common mode with itself, or the given modes; one mode given stands for both.

    Raises AutoToolError where suites differ, a mode is missing, or two modes hold no common item.
    """
    if a.about.get("suite") != b.about.get("suite"):
        raise AutoToolError(f"{a.folder} and {b.folder} are runs of different suites: compare two runs of the same one.")
    return [_compare(a, b, *pair) for pair in _pairs(a, b, mode_a, mode_b)]


def _pairs(a: StoredRun, b: StoredRun, mode_a: str | None, mode_b: str | None) -> list[tuple[str, str]]:
    if mode_a is None and mode_b is None:
        pairs = [(mode, mode) for mode in a.items.modes if mode in b.items.modes]
        if not pairs:
            raise AutoToolError(f"{a.folder} and {b.folder} have no mode in common: name one of each by --mode-a and --mode-b.")
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
    """Row by item id."""
    codes = run.items.codes("id")
    return {run.items.ids[codes[row]]: int(row) for row in run.items.rows_of(mode)}


def _counted(run: StoredRun, rows: dict[str, int], ids: Sequence[str]) -> Floats:
    """Solved and generated tokens of the items, (items, 2)."""
    at = [rows[item] for item in ids]
    return np.stack([run.items.columns["solved"][at], run.items.columns["generated"][at]], axis=1)


def _who_solved(ids: Sequence[str], a: Bools, b: Bools) -> Solved:
    groups = (a & b, a & ~b, ~a & b, ~a & ~b)
    both, only_a, only_b, neither = (tuple(str(ids[at]) for at in np.flatnonzero(group)) for group in groups)
    return Solved(both, only_a, only_b, neither)


def show(comparisons: Sequence[Comparison], console: Console, *, ids: bool) -> None:
    """Print comparisons; `ids` lists the items that one alone solves, and all that one run lacks."""
    console.print(_differences(comparisons), _solved(comparisons), sep="\n")
    for one in comparisons:
        _name(console, "only in A, left out", one.missing_in_b, None if ids else NAMED)
        _name(console, "only in B, left out", one.missing_in_a, None if ids else NAMED)
        if ids:
            _name(console, f"only A ({one.mode_a}) solves", one.solved.only_a, None)
            _name(console, f"only B ({one.mode_b}) solves", one.solved.only_b, None)


def _modes(one: Comparison) -> str:
    return one.mode_a if one.mode_a == one.mode_b else f"{one.mode_a} → {one.mode_b}"


def _differences(comparisons: Sequence[Comparison]) -> Table:
    columns = ("A → B", "items", "A", "B", "B less A", "95 %", "p", "tokens B/A", "95 %")
    table = table_of("Accuracy and generated tokens", columns)
    for one in comparisons:
        accuracy = (text.percent(one.accuracy_a), text.percent(one.accuracy_b), text.points(one.difference))
        tokens = (text.factor(one.token_ratio), text.factor_range(one.token_ratio_interval))
        add(
            table,
            _modes(one),
            str(one.items),
            *accuracy,
            text.points_range(one.difference_interval),
            text.p_value(one.p_value),
            *tokens,
        )
    return table


def _solved(comparisons: Sequence[Comparison]) -> Table:
    table = table_of("\nSolved by", ("A → B", "both", "only A", "only B", "neither"))
    for one in comparisons:
        groups = (one.solved.both, one.solved.only_a, one.solved.only_b, one.solved.neither)
        add(table, _modes(one), *(str(len(group)) for group in groups))
    return table


def _name(console: Console, what: str, ids: Sequence[str], most: int | None) -> None:
    if ids:
        named = [text.short(item, 80) for item in ids[:most]]
        more = [f"{len(ids) - len(named)} more"] if len(named) < len(ids) else []
        console.print(Text(f"{len(ids)} {what}: {', '.join([*named, *more])}"))
