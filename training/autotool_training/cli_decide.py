"""The command `autotool train decide`."""

from pathlib import Path
from typing import Annotated

import typer

from autotool_core.profile import MAX_READ_TOKENS
from autotool_training.cli_options import Records, Strict


def decide(
    records: Records,
    checkpoint: Annotated[
        str, typer.Option(help="A checkpoint with both modes: a folder, a hub id or a name that autotool serve knows.")
    ],
    out: Annotated[Path, typer.Option(help="The profile file to write, for autotool serve --profile.")],
    read: Annotated[
        int, typer.Option(min=2, max=MAX_READ_TOKENS, help="Tokens whose log-probabilities the decision is read from.")
    ] = MAX_READ_TOKENS,
    max_tokens: Annotated[int, typer.Option(min=1, help="Maximum tokens of a prompt; longer ones are left out.")] = 2048,
    seed: Annotated[int, typer.Option(help="Seed of the parts of the cross-validation.")] = 0,
    strict: Strict = False,
) -> None:
    """Train the decision of auto alone, on labelled records, for a checkpoint that has both modes and has not learnt to choose.

    What is trained is a decision head, which the profile holds: the weights of the checkpoint, and with them its answers in
    long and short, stay as they are. The loss is that of the decision, one token a record.
    """
    from autotool_training import report  # noqa: PLC0415 `--help` answers at once
    from autotool_training.common import records as files  # noqa: PLC0415
    from autotool_training.decide.train import train  # noqa: PLC0415

    labelled = list(files.read(records, strict=strict, skipped=report.skipped))
    result = train(checkpoint, labelled, out, read=read, max_tokens=max_tokens, seed=seed)
    report.after_decide(result, checkpoint, out)
