"""The report in a terminal."""

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from autotool_bench.report import official, text
from autotool_bench.report.plots import Series, series_of
from autotool_bench.report.summary import RunReport

GAP = 2
"""Columns between two of a table."""
WIDEST = len("not run")
"""Of the figures in a cell."""


def show(runs: Sequence[RunReport], console: Console) -> None:
    """Print the tables of a report."""
    series = series_of(runs)
    console.print(_accuracy(series), _costs(series), sep="\n")
    _official(series, console)
    for table in _categories(series, runs, console.width):
        console.print(table)
    _errors(series, console)


def table_of(title: str, columns: Sequence[str]) -> Table:
    """An empty table: its first column reads from the left, the others hold figures."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
    for at, name in enumerate(columns):
        table.add_column(Text(name), justify="right" if at else "left", overflow="fold", no_wrap=not at)
    return table


def add(table: Table, *cells: str) -> None:
    """A row of plain text, which no label can style."""
    table.add_row(*(Text(cell) for cell in cells))


def _accuracy(series: Sequence[Series]) -> Table:
    table = table_of("Modes", ("mode", "items", "errors", "solved", "accuracy", "95 %", "thinking", "regret"))
    for one in series:
        f, regret = one.report.figures, one.report.regret
        items = f"{f.items} of {f.items + one.report.untried}" if one.report.untried else str(f.items)
        counts = (items, str(f.errors), str(f.solved), text.percent(f.accuracy), text.percent_range(f.accuracy_interval))
        add(table, one.label, *counts, text.percent(f.thinking_rate), text.points(regret.accuracy_regret) if regret else "n/a")
    return table


def _costs(series: Sequence[Series]) -> Table:
    table = table_of("\nTokens and time", ("mode", "tokens/item", "reasoning", "tokens/solved", "ACU", "p50", "p90", "p99"))
    for one in series:
        f = one.report.figures
        spent = (text.tokens(f.generated_tokens), text.tokens(f.reasoning_tokens), text.cost(f.token_cost), text.acu(f.acu))
        times = (f.latency.p50, f.latency.p90, f.latency.p99) if f.latency else ()
        add(table, one.label, *spent, *(text.seconds(time) for time in times))
    return table


def _official(series: Sequence[Series], console: Console) -> None:
    told = {one.label: one.report.official for one in series if one.report.official}
    if not told:
        return
    table = table_of("\nOfficial figures", ("mode", *official.FIGURES.values()))
    for label, figures in told.items():
        add(
            table,
            label,
            *(text.percent(share) if (share := figures.get(name)) is not None else "n/a" for name in official.FIGURES),
        )
    console.print(table)
    left_out: dict[str, list[str]] = {}
    for label, figures in told.items():
        left_out.setdefault(", ".join(figures.get("left_out", ())), []).append(label)
    for names, labels in left_out.items():
        console.print(Text(f"Left out of {', '.join(labels)}: {names or 'nothing'}", style="dim"))


def _categories(series: Sequence[Series], runs: Sequence[RunReport], width: int) -> Iterator[Table]:
    """One table, or as many below each other as so wide a terminal needs."""
    names = {name: None for run in runs for name in run.categories}
    for block in _blocks(series, width - max(map(len, ("category", *map(text.short, names))))):
        table = table_of("\nAccuracy by category", ("category", "items", *(one.label for one in block)))
        for name in names:
            figures = [one.report.categories.get(name) for one in block]
            items = max((f.items for f in figures if f), default=0)
            add(table, text.short(name), str(items), *(text.percent(f.accuracy) if f else "not run" for f in figures))
        yield table


def _blocks(series: Sequence[Series], width: int) -> Iterator[Sequence[Series]]:
    """The series in parts whose labels have room beside each other, one at least."""
    block: list[Series] = []
    for one in series:
        if block and sum(max(len(each.label), WIDEST) + GAP for each in (*block, one)) + WIDEST + GAP > width:
            yield block
            block = []
        block.append(one)
    if block:
        yield block


def _errors(series: Sequence[Series], console: Console) -> None:
    for one in series:
        for error in one.report.errors:
            console.print(Text(f"{one.label}: {error.items} items: {text.short(error.message, 160)}", style="red"))
