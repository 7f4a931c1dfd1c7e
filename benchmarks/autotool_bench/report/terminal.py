"""The report in a terminal."""

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from autotool_bench.report import official, text
from autotool_bench.report.plots import Series, series_of
from autotool_bench.report.summary import RunReport

GAP = 2
"""Characters between two columns of a table."""
MAX_CELL_WIDTH = len("not run")
"""Width of the widest figure in a cell."""


def show(runs: Sequence[RunReport], console: Console) -> None:
    """Print the tables of a report."""
    series = series_of(runs)
    console.print(_accuracy(series), _costs(series), sep="\n")
    _warnings(series, console)
    _official(series, console)
    for table in _categories(series, runs, console.width):
        console.print(table)
    _errors(series, console)


def table_of(title: str, columns: Sequence[str]) -> Table:
    """Return an empty table whose first column is aligned left and whose others, of figures, are aligned right."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
    for index, name in enumerate(columns):
        table.add_column(Text(name), justify="right" if index else "left", overflow="fold", no_wrap=not index)
    return table


def add(table: Table, *cells: str) -> None:
    """Add a row of plain text, in which labels are not read as markup."""
    table.add_row(*(Text(cell) for cell in cells))


def _accuracy(series: Sequence[Series]) -> Table:
    table = table_of("Modes", ("mode", "items", "errors", "solved", "accuracy", "95 %", "thinking", "regret"))
    for entry in series:
        f, regret = entry.report.figures, entry.report.regret
        items = f"{f.items} of {f.items + entry.report.untried}" if entry.report.untried else str(f.items)
        counts = (items, str(f.errors), str(f.solved), text.percent(f.accuracy), text.percent_range(f.accuracy_interval))
        add(
            table, entry.label, *counts, text.percent(f.thinking_rate), text.points(regret.accuracy_regret) if regret else "n/a"
        )
    return table


def _costs(series: Sequence[Series]) -> Table:
    table = table_of("\nTokens and time", ("mode", "tokens/item", "reasoning", "tokens/solved", "ACU", "p50", "p90", "p99"))
    for entry in series:
        f = entry.report.figures
        spent = (text.tokens(f.generated_tokens), text.tokens(f.reasoning_tokens), text.cost(f.token_cost), text.acu(f.acu))
        times = (f.latency.p50, f.latency.p90, f.latency.p99) if f.latency else ()
        add(table, entry.label, *spent, *(text.seconds(time) for time in times))
    return table


def _warnings(series: Sequence[Series], console: Console) -> None:
    for entry in series:
        if entry.report.warning:
            console.print(Text(f"{entry.label}: {entry.report.warning}", style="yellow"))


def _official(series: Sequence[Series], console: Console) -> None:
    official_of = {entry.label: entry.report.official for entry in series if entry.report.official}
    if not official_of:
        return
    table = table_of("\nOfficial figures", ("mode", *official.FIGURES.values()))
    for label, figures in official_of.items():
        add(
            table,
            label,
            *(text.percent(share) if (share := figures.get(name)) is not None else "n/a" for name in official.FIGURES),
        )
    console.print(table)
    left_out: dict[str, list[str]] = {}
    for label, figures in official_of.items():
        left_out.setdefault(", ".join(figures.get("left_out", ())), []).append(label)
    for names, labels in left_out.items():
        console.print(Text(f"Left out of {', '.join(labels)}: {names or 'nothing'}", style="dim"))


def _categories(series: Sequence[Series], runs: Sequence[RunReport], width: int) -> Iterator[Table]:
    """Yield one table, or several if the terminal is too narrow for one."""
    names = {name: None for run in runs for name in run.categories}
    for block in _blocks(series, width - max(map(len, ("category", *map(text.short, names))))):
        table = table_of("\nAccuracy by category", ("category", "items", *(entry.label for entry in block)))
        for name in names:
            figures = [entry.report.categories.get(name) for entry in block]
            items = max((f.items for f in figures if f), default=0)
            add(table, text.short(name), str(items), *(text.percent(f.accuracy) if f else "not run" for f in figures))
        yield table


def _blocks(series: Sequence[Series], width: int) -> Iterator[Sequence[Series]]:
    """Split the series into blocks, of one series at least, whose labels fit into the width."""
    block: list[Series] = []
    for entry in series:
        if (
            block
            and sum(max(len(member.label), MAX_CELL_WIDTH) + GAP for member in (*block, entry)) + MAX_CELL_WIDTH + GAP > width
        ):
            yield block
            block = []
        block.append(entry)
    if block:
        yield block


def _errors(series: Sequence[Series], console: Console) -> None:
    for entry in series:
        for error in entry.report.errors:
            console.print(Text(f"{entry.label}: {error.items} items: {text.short(error.message, 160)}", style="red"))
