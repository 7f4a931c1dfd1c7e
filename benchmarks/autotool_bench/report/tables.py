"""The tables of the report's pages, as data that one template shows: as a table, or as a card for each row on a phone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autotool_bench.report import official, text
from autotool_bench.report.groups import Group, measured
from autotool_bench.report.metrics import Figures
from autotool_bench.report.plots import Series

MAX_UNWRAPPED = 36
"""Characters of a text that is not wrapped."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell: a figure, and below it notes such as its interval."""

    text: str
    notes: tuple[str, ...] = ()
    kind: str = ""
    """Class of the style: `strong`, `bad`, `missing`, `left` (a short text) or `words` (one that may be wrapped)."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row: its name, the mode whose marker stands before it, and its cells."""

    name: str
    mode: str | None
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table. The first of the columns is that of the rows' names."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def number(shown: str) -> Cell:
    """Return a cell with a figure, in the style of a missing one where there is none."""
    return Cell(shown, kind="missing" if shown in (text.NOT_REPORTED, text.NONE_SOLVED) else "")


def measured_table(groups: Sequence[Group]) -> Table:
    """Return what each run measured."""
    runs = [run for group in groups for run in group.runs]
    names = list({name: None for run in runs for name in measured(run)})
    facts = [(run.label, measured(run)) for run in runs]
    rows = [Row(label, None, tuple(_fact(fact.get(name, "not set")) for name in names)) for label, fact in facts]
    return Table("What was measured", ("run", *names), tuple(rows))


def _fact(shown: str) -> Cell:
    return Cell(shown, kind="left" if len(shown) <= MAX_UNWRAPPED else "words")


def modes_table(series: Sequence[Series]) -> Table:
    """Return the figures of every mode."""
    has_acu = any(entry.report.figures.acu is not None for entry in series)
    columns = ["mode", "items", "accuracy", "generated tokens per item", "token cost per solved task", "thinking rate"]
    columns += [*(["ACU"] if has_acu else []), "latency, median", "errors"]
    rows = [Row(entry.label, entry.report.mode, tuple(_mode_cells(entry, has_acu))) for entry in series]
    return Table("Every mode; below a figure its 95 % interval", tuple(columns), tuple(rows))


def _mode_cells(entry: Series, has_acu: bool) -> list[Cell]:
    f = entry.report.figures
    untried = (f"{entry.report.untried} not attempted",) if entry.report.untried else ()
    cells = [Cell(f"{f.items:,}", (f"{f.solved:,} solved", *untried)), *cost_cells(f), number(text.percent(f.thinking_rate))]
    if has_acu:
        cells.append(Cell(text.acu(f.acu)))
    times = f.latency
    quantiles = (f"90 % within {text.seconds(times.p90)}", f"99 % within {text.seconds(times.p99)}") if times else ()
    cells.append(Cell(text.seconds(times.p50), quantiles) if times else Cell("none served", kind="missing"))
    return [*cells, Cell(f"{f.errors:,}", kind="bad" if f.errors else "")]


def cost_cells(f: Figures) -> list[Cell]:
    """Return accuracy, tokens per item and token cost, with their intervals."""
    generated = (text.range_of(f.generated_interval),) if f.generated_interval else ()
    cost = text.cost(f.token_cost)
    return [
        Cell(text.percent(f.accuracy), (text.percent_range(f.accuracy_interval),), "strong"),
        Cell(text.tokens(f.generated_tokens), generated) if generated else number(text.tokens(f.generated_tokens)),
        Cell(cost, (text.range_of(f.token_cost_interval),)) if f.solved else number(cost),
    ]


def official_table(series: Sequence[Series]) -> Table:
    """Return the figures of the suite's official scorer; without rows if there are none."""
    rows = [
        Row(entry.label, entry.report.mode, tuple(_official_cells(entry.report.official)))
        for entry in series
        if entry.report.official
    ]
    return Table("The official scorer's figures", ("mode", *official.FIGURES.values(), "left out"), tuple(rows))


def _official_cells(figures: Mapping[str, object]) -> list[Cell]:
    values = [figures.get(name) for name in official.FIGURES]
    left_out = figures.get("left_out") or ()
    names = ", ".join(map(str, left_out)) if isinstance(left_out, list | tuple) else ""
    shown = [Cell(text.percent(value) if isinstance(value, int | float) else "n/a") for value in values]
    return [*shown, Cell(names or "none", kind="words")]


def category_table(series: Sequence[Series], names: Sequence[str]) -> Table:
    """Return accuracy and tokens by category."""
    rows = [Row(name, None, tuple(_category_cell(entry.report.categories.get(name)) for entry in series)) for name in names]
    caption = "Accuracy, its 95 % interval and generated tokens per item, by category"
    return Table(caption, ("category", *(entry.label for entry in series)), tuple(rows))


def _category_cell(f: Figures | None) -> Cell:
    if f is None:
        return Cell("not run", kind="missing")
    tokens = "" if f.generated_tokens is None else f" · {text.tokens(f.generated_tokens)} tokens"
    errors = (f"errors: {f.errors}",) if f.errors else ()
    notes = (text.percent_range(f.accuracy_interval), f"{f.solved} of {f.items}{tokens}", *errors)
    return Cell(text.percent(f.accuracy), notes)


def tokens_table(series: Sequence[Series]) -> Table:
    """Return the mean tokens of a served item by kind."""
    columns = ("mode", "served items", "prompt", "cached prompt", "generated", "reasoning", "content")
    return Table("Mean tokens of a served item", columns, tuple(Row(e.label, e.report.mode, _token_cells(e)) for e in series))


def _token_cells(entry: Series) -> tuple[Cell, ...]:
    f = entry.report.figures
    counts = (f.prompt_tokens, f.cached_tokens, f.generated_tokens, f.reasoning_tokens, f.content_tokens)
    return (Cell(f"{f.served:,}"), *(number(text.tokens(count)) for count in counts))


def regret_table(series: Sequence[Series]) -> Table:
    """Return the modes against the oracle; without rows if no run has both forced modes."""
    rows: list[Row] = []
    for entry in series:
        if r := entry.report.regret:
            shown = (f"{r.items:,}", text.percent(r.accuracy), text.percent(r.oracle_accuracy))
            regret = Cell(text.points(r.accuracy_regret), kind="strong")
            cells = (*map(Cell, shown), regret, Cell(text.factor(r.token_ratio)))
            rows.append(Row(entry.label, entry.report.mode, cells))
    columns = ("mode", "items", "accuracy", "oracle's", "regret", "tokens / oracle's")
    return Table("Regret against the per-item oracle", columns, tuple(rows))


def errors_table(series: Sequence[Series]) -> Table:
    """Return the most frequent errors; without rows if there was none."""
    rows = [
        Row(entry.label, entry.report.mode, (Cell(f"{error.items:,}", kind="bad"), Cell(error.message, kind="words")))
        for entry in series
        for error in entry.report.errors
    ]
    return Table("The most frequent errors; their items count as unsolved", ("mode", "items", "message"), tuple(rows))
