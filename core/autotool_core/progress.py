"""The progress bar of every command that takes long and has no bar of its own trainer."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


def progress_bar(console: Console | None = None) -> Progress:
    """Return a bar that shows the count done, the total, the time taken and left, and a text; on standard error by default."""
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    return Progress(*columns, console=console or Console(stderr=True))
