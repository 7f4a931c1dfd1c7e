"""The console of every command whose output holds data: names, paths, questions, answers."""

from rich.console import Console


def plain_console(*, stderr: bool = False) -> Console:
    """Return a console that prints text as it is.

    rich would read "[x]" as markup and ":100:" as an emoji, in a sentence and in a cell of a table.
    """
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)
