"""`autotool train run`: all stages by one command."""

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from autotool_core.console import plain_console
from autotool_core.errors import AutoToolError
from autotool_core.extras import require, require_vllm
from autotool_core.modes import ModeSwitch
from autotool_training.cli_options import Change, LongModel, RecipeFile, Seed, ShortModel, Strict, Switch

if TYPE_CHECKING:
    from autotool_training.recipe import Recipe

Until = Literal["data", "label", "sft", "refine", "rl", "measure"]
NO_LABELLER = ("smollm2-135m-base", "scratch")
"""Bases that answer in neither mode before they are trained."""
KINDS_OF_LABELLER = "a checkpoint's folder or hub id, a server's URL, or a file of traces"


def run(
    recipe: RecipeFile,
    data: Annotated[
        str,
        typer.Option(
            help="Conversations in OpenAI's fine-tuning form or ShareGPT's: a file, or OWNER/NAME:MESSAGES,TOOLS,split=SPLIT."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the run. A run that was stopped continues. Default: runs/ and the name of the data."),
    ] = None,
    base: Annotated[str | None, typer.Option(help="The base, a folder or a hub id. Default: the recipe's.")] = None,
    held_out: Annotated[
        int | None,
        typer.Option(min=1, help="Conversations to measure on, and not to train on. Default: a fifth of all, at most 200."),
    ] = None,
    short: Annotated[str | None, typer.Option(help="The no-thinking model of `label`. Default: the base.")] = None,
    long: Annotated[str | None, typer.Option(help="The thinking model of `label`. Default: the base.")] = None,
    short_model: ShortModel = None,
    long_model: LongModel = None,
    short_switch: Switch = ModeSwitch.MODE,
    long_switch: Switch = ModeSwitch.MODE,
    launch: Annotated[
        str,
        typer.Option(help='Command by which sft and rl run on several GPUs, as in "accelerate launch --num_processes 8".'),
    ] = "",
    until: Annotated[
        Until, typer.Option(help="The last stage to make: `data` shows what is read, `label` lets go of servers that label.")
    ] = "measure",
    serve: Annotated[
        bool,
        typer.Option(
            "--serve",
            help="Serve the result at the end. Variables set the options of `autotool serve`, as in AUTOTOOL_PORT=9000.",
        ),
    ] = False,
    change: Change = None,
    seed: Seed = None,
    strict: Strict = False,
) -> None:
    """Train on conversations by all stages, and measure the result in the three modes on some that are held out.

    A line for each stage says what it made. The same command given again passes over the stages that are done.
    """
    from autotool_training import pipeline, report  # noqa: PLC0415 `--help` answers at once
    from autotool_training.data.sources.messages import source_name  # noqa: PLC0415
    from autotool_training.label.label import ModelChoice  # noqa: PLC0415
    from autotool_training.pipeline.measure import table  # noqa: PLC0415
    from autotool_training.pipeline.stages import Job  # noqa: PLC0415
    from autotool_training.recipe import load_recipe, resolve_source  # noqa: PLC0415

    changes = [*(change or ()), *([f"base.source={base}"] if base else []), *([] if seed is None else [f"seed={seed}"])]
    settings, folder = load_recipe(recipe, changes), out or Path("runs") / source_name(data)
    if serve and until != "measure":
        raise AutoToolError(f"--serve needs the result, which a run --until {until} does not make: leave one of them out.")
    if serve:
        require("--serve", "server")
        from autotool_training.pipeline.serve_address import reject_address  # noqa: PLC0415

        reject_address()
    _reject_labellers(settings.base.source, short, long)
    if settings.rl.rollouts != "transformers":
        require_vllm(f"rl.rollouts={settings.rl.rollouts}")
    _reject_missing_hardware(settings, until, folder)
    job = Job(
        recipe=settings,
        data=data,
        out=folder,
        models=(
            ModelChoice(short or resolve_source(settings.base.source), short_model, short_switch),
            ModelChoice(long or resolve_source(settings.base.source), long_model, long_switch),
        ),
        held_out=held_out,
        strict=strict,
        skipped=report.skipped,
        launcher=_words(launch),
        recipe_options=[str(recipe), *report.carried(changes)],
        until=until,
    )
    results = pipeline.run(job, report.say)
    if not results:
        return
    plain_console().print(table(results))
    report.after_run(folder / "rl")
    if serve:
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, "-m", "autotool_cli", "serve", "--model", str(folder / "rl")])  # noqa: S606


def _words(launch: str) -> list[str]:
    """Return the words of a command. Raises AutoToolError where a quotation does not end."""
    try:
        return shlex.split(launch)
    except ValueError as error:
        raise AutoToolError(f"--launch cannot be read as a command ({error}): close its quotation marks.") from error


def _reject_missing_hardware(recipe: "Recipe", until: Until, folder: Path) -> None:
    """Raise AutoToolError, before anything is read, if a run that is not done needs a GPU or a package that is not here."""
    from autotool_training.common.checkpoint import is_finished  # noqa: PLC0415
    from autotool_training.rl.run import reject_server_without_gpu  # noqa: PLC0415

    if is_finished(folder / "rl"):
        return
    if until not in {"data", "label"}:
        recipe.base.arguments()
    if until in {"rl", "measure"}:
        reject_server_without_gpu(recipe.rl)


def _reject_labellers(base: str, short: str | None, long: str | None) -> None:
    """Raise AutoToolError, before anything is fetched, if a model would label in a mode in which it cannot answer."""
    from autotool_server import default_model  # noqa: PLC0415

    given = {"--short": short, "--long": long}
    unable = [*given] if base in NO_LABELLER else [] if default_model.can_think(base) else ["--long"]
    missing = [option for option in unable if given[option] is None]
    if missing:
        cannot = "label" if base in NO_LABELLER else "think, and so cannot label in mode=long"
        raise AutoToolError(f"The base {base} cannot {cannot}: give {' and '.join(missing)} ({KINDS_OF_LABELLER}).")
    if long is not None and not default_model.can_think(long):
        raise AutoToolError(f"--long {long} cannot think: name another model ({KINDS_OF_LABELLER}).")
