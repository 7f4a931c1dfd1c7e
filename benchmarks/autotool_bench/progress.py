"""How far a run is: a bar for each mode in a terminal, else a line at each tenth of the attempts. Both fit 80 columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from autotool_core.console import plain_console

BAR_WIDTH = 18


@dataclass(slots=True)
class Tally:
    """The running totals of a mode: items, solved items, errors and generated tokens."""

    items: int = 0
    solved: float = 0
    errors: int = 0
    tokens: int = 0

    def add(self, solved: bool, error: bool, tokens: int) -> None:
        self.items += 1
        self.solved += solved
        self.errors += error
        self.tokens += tokens

    def __str__(self) -> str:
        if not self.items:
            return ""
        shown = f"{self.solved / self.items:.1%}, {self.tokens / self.items:.0f} tokens"
        return shown + (f", {self.errors} errors" if self.errors else "")


def progress_bars(console: Console | None = None) -> Progress:
    """Return bars with a mode's name, its items done, the time left and its totals; on standard error by default."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(BAR_WIDTH),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[tally]}", markup=False),
    )
    console = console or plain_console(stderr=True)
    # Without a terminal rich would print the bars once, at the end: lines are printed on the way instead.
    return Progress(*columns, console=console, disable=not console.is_terminal)


class ModeBars:
    """The bars of a run, of one mode each."""

    def __init__(self, progress: Progress, items: int, modes: Sequence[str], tallies: Mapping[str, Tally]) -> None:
        """`items` is the number of items of each mode; `tallies` are the totals of an earlier start."""
        self._progress = progress
        self._tallies = {mode: tallies.get(mode, Tally()) for mode in modes}
        self._total = items * len(modes)
        self._bars = {
            mode: progress.add_task(mode, total=items, completed=tally.items, tally=str(tally))
            for mode, tally in self._tallies.items()
        }

    def add(self, mode: str, solved: bool, error: bool, tokens: int) -> None:
        """Count an attempt."""
        tally = self._tallies[mode]
        tally.add(solved, error, tokens)
        self._progress.update(self._bars[mode], advance=1, tally=str(tally))
        if not self._progress.console.is_terminal:
            self._print_tenth()

    def _print_tenth(self) -> None:
        done = sum(tally.items for tally in self._tallies.values())
        if done * 10 // self._total == (done - 1) * 10 // self._total:
            return
        totals = "".join(f"\n  {mode}: {tally}" for mode, tally in self._tallies.items() if tally.items)
        self._progress.console.print(f"{done} of {self._total} attempts{totals}")
