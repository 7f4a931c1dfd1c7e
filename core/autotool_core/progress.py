"""The progress bar of every command that takes long and has no bar of its own trainer."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from autotool_core.console import plain_console

BAR_WIDTH = 10
"""A bar of this width takes at most 80 columns with five digits of steps and the metrics of training."""


def progress_bar(console: Console | None = None) -> Progress:
    """Return a bar with the count done, the total, the time left, at the end the time taken, and a text; on standard error."""
    left = TimeRemainingColumn(compact=True, elapsed_when_finished=True)
    columns = (BarColumn(BAR_WIDTH), MofNCompleteColumn(), left, TextColumn("{task.description}", markup=False))
    return Progress(*columns, console=console or plain_console(stderr=True))
