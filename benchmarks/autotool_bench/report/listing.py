"""The items of a run in a terminal: `autotool bench items RUN`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from autotool_bench import items, rows
from autotool_bench.report import text
from autotool_bench.report.attempts import Attempt, ItemAttempts, message_text, read_items, verdict_of
from autotool_bench.report.columns import read_json
from autotool_core.errors import AutoToolError

SHOWN = 600
"""Characters of a text that are shown unless whole texts are asked for."""
STYLES = {"solved": "green", "wrong": "red", "error": "yellow"}


@dataclass(frozen=True, slots=True)
class Selection:
    """Which items are shown: those with an attempt that has all of these properties. None or empty: any."""

    mode: str | None = None
    wrong: bool | None = None
    categories: tuple[str, ...] | None = None
    ids: tuple[str, ...] = ()
    search: str | None = None

    def takes(self, row: Mapping[str, Any], question: Mapping[str, Any]) -> bool:
        """Return whether the row is such an attempt."""
        return (
            self.mode in (None, row["mode"])
            and self.wrong in (None, verdict_of(row) != "solved")
            and (self.categories is None or row["category"] in self.categories)
            and (not self.ids or row["id"] in self.ids)
            and (self.search is None or self.search.casefold() in _searched(row, question).casefold())
        )


def _searched(row: Mapping[str, Any], question: Mapping[str, Any]) -> str:
    messages = [*question.get("messages", ()), *question.get("gold", ()), *row["answers"]]
    texts = (f"{message_text(message)}\n{message.get('reasoning') or ''}" for message in messages)
    return "\n".join([row["id"], row["reason"] or "", row["error"] or "", *texts])


def show_items(
    folder: Path,
    selection: Selection,
    *,
    limit: int | None = None,
    full: bool = False,
    as_json: bool = False,
    console: Console | None = None,
) -> None:
    """Print the items of a run that the selection takes. Raises AutoToolError if it is no run or lacks the mode."""
    console = console or Console()
    modes = _modes(folder, selection.mode)
    found = _select(folder, selection)
    shown = found[:limit]
    for item in read_items([(folder, {mode: mode for mode in modes})], shown):
        if as_json:
            console.print(json.dumps(asdict(item), ensure_ascii=False), markup=False, highlight=False, soft_wrap=True)
        else:
            _show(item, selection.mode, console, None if full else SHOWN)
    if not as_json:
        more = "" if len(shown) == len(found) else "; --limit 0 shows all"
        console.print(Text(f"{len(shown)} of {text.counted(len(found), 'such item')}{more}", style="dim"))


def _modes(folder: Path, wanted: str | None) -> list[str]:
    if read_json(folder / "run.json") is None:
        raise AutoToolError(f"{folder} holds no run.json: name a folder that `autotool bench run --out` wrote.")
    modes = list({row["mode"]: None for row in rows.read(folder)})
    if wanted is not None and wanted not in modes:
        raise AutoToolError(f"--mode: {folder} has no mode {wanted!r}, only {', '.join(modes)}.")
    return modes


def _select(folder: Path, selection: Selection) -> list[str]:
    """Return the ids of the items that the selection takes, in the order of their rows."""
    searched = selection.search is not None
    questions = {item["id"]: item for item in items.read(folder)} if searched else {}
    return list({row["id"]: None for row in rows.read(folder) if selection.takes(row, questions.get(row["id"], {}))})


def _show(item: ItemAttempts, mode: str | None, console: Console, length: int | None) -> None:
    console.print(Text(f"{item.id} · {item.category}", style="bold"))
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    _add(grid, "question", item.question or ("not stored by this run",), length)
    _add(grid, "tools", (", ".join(item.tools),), length)
    _add(grid, "expected", item.gold, length)
    for attempt in item.attempts:
        if mode in (None, attempt.mode):
            grid.add_row(attempt.label, Text(summary(attempt), style=STYLES[attempt.verdict]))
            _add(grid, "  reasoning", attempt.reasoning, length)
            _add(grid, "  answer", attempt.answers, length)
    others = [f"{attempt.label} {attempt.verdict}" for attempt in item.attempts if mode not in (None, attempt.mode)]
    _add(grid, "others", (", ".join(others),), length)
    console.print(grid, "")


def _add(grid: Table, name: str, texts: Sequence[str], length: int | None) -> None:
    for index, part in enumerate(filter(None, texts)):
        grid.add_row("" if index else name, Text(text.cut(part, length)))


def summary(attempt: Attempt) -> str:
    """Return verdict and figures of an attempt: "wrong: no call (long, 132 tokens)"."""
    reason = f": {attempt.reason}" if attempt.reason else ""
    facts = [attempt.resolved] if attempt.resolved else []
    facts += [text.counted(attempt.tokens, "token"), *(["cut at the maximum of tokens"] if attempt.cut else [])]
    return f"{attempt.verdict}{reason} ({', '.join(facts)})"
