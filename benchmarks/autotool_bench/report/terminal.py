"""The report in a terminal."""

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from autotool_bench.report import official, text
from autotool_bench.report.groups import Group, date_of, group_runs, model_of
from autotool_bench.report.plots import Series, series_of, warnings_of
from autotool_bench.report.summary import RunReport

GAP = 2
"""Characters between two columns of a table."""
MAX_CELL_WIDTH = len("not run")
"""Width of the widest figure in a cell."""
MAX_CATEGORY_WIDTH = 32
OTHER_ITEMS = (
    "These runs are not all of the same items, so that their figures are not compared: each group above is of the same "
    "items. `autotool bench compare A B` pairs the items that two runs of a suite have in common."
)


def show(runs: Sequence[RunReport], console: Console) -> None:
    """Print the tables of a report, for each group of runs of the same items."""
    groups = group_runs(runs)
    for index, group in enumerate(groups):
        console.print(*([""] if index else []), heading(group.runs), sep="\n")
        _show_group(group, console)
    if len(groups) > 1:
        console.print(Text(f"\n{OTHER_ITEMS}"))


def heading(runs: Sequence[RunReport]) -> Text:
    """Return what was measured: the suite and its items, then a line for each run."""
    lines = [Text(Group(tuple(runs)).title, style="bold")]
    for run, name in zip(runs, text.short_names([run.label for run in runs], text.RUN_LENGTH), strict=True):
        facts = [f"model {model_of(run)}", f"modes {', '.join(mode.mode for mode in run.modes)}", f"started {date_of(run)}"]
        lines.append(Text(f"{name}: {', '.join(facts)}", style="dim"))
    return Text("\n").join(lines)


def _show_group(group: Group, console: Console) -> None:
    series = series_of(group.runs)
    console.print("", _accuracy(series), _tokens(series), _latency(series), sep="\n")
    _untried(series, console)
    show_warnings(series, console)
    _official(series, console)
    for table in _categories(series, group.runs, console.width):
        console.print(table)
    _errors(series, console)


def table_of(title: str, columns: Sequence[str]) -> Table:
    """Return an empty table whose first column is aligned left and whose others, of figures, are aligned right.

    In a narrow terminal the first column is wrapped and the figures stay whole.
    """
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
    for index, name in enumerate(columns):
        table.add_column(Text(name), justify="right" if index else "left", overflow="fold", no_wrap=bool(index))
    return table


def add(table: Table, *cells: str) -> None:
    """Add a row of plain text, in which labels are not read as markup."""
    table.add_row(*(Text(cell) for cell in cells))


def _accuracy(series: Sequence[Series]) -> Table:
    has_regret = any(entry.report.regret for entry in series)
    columns = ("mode", "items", "errors", "solved", "accuracy", "95 %", "thinking")
    table = table_of("Accuracy", (*columns, *(["regret"] if has_regret else [])))
    for entry in series:
        f, regret = entry.report.figures, entry.report.regret
        counts = (str(f.items), str(f.errors), str(f.solved), text.percent(f.accuracy), text.percent_range(f.accuracy_interval))
        shown = (*counts, "n/a" if f.thinking_rate is None else text.percent(f.thinking_rate))
        add(table, entry.label, *shown, *([text.points(regret.accuracy_regret) if regret else "n/a"] if has_regret else []))
    return table


def _tokens(series: Sequence[Series]) -> Table:
    has_acu = any(entry.report.figures.acu is not None for entry in series)
    columns = ("mode", "tokens/item", "reasoning", "tokens/solved", *(["ACU"] if has_acu else []))
    table = table_of("\nGenerated tokens", columns)
    for entry in series:
        f = entry.report.figures
        spent = (text.tokens(f.generated_tokens), text.tokens(f.reasoning_tokens), text.cost(f.token_cost))
        add(table, entry.label, *spent, *([text.acu(f.acu)] if has_acu else []))
    return table


def _latency(series: Sequence[Series]) -> Table:
    table = table_of("\nTime per item", ("mode", "p50", "p90", "p99"))
    for entry in series:
        times = entry.report.figures.latency
        quantiles = [text.seconds(time) for time in (times.p50, times.p90, times.p99)] if times else ["none served", "", ""]
        add(table, entry.label, *quantiles)
    return table


def _untried(series: Sequence[Series], console: Console) -> None:
    for entry in series:
        if entry.report.untried:
            console.print(Text(f"{entry.label}: {text.counted(entry.report.untried, 'item')} not attempted", style="red"))


def show_warnings(series: Sequence[Series], console: Console) -> None:
    """Print what makes figures of a mode misleading."""
    for warning in warnings_of(series):
        console.print(Text(warning, style="yellow"))


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
    found = list(dict.fromkeys(name for run in runs for name in run.categories))
    names = dict(zip(found, text.short_names(found, MAX_CATEGORY_WIDTH), strict=True))
    for block in _blocks(series, width - max(map(len, ("category", *names.values())))):
        table = table_of("\nAccuracy by category", ("category", "items", *(_head(entry) for entry in block)))
        for name, shown in names.items():
            figures = [entry.report.categories.get(name) for entry in block]
            items = max((f.items for f in figures if f), default=0)
            add(table, shown, str(items), *(text.percent(f.accuracy) if f else "not run" for f in figures))
        yield table


def _head(entry: Series) -> str:
    """Return the head of a series' column: its run above its mode, which takes less width than both in a line."""
    return entry.label.replace(" · ", "\n")


def _width(entry: Series) -> int:
    return GAP + max(MAX_CELL_WIDTH, *map(len, _head(entry).splitlines()))


def _blocks(series: Sequence[Series], width: int) -> Iterator[Sequence[Series]]:
    """Split the series into blocks, of one series at least, whose labels fit into the width."""
    block: list[Series] = []
    for entry in series:
        if block and sum(map(_width, (*block, entry))) + MAX_CELL_WIDTH + GAP > width:
            yield block
            block = []
        block.append(entry)
    if block:
        yield block


def _errors(series: Sequence[Series], console: Console) -> None:
    for entry in series:
        for error in entry.report.errors:
            console.print(
                Text(f"{entry.label}: {text.counted(error.items, 'item')}: {text.short(error.message, 160)}", style="red")
            )
