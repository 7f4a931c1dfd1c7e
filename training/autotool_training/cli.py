"""`autotool train`: from tool-call data and a base model to a checkpoint that chooses how long to think."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from autotool_core.errors import AutoToolError
from autotool_training.label.switch import Switch

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, add_completion=False, help=__doc__)

Out = Annotated[Path, typer.Option(help="Folder of the run. A run that was stopped goes on.")]
Change = Annotated[list[str] | None, typer.Option("--set", help="Change a value of the recipe, as in sft.epochs=2.")]
RecipeFile = Annotated[Path, typer.Argument(help="A recipe (training/recipes).", metavar="RECIPE")]
Records = Annotated[Path, typer.Option(help="A file of records.")]
Seed = Annotated[int | None, typer.Option(help="Default: the recipe's.")]
Strict = Annotated[bool, typer.Option("--strict", help="End the run at a bad record instead of skipping it.")]

ModeSwitch = Annotated[
    Switch,
    typer.Option(help="How its server is told the mode; none for a model that has one way to answer, and for strict APIs."),
]


@app.command()
def data(
    source: Annotated[
        list[str], typer.Option(help="NAME=FILE, graded=TASKS_PER_LEVEL, or a NAME that the hub has. Repeatable.")
    ],
    out: Annotated[Path, typer.Option(help="The file of records to write; its counts go beside it.")],
    against: Annotated[
        list[Path] | None,
        typer.Option(
            help="Evaluation texts, as `autotool bench texts` writes them: records that share --ngram words in a row go."
        ),
    ] = None,
    limit: Annotated[
        list[str] | None, typer.Option("--max", help="Most records of a source, as in sgd=2000 or sgd/call=500.")
    ] = None,
    licence: Annotated[list[str] | None, typer.Option(help="Keep these licences alone, as in Apache-2.0.")] = None,
    ngram: Annotated[int, typer.Option(min=2, help="Words in a row that may not be shared.")] = 8,
    distractors: Annotated[int, typer.Option(min=0, help="Tools that each record gets beside its own.")] = 0,
    together: Annotated[
        int,
        typer.Option(
            min=1, help="Most records with calls, of one request, that are offered the same tools, those of all of them."
        ),
    ] = 1,
    irrelevant: Annotated[float, typer.Option(min=0, max=1, help="Share of records that get only other tools.")] = 0.0,
    max_chars: Annotated[int | None, typer.Option(min=1, help="Most characters of a record.")] = None,
    write_reasoning: Annotated[
        bool, typer.Option("--write-reasoning", help="Write the reasoning of calls that have none, by rule.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
    strict: Strict = False,
) -> None:
    """Read data sets; drop what is of no use, doubled or evaluated on; write one file of records."""
    from autotool_training.data.build import DataSettings, build  # noqa: PLC0415 `--help` answers at once
    from autotool_training.data.catalog import SourceSpec  # noqa: PLC0415

    settings = DataSettings(
        seed=seed,
        limits=_limits(limit or []),
        licences=frozenset(licence) if licence else None,
        against=tuple(against or ()),
        ngram=ngram,
        distractors=distractors,
        max_per_tool_set=together,
        irrelevant=irrelevant,
        max_chars=max_chars,
        write_reasoning=write_reasoning,
        strict=strict,
    )
    Console().print(build([SourceSpec.parse(text) for text in source], out, settings, _warn()).table())


def _limits(given: list[str]) -> dict[str, int]:
    limits: dict[str, int] = {}
    for one in given:
        name, _, number = one.partition("=")
        if not number.isdigit():
            raise AutoToolError(f"--max {one}: write NAME=NUMBER, as in sgd=2000.")
        limits[name] = int(number)
    return limits


def _warn() -> Callable[[str], None]:
    console = Console(stderr=True)
    return lambda sentence: console.print(f"skipped: {sentence}", style="yellow", markup=False, highlight=False)


@app.command()
def label(
    records: Records,
    out: Annotated[Path, typer.Option(help="The file of labelled records to write; attempts and counts go beside it.")],
    short: Annotated[str, typer.Option(help="The no-thinking model: a server's URL, a checkpoint, or a file of traces.")],
    long: Annotated[str, typer.Option(help="The thinking model, likewise. A file of records with reasoning is traces too.")],
    k: Annotated[int, typer.Option(min=1, help="Attempts a record and model.")] = 4,
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Share of right short attempts that a short label needs.")
    ] = 0.0,
    temperature: Annotated[float, typer.Option(min=0)] = 0.8,
    max_tokens: Annotated[int, typer.Option(min=1, help="Most tokens of an attempt.")] = 2048,
    batch: Annotated[int, typer.Option(min=1, help="Attempts of a checkpoint at once.")] = 16,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests to a server at once.")] = 32,
    seed: Annotated[int, typer.Option(help="Of the attempts.")] = 0,
    short_model: Annotated[
        str | None, typer.Option(help="The name of the no-thinking model, where a server has several.")
    ] = None,
    long_model: Annotated[str | None, typer.Option(help="The name of the thinking model, likewise.")] = None,
    short_switch: ModeSwitch = Switch.MODE,
    long_switch: ModeSwitch = Switch.MODE,
    strict: Strict = False,
) -> None:
    """Say of each record in which mode it is to be learnt: short where the no-thinking model is right, else long."""
    from autotool_training.label.label import LabelSettings, ModelChoice  # noqa: PLC0415 `--help` answers at once
    from autotool_training.label.label import label as label_records  # noqa: PLC0415

    settings = LabelSettings(
        k=k,
        threshold=threshold,
        temperature=temperature,
        max_tokens=max_tokens,
        seed=seed,
        concurrency=concurrency,
        batch=batch,
        strict=strict,
    )
    models = ModelChoice(short, short_model, short_switch), ModelChoice(long, long_model, long_switch)
    counts = label_records(records, out, *models, settings, skipped=_warn())
    Console().print(counts.table())


@app.command()
def scratch(recipe: RecipeFile, out: Out, change: Change = None, seed: Seed = None) -> None:
    """Make a tiny base: a random model, of the sizes in base.scratch, practises until it answers graded tasks in either mode.

    It reads single tables first, then does drills of one step of derivation each, gives the values of requests, and then does
    whole tasks with reasoning and without. A base.source other than scratch practises on, from that checkpoint. Recipes name
    the folder as base.source.
    """
    from autotool_training.recipe import load  # noqa: PLC0415 `--help` answers at once
    from autotool_training.scratch.pretrain import practise  # noqa: PLC0415

    settings = load(recipe, change or ())
    drawn = settings.seed if seed is None else seed
    done = practise(settings.base.load(drawn), settings.base.scratch.practice, out, seed=drawn)
    Console().print(f"{out}: {done.model.num_parameters():,} parameters", markup=False, highlight=False)


@app.command()
def sft(
    recipe: RecipeFile, records: Records, out: Out, change: Change = None, seed: Seed = None, strict: Strict = False
) -> None:
    """Warm-up SFT of the recipe's base on labelled records."""
    from autotool_training.common import records as files  # noqa: PLC0415 `--help` answers at once
    from autotool_training.common.examples import ExampleWriter  # noqa: PLC0415
    from autotool_training.recipe import load  # noqa: PLC0415
    from autotool_training.sft import train as stage  # noqa: PLC0415

    settings = load(recipe, change or ())
    drawn = settings.seed if seed is None else seed
    base = settings.base.load(drawn)
    writer = ExampleWriter(base.tokenizer, base.profile, base.tokenizer.eos_token_id)
    examples, left_out = stage.examples(files.read(records, strict=strict, skipped=_warn()), writer, settings.sft)
    reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items()) or "none"
    Console().print(f"{len(examples)} sequences; left out: {reasons}.", highlight=False)
    stage.train(base, examples, settings.sft, out, seed=drawn)


