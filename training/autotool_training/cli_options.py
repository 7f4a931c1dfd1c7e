"""Options that several commands of `autotool train` have."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from autotool_core.modes import ModeSwitch

Out = Annotated[Path, typer.Option(help="Folder of the run. A run that was stopped continues.")]
Change = Annotated[list[str] | None, typer.Option("--set", help="Change a value of the recipe, as in sft.epochs=2.")]
RecipeFile = Annotated[Path, typer.Argument(help="A recipe: a file, or a name such as graded-tiny.", metavar="RECIPE")]
Records = Annotated[Path, typer.Option(help="A file of records.")]
Seed = Annotated[int | None, typer.Option(help="Seed of the run. Default: the recipe's.")]
Strict = Annotated[bool, typer.Option("--strict", help="End the run at an invalid record instead of skipping it.")]
Unsolved = Literal["drop", "gold"]
Switch = Annotated[
    ModeSwitch,
    typer.Option(
        help="The request field that asks its server for the mode; none for a model with one mode and for strict APIs."
    ),
]
ShortModel = Annotated[str | None, typer.Option(help="Name of the no-thinking model, if its server has several.")]
LongModel = Annotated[str | None, typer.Option(help="Name of the thinking model, likewise.")]
