"""Command-line options that several commands of `autotool bench` share."""

from pathlib import Path
from typing import Annotated

import typer

from autotool_bench.suites import SUITES

SuiteName = Annotated[str, typer.Option("--suite", help=f"One of {', '.join(SUITES)}.")]
Categories = Annotated[str | None, typer.Option(help="Categories of the suite, separated by commas. Default: all.")]
Directory = Annotated[
    Path | None, typer.Option(help="Directory of the suite's data, for a suite that reads files; of own, its file.")
]
Limit = Annotated[int | None, typer.Option(min=1, help="Items per category. Default: all.")]
Out = Annotated[Path, typer.Option(help="Folder of the run. A run that was stopped resumes.")]
Concurrency = Annotated[int, typer.Option(min=1, help="Attempts in progress at the same time.")]
MaxTokens = Annotated[
    int,
    typer.Option(
        min=1,
        help="Maximum tokens per answer, with the reasoning unless that has a separate maximum.",
    ),
]
MaxReasoning = Annotated[
    int | None,
    typer.Option(min=0, help="Maximum reasoning tokens, in addition to --max-tokens (AutoTool servers only)."),
]
Parameters = Annotated[
    float | None,
    typer.Option(help="Number of parameters of the model, such as 135e6, for ACU."),
]


def split_names(text: str | None) -> tuple[str, ...] | None:
    """Split a comma-separated option; None where the option is not given."""
    return tuple(text.split(",")) if text else None