@app.command()
def refine(
    recipe: RecipeFile,
    records: Records,
    checkpoint: Annotated[
        list[Path], typer.Option(help="A checkpoint, or a folder of them such as runs/sft/steps. Repeatable.", metavar="DIR")
    ],
    out: Annotated[Path, typer.Option(help="The file of records to write; probes and counts go beside it.")],
    change: Change = None,
    seed: Seed = None,
    strict: Strict = False,
) -> None:
    """Drop what RL would learn little from: half of the too easy and the too hard records, and the unaligned.

    Each checkpoint is a probe round: it answers every record refine.group times in mode=auto and is paid by the rewards of
    rl.objective. Too easy are records with the best reward in all rounds, too hard those with the worst; of the others those
    are kept whose rewards rise over the rounds as the mean of all does (refine.min_alignment).

    Let SFT keep its checkpoints (sft.save_steps, sft.keep) and name the folder that holds them:

      autotool train refine recipe.toml --records labelled.jsonl --checkpoint runs/sft/steps --out refined.jsonl

    One that is named several times is probed with as many seeds. Started again, a run goes on with <out>.probes.jsonl, where
    every reward is: another refine.min_alignment or refine.rate chooses anew at once.
    """
    from autotool_training.common import checkpoint as checkpoints  # noqa: PLC0415 `--help` answers at once
    from autotool_training.common import records as files  # noqa: PLC0415
    from autotool_training.recipe import load  # noqa: PLC0415
    from autotool_training.refine.probe import Probing, refine_records  # noqa: PLC0415

    settings = load(recipe, change or ())
    drawn = settings.seed if seed is None else seed
    job = Probing(
        records=list(files.read(records, strict=strict, skipped=_warn())),
        rounds=[step for folder in checkpoint for step in checkpoints.steps(folder)],
        base=lambda: settings.base.load(drawn),
        settings=settings.refine,
        rl=settings.rl,
        seed=drawn,
        out=out,
    )
    Console().print(refine_records(job).table())


