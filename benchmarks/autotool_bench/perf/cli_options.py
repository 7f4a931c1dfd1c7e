"""Options that several measurements share."""

from pathlib import Path
from typing import Annotated

import typer

MEASUREMENT = "This measurement"
"""What needs the extras, in the message of a measurement that lacks them."""

PASSES_OPTIONS_ON = {"ignore_unknown_options": True}
"""Context settings of a command whose further options go to the servers that it starts."""

Rounds = Annotated[int, typer.Option(min=1, help="Rounds; the reported figures are medians over them.")]
JsonOut = Annotated[Path | None, typer.Option(help="JSON file to write every round's figures to.")]
Streams = Annotated[int, typer.Option(min=1, help="Requests in progress at the same time.")]
CheckpointOption = Annotated[Path | None, typer.Option(help="Folder of a checkpoint. Default: the default model.")]
LoadSeconds = Annotated[float, typer.Option(min=1, help="Seconds of each load.")]
FullStreams = Annotated[int, typer.Option(min=1, help="Requests in progress that fill the engine: its max_num_seqs.")]
InputTokens = Annotated[int, typer.Option(min=1, help="Tokens per prompt.")]
ServerOptions = Annotated[
    list[str] | None, typer.Argument(help="Further options, which go to the server.", metavar="SERVE_OPTION")
]
ServersOptions = Annotated[
    list[str] | None, typer.Argument(help="Further options, which go to the servers.", metavar="SERVE_OPTION")
]
PerfOut = Annotated[Path, typer.Option(help="Folder of the runs and of their report. Runs that were stopped resume.")]
