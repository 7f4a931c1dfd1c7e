"""The items of a run in a terminal: `autotool bench items RUN`."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from autotool_bench import items, rows
from autotool_bench.report import text
from autotool_bench.report.attempts import (
    Attempt,
    ItemAttempts,
    asked,
    is_answer_cut,
    is_thought_cut,
    message_text,
    read_items,
    verdict_of,
)
from autotool_bench.report.columns import read_json
from autotool_core.console import plain_console
from autotool_core.errors import AutoToolError

SHOWN = 600
"""Characters of a text that are shown unless whole texts are asked for."""
SHOWN_NAMES = 20
"""Names that an error lists."""
STYLES = {"solved": "green", "wrong": "red", "error": "yellow"}


@dataclass(frozen=True, slots=True)
class Selection:
    """Which items are shown: those with an attempt that has all of these properties. None or empty: any."""

    mode: str | None = None
    wrong: bool | None = None
    cut: bool = False
    categories: tuple[str, ...] | None = None
    ids: tuple[str, ...] = ()
    search: str | None = None

    def takes(self, row: Mapping[str, Any], question: Mapping[str, Any]) -> bool:
        """Return whether the row is such an attempt."""
        return (
            self.mode in (None, row["mode"])
            and self.wrong in (None, verdict_of(row) != "solved")
            and (not self.cut or is_answer_cut(row) or is_thought_cut(row))
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
    """Print the items of a run that the selection takes.

    Raises AutoToolError if the folder holds no run, or no row of the mode, of a category or of an id.
    """
    console = console or plain_console()
    modes = _check(folder, selection)
    found = _select(folder, selection)
    shown = found[:limit]
    for item in read_items([(folder, {mode: mode for mode in modes})], shown):
        if as_json:
            # Not through rich, which replaces codes of emojis such as ":100:".
            console.file.write(f"{as_json_line(item, selection.mode)}\n")
        else:
            _show(item, selection.mode, console, None if full else SHOWN)
    if not as_json:
        more = "" if len(shown) == len(found) else "; --limit 0 shows all"
        console.print(Text(f"{len(shown)} of {text.counted(len(found), 'such item')}{more}", style="dim"))


def as_json_line(item: ItemAttempts, mode: str | None) -> str:
    """Return an item with its attempts in a mode, or in all of them, as one line."""
    attempts = tuple(attempt for attempt in item.attempts if mode in (None, attempt.mode))
    # Half of a surrogate pair, which a model may have written, stays the escape that JSON has for it.
    line = json.dumps(asdict(replace(item, attempts=attempts)), ensure_ascii=False)
    return line.encode(errors="backslashreplace").decode()


def _check(folder: Path, selection: Selection) -> list[str]:
    """Return the modes of a run. Raises AutoToolError for an option whose value no row has."""
    if read_json(folder / "run.json") is None:
        raise AutoToolError(f"{folder} holds no run.json: name a folder that `autotool bench run --out` wrote.")
    modes, categories, ids = (dict[str, None]() for _ in range(3))
    for row in rows.read(folder):
        modes[row["mode"]] = categories[row["category"]] = ids[row["id"]] = None
    _check_known(folder, "mode", [selection.mode] if selection.mode else (), modes)
    _check_known(folder, "categories", selection.categories or (), categories)
    _check_known(folder, "id", selection.ids, ids)
    return list(modes)


def _check_known(folder: Path, option: str, wanted: Sequence[str], known: Collection[str]) -> None:
    if unknown := [name for name in wanted if name not in known]:
        listed = ", ".join([*known][:SHOWN_NAMES]) + (" and others" if len(known) > SHOWN_NAMES else "")
        raise AutoToolError(f"--{option}: {folder} has no row of {unknown[0]!r}, only of {listed or 'none'}.")


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
    _add(grid, asked(item), item.question or ("not stored by this run",), length)
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
    facts.append(text.counted(attempt.tokens, "token"))
    facts += ["thought cut by a limit"] if attempt.thought_cut else []
    facts += ["cut at the maximum of tokens"] if attempt.cut else []
    return f"{attempt.verdict}{reason} ({', '.join(facts)})"