@app.command()
def rl(
    recipe: RecipeFile,
    records: Records,
    out: Out,
    base: Annotated[
        str | None, typer.Option(help="The checkpoint of SFT. Default: the recipe's base, without warm-up.")
    ] = None,
    change: Change = None,
    seed: Seed = None,
    strict: Strict = False,
) -> None:
    """GRPO with decoupled adaptive entropy constraints, or a variant of it (rl.objective.variant)."""
    from autotool_training.common import checkpoint  # noqa: PLC0415 `--help` answers at once
    from autotool_training.common import records as files  # noqa: PLC0415
    from autotool_training.recipe import load  # noqa: PLC0415
    from autotool_training.rl.run import train  # noqa: PLC0415

    settings = load(recipe, change or ())
    drawn = settings.seed if seed is None else seed
    start = checkpoint.load(base) if base else settings.base.load(drawn)
    train(start, list(files.read(records, strict=strict, skipped=_warn())), settings.rl, out, seed=drawn)


@app.command()
def join(
    adapters: Annotated[list[Path], typer.Argument(help="`adapter` folders of runs with LoRA, in order.", metavar="DIR...")],
    out: Annotated[Path, typer.Option(help="Folder of the adapter to write.")],
    rank: Annotated[
        int | None, typer.Option(min=1, help="Of the adapter, which is then the nearest of that rank. Default: the ranks' sum.")
    ] = None,
    share: Annotated[float, typer.Option(min=0, max=1, help="How much of the last stage is taken: 1 is all of it.")] = 1.0,
) -> None:
    """Make one adapter, in bfloat16, of those of several stages, each trained on the result of the one before it.

      autotool train join runs/sft/adapter runs/rl/adapter --out adapter

    Loaded onto the base of the first stage it gives the model of the last, or with --share one between
    the last two (trained rows of the embeddings are the last's).
    """
    from autotool_training.common.merge_adapters import join as joined  # noqa: PLC0415 `--help` answers at once

    joined(adapters, out, rank, share)


@app.command()
def check(recipe: RecipeFile, change: Change = None) -> None:
    """Dry run of a recipe: build every setting of it, and take one step of each stage on a tiny random model.

    The model is of the architecture base.scratch.model_type, and decodes by transformers. Neither base nor data are loaded,
    and no GPU is needed.
    """
    from autotool_training.dry_run import dry_run  # noqa: PLC0415 `--help` answers at once
    from autotool_training.recipe import load  # noqa: PLC0415

    dry_run(load(recipe, change or ()))
    Console().print(f"{recipe}: sft, refine and rl each took a step.", markup=False, highlight=False)


@app.command()
def plot(
    folders: Annotated[list[Path], typer.Argument(help="Folders of RL runs.", metavar="DIR...")],
    out: Annotated[Path, typer.Option(help="The picture: .svg, .png or .pdf.")],
    window: Annotated[int, typer.Option(min=1, help="Steps that a point is the mean of.")] = 10,
) -> None:
    """Draw accuracy, thinking rate, length, entropy, reward and β over the steps, runs side by side."""
    from autotool_training.plot import draw  # noqa: PLC0415 `--help` answers at once

    draw(folders, out, window)
