"""The command `autotool calibrate`."""

from pathlib import Path
from typing import Annotated

import typer

from autotool_bench.calibration.pairs import MODES
from autotool_bench.config import LOCAL_URL, RunConfig
from autotool_bench.options import Concurrency, MaxReasoning, MaxTokens, Out
from autotool_core import extras
from autotool_core import profile as profiles
from autotool_core.errors import AutoToolError
from autotool_core.profile import Profile
from autotool_core.target import Target

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, add_completion=False)


@app.command()
def calibrate(
    data: Annotated[
        Path,
        typer.Option(help="Tasks of your own: conversations in OpenAI's form whose answers are the right ones, one a line."),
    ],
    target: Annotated[str, typer.Option(help="What auto is to cost: tokens=200 a task, regret=2% or thinking-rate=0.3.")],
    out: Out,
    url: Annotated[str, typer.Option(help="OpenAI base URL of a running AutoTool server.")] = LOCAL_URL,
    checkpoint: Annotated[
        str | None, typer.Option(help="The served checkpoint, a folder or a hub id, whose profile gets the bias.")
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help="The profile of the server, if it was started with --profile, in its place."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Name of the model there. Default: the server's only model.")] = None,
    concurrency: Concurrency = 16,
    max_tokens: MaxTokens = 1024,
    max_reasoning_tokens: MaxReasoning = None,
    api_key: Annotated[str, typer.Option(envvar="OPENAI_API_KEY", help="API key of the server.")] = "none",
    retry_errors: Annotated[
        bool, typer.Option("--retry-errors", help="Attempt the tasks again that ended in an error in an earlier start.")
    ] = False,
) -> None:
    """Find the bias with which auto meets a target on tasks of your own, and what p_long is worth there.

    Every task is answered greedily in long, in short and in auto, a few hundred of them for intervals that say something. The
    profile with the bias, mode_profile.json in the folder of the run, is for autotool serve --profile. A run that was stopped
    resumes.

      autotool calibrate --data tasks.jsonl --target regret=2% --checkpoint Qwen/Qwen3-4B --out runs/calibrated
    """
    from autotool_bench.calibration.run import calibrate as run  # noqa: PLC0415 matplotlib takes a second

    if not data.is_file():
        raise AutoToolError(f"--data {data}: there is no such file.")
    config = RunConfig(
        suite="own",
        directory=data,
        out=out,
        url=url,
        model=model,
        modes=MODES,
        concurrency=concurrency,
        max_tokens=max_tokens,
        max_reasoning_tokens=max_reasoning_tokens,
        api_key=api_key,
        retry_errors=retry_errors,
    )
    run(config, _target(target), _profile(checkpoint, profile))


def _target(text: str) -> Target:
    try:
        return Target.parse(text)
    except ValueError as error:
        raise AutoToolError(f"--target {text}: {error}.") from None


def _profile(checkpoint: str | None, name: str | None) -> Profile:
    if name is not None:
        return profiles.named(name)
    if checkpoint is None:
        raise AutoToolError("--checkpoint: name the served checkpoint, or its profile by --profile.")
    extras.require("`autotool calibrate --checkpoint`", "server")
    from autotool_server import default_model  # noqa: PLC0415 transformers takes seconds
    from autotool_server.engines import checkpoint as checkpoints  # noqa: PLC0415
    from autotool_server.engines import profiles as found  # noqa: PLC0415

    path = default_model.resolve(checkpoint)
    return found.find(None, path, checkpoints.load_tokenizer(path)).profile  # pyright: ignore[reportArgumentType]
