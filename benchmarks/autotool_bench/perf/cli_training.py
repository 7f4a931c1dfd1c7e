"""Measurement of the trainer."""

from pathlib import Path
from typing import Annotated

import typer

from autotool_bench.perf.cli_options import MEASUREMENT, Rounds
from autotool_core.extras import require

app = typer.Typer()


@app.command("grpo-overhead")
def grpo_overhead(
    model: Annotated[Path, typer.Option(help="Folder of a checkpoint that can do `auto`.")],
    rounds: Rounds = 9,
    group: Annotated[int, typer.Option(min=2, help="Rollouts per prompt.")] = 8,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens per rollout.")] = 64,
    items: Annotated[int, typer.Option(min=1, help="Prompts per step.")] = 2,
) -> None:
    """Time of this project's GRPO training step, relative to TRL's own GRPOTrainer on the same model and data.

    Each round times the second step of both trainers in turn. The second line, stock / stock, is the noise. Without a GPU the
    times are CPU times of the process. Needs the `train` extra. Takes three training runs of two steps per round.

      autotool bench perf grpo-overhead --model training/checkpoints/graded-tiny --rounds 11 --items 4
    """
    require(MEASUREMENT, "train", "bench")
    from autotool_bench.perf.grpo_overhead import GrpoOptions, measure  # noqa: PLC0415 needs the extras

    measure(GrpoOptions(str(model), rounds, group, tokens, items))
