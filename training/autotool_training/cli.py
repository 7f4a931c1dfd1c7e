"""`autotool train`: from tool-call data and a base model to a checkpoint that chooses how long to think."""

from pathlib import Path
from typing import Annotated

import typer

from autotool_core.console import plain_console
from autotool_core.errors import AutoToolError
from autotool_core.extras import require_vllm
from autotool_core.modes import ModeSwitch
from autotool_training.cli_decide import decide
from autotool_training.cli_examples import example
from autotool_training.cli_options import (
    Change,
    LongModel,
    Out,
    RecipeFile,
    Records,
    Seed,
    ShortModel,
    Strict,
    Switch,
    Unsolved,
)
from autotool_training.cli_run import run
from autotool_training.common.quiet import quiet

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, add_completion=False, help=__doc__)


@app.callback()
def prepare() -> None:
    """Leave out warnings that a user can do nothing about. The help is that of the app."""
    quiet()


app.command(epilog=example("run"))(run)


@app.command(epilog=example("data"))
def data(
    source: Annotated[
        list[str], typer.Option(help="NAME=FILE, graded=TASKS_PER_LEVEL, or a NAME that is on the hub. Repeatable.")
    ],
    out: Annotated[Path, typer.Option(help="The file of records to write; its counts are written next to it.")],
    against: Annotated[
        list[Path] | None,
        typer.Option(
            help="Evaluation texts (see `autotool bench texts`); records that share --ngram words in a row are dropped."
        ),
    ] = None,
    limit: Annotated[
        list[str] | None, typer.Option("--max", help="Maximum records of a source, as in sgd=2000 or sgd/call=500. Repeatable.")
    ] = None,
    licence: Annotated[list[str] | None, typer.Option(help="Keep only these licences, as in Apache-2.0. Repeatable.")] = None,
    ngram: Annotated[int, typer.Option(min=2, help="Number of words in a row that a record may not share with --against.")] = 8,
    distractors: Annotated[int, typer.Option(min=0, help="Other tools that each record gets in addition to its own.")] = 0,
    together: Annotated[
        int,
        typer.Option(
            min=1, help="Maximum records with calls that are given one list of tools, which has the tools of all of them."
        ),
    ] = 1,
    irrelevant: Annotated[float, typer.Option(min=0, max=1, help="Share of records that get only tools of others.")] = 0.0,
    max_chars: Annotated[int | None, typer.Option(min=1, help="Maximum characters of a record.")] = None,
    write_reasoning: Annotated[
        bool, typer.Option("--write-reasoning", help="Write reasoning, from templates, for calls that have none.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of all sampling.")] = 0,
    strict: Strict = False,
) -> None:
    """Read data sets; drop invalid and duplicate records and those of evaluations; write one file of records."""
    from autotool_training import report  # noqa: PLC0415 `--help` answers at once
    from autotool_training.data.build import DataSettings, build  # noqa: PLC0415
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
    counts = build([SourceSpec.parse(text) for text in source], out, settings, report.skipped)
    plain_console().print(counts.table())
    report.after_data(counts, report.carried(seed=seed or None, strict=strict), out)


def _limits(given: list[str]) -> dict[str, int]:
    limits: dict[str, int] = {}
    for limit in given:
        name, _, number = limit.partition("=")
        if not number.isdigit():
            raise AutoToolError(f"--max {limit}: write NAME=NUMBER, as in sgd=2000.")
        limits[name] = int(number)
    return limits


@app.command(epilog=example("label"))
def label(
    records: Records,
    out: Annotated[Path, typer.Option(help="The file of labelled records to write, with attempts and counts next to it.")],
    short: Annotated[str, typer.Option(help="The no-thinking model: a server's URL, a checkpoint, or a file of traces.")],
    long: Annotated[str, typer.Option(help="The thinking model, likewise. A file of records with reasoning holds traces too.")],
    k: Annotated[int, typer.Option(min=1, help="Attempts of each model at a record.")] = 4,
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Share of right answers of the no-thinking model that a short label needs.")
    ] = 0.0,
    temperature: Annotated[float, typer.Option(min=0, help="Sampling temperature of the attempts.")] = 0.8,
    max_tokens: Annotated[int, typer.Option(min=1, help="Maximum tokens of an attempt.")] = 2048,
    batch: Annotated[int, typer.Option(min=1, help="Attempts that a checkpoint decodes at once.")] = 16,
    concurrency: Annotated[int, typer.Option(min=1, help="Concurrent requests to a server.")] = 32,
    seed: Annotated[int, typer.Option(help="Seed of the attempts.")] = 0,
    short_model: ShortModel = None,
    long_model: LongModel = None,
    short_switch: Switch = ModeSwitch.MODE,
    long_switch: Switch = ModeSwitch.MODE,
    unsolved: Annotated[
        Unsolved,
        typer.Option(help="What becomes of a record that neither model gets right; gold: its gold answer is learnt as it is."),
    ] = "drop",
    strict: Strict = False,
) -> None:
    """Label each record with the mode it is trained in: short if the no-thinking model is right, else long."""
    from autotool_training import report  # noqa: PLC0415 `--help` answers at once
    from autotool_training.label.label import LabelSettings, ModelChoice  # noqa: PLC0415
    from autotool_training.label.label import label as label_records  # noqa: PLC0415

    settings = LabelSettings(
        k=k,
        threshold=threshold,
        temperature=temperature,
        max_tokens=max_tokens,
        seed=seed,
        concurrency=concurrency,
        batch=batch,
        unsolved=unsolved,
        strict=strict,
    )
    models = ModelChoice(short, short_model, short_switch), ModelChoice(long, long_model, long_switch)
    counts = label_records(records, out, *models, settings, skipped=report.skipped)
    plain_console().print(counts.table())
    report.after_label(counts, report.carried(seed=seed or None, strict=strict), out)


@app.command(epilog=example("scratch"))
def scratch(recipe: RecipeFile, out: Out, change: Change = None, seed: Seed = None) -> None:
    """Make a tiny base: pretrain a random model, of the sizes in base.scratch, until it answers graded tasks in both modes.

    The curriculum has single tables first, then single steps of derivation, then the values of requests, and then whole tasks
    with reasoning and without. With a base.source other than scratch, the training continues from that checkpoint. Recipes
    name the folder as base.source.
    """
    from autotool_training import report  # noqa: PLC0415 `--help` answers at once
    from autotool_training.recipe import load_recipe  # noqa: PLC0415
    from autotool_training.scratch.pretrain import pretrain  # noqa: PLC0415

    settings = load_recipe(recipe, change or ())
    drawn = settings.seed if seed is None else seed
    base, steps = settings.base.load_base(drawn), settings.base.scratch.pretrain
    trained = pretrain(base, steps, out, seed=drawn, begin=report.before_training)
    report.after_scratch(recipe, report.carried(change or (), seed), out, trained.model.num_parameters())


@app.command(epilog=example("sft"))
def sft(
    recipe: RecipeFile, records: Records, out: Out, change: Change = None, seed: Seed = None, strict: Strict = False
) -> None:
    """Train the recipe's base on labelled records by SFT, the warm-up of RL."""
    from autotool_training import report  # noqa: PLC0415 `--help` answers at once
    from autotool_training.common import records as files  # noqa: PLC0415
    from autotool_training.common.examples import ExampleWriter  # noqa: PLC0415
    from autotool_training.recipe import load_recipe  # noqa: PLC0415
    from autotool_training.sft import train as stage  # noqa: PLC0415

    settings = load_recipe(recipe, change or ())
    drawn = settings.seed if seed is None else seed
    base = settings.base.load_base(drawn)
    writer = ExampleWriter(base.tokenizer, base.profile, base.tokenizer.eos_token_id)
    examples, left_out = stage.make_examples(files.read(records, strict=strict, skipped=report.skipped), writer, settings.sft)
    reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items()) or "none"
    report.say(f"{len(examples)} sequences; left out: {reasons}.")
    stage.train(base, examples, settings.sft, out, seed=drawn, begin=report.before_training, loading=settings.base)
    report.after_sft(recipe, report.carried(change or (), seed, strict=strict), records, out)


@app.command(epilog=example("refine"))
def refine(
    recipe: RecipeFile,
    records: Records,
    checkpoint: Annotated[
        list[Path], typer.Option(help="A checkpoint, or a folder of them such as runs/sft/steps. Repeatable.", metavar="DIR")
    ],
    out: Annotated[Path, typer.Option(help="The file of records to write; probes and counts are written next to it.")],
    change: Change = None,
    seed: Seed = None,
    strict: Strict = False,
) -> None:
    """Drop records from which RL would learn little: half of the too easy and the too hard ones, and the unaligned ones.

    Plain GRPO trains on the records from the last named checkpoint, and refine.rounds checkpoints on its way are probe
    rounds; with refine.rounds=0 the named checkpoints are. Each answers every record refine.group times in mode=auto and
    gets the rewards of rl.objective. A record is too easy if it has the best reward in all rounds, and too hard if no
    answer is right; others are kept if their rewards rise over the rounds as the mean of all does (refine.min_alignment).

    For refine.rounds=0 let SFT keep its checkpoints (sft.save_steps, sft.keep) and name the folder that holds them. A
    checkpoint that is named several times is then probed with as many seeds. A run that is started again continues from
    <out>.probes.jsonl, which holds all rewards, so that another refine.min_alignment or refine.rate needs no new rollouts.
    """
    from autotool_training import report  # noqa: PLC0415 `--help` answers at once
    from autotool_training.common import checkpoint as checkpoints  # noqa: PLC0415
    from autotool_training.common import records as files  # noqa: PLC0415
    from autotool_training.recipe import load_recipe  # noqa: PLC0415
    from autotool_training.refine.probe import ProbeJob, refine_records  # noqa: PLC0415

    settings = load_recipe(recipe, change or ())
    drawn = settings.seed if seed is None else seed
    # The adapters of the rounds are merged, which weights of 4 bits would not take.
    whole = settings.base.model_copy(update={"load_in_4bit": False})
    job = ProbeJob(
        records=list(files.read(records, strict=strict, skipped=report.skipped)),
        rounds=[step for folder in checkpoint for step in checkpoints.list_checkpoints(folder)],
        base=lambda: whole.load_base(drawn),
        loading=whole,
        settings=settings.refine,
        rl=settings.rl,
        seed=drawn,
        out=out,
    )
    counts = refine_records(job)
    plain_console().print(counts.table())
    report.after_refine(counts, recipe, report.carried(change or (), seed, strict=strict), checkpoint[-1], out)


@app.command(epilog=example("rl"))
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
    """Train by GRPO with decoupled adaptive entropy constraints, or by a variant of it (rl.objective.variant)."""
    from autotool_training import report  # noqa: PLC0415 `--help` answers at once
    from autotool_training.common import records as files  # noqa: PLC0415
    from autotool_training.recipe import load_recipe  # noqa: PLC0415
    from autotool_training.rl.run import train  # noqa: PLC0415

    settings = load_recipe(recipe, change or ())
    if settings.rl.rollouts != "transformers":
        require_vllm(f"rl.rollouts={settings.rl.rollouts}")
    drawn = settings.seed if seed is None else seed
    start = settings.base.load_base(drawn, base)
    kept = list(files.read(records, strict=strict, skipped=report.skipped))
    begin, skipped = report.before_training, report.skipped
    train(start, kept, settings.rl, out, seed=drawn, begin=begin, skipped=skipped, loading=settings.base)
    report.after_rl(out)


app.command(epilog=example("decide"))(decide)


@app.command(epilog=example("join"))
def join(
    adapters: Annotated[list[Path], typer.Argument(help="`adapter` folders of runs with LoRA, in order.", metavar="DIR...")],
    out: Annotated[Path, typer.Option(help="Folder of the adapter to write.")],
    rank: Annotated[
        int | None,
        typer.Option(min=1, help="Reduce the adapter to the nearest one of this rank. Default: the sum of the ranks."),
    ] = None,
    share: Annotated[float, typer.Option(min=0, max=1, help="Factor of the last stage: 1 takes all of it, 0 none.")] = 1.0,
) -> None:
    """Merge the adapters of several stages, each trained on the result of the one before it, into one in bfloat16.

    On the base of the first stage it gives the model of the last stage, or with --share one between the last two.
    Trained rows of the embeddings are those of the last stage.
    """
    from autotool_training import report  # noqa: PLC0415 `--help` answers at once
    from autotool_training.common.merge_adapters import merge_adapters  # noqa: PLC0415

    merge_adapters(adapters, out, rank, share)
    report.say(f"The adapter is saved to {out}.")


@app.command(epilog=example("push"))
def push(
    folder: Annotated[Path, typer.Argument(help="The folder of a finished stage, or `best` of an RL run.", metavar="DIR")],
    repo: Annotated[str, typer.Argument(help="The repository on the hub, as in NAME/MODEL; it is made if there is none.")],
    private: Annotated[
        bool, typer.Option("--private", help="Make the repository private; a public one that is there already is refused.")
    ] = False,
) -> None:
    """Upload a checkpoint to the Hugging Face hub, without the steps and metrics of its run."""
    from autotool_training import report  # noqa: PLC0415 `--help` answers at once
    from autotool_training.common.hub import push_checkpoint  # noqa: PLC0415

    report.say(f"The checkpoint is at {push_checkpoint(folder, repo, private=private)}.")


@app.command(epilog=example("check"))
def check(recipe: RecipeFile, change: Change = None) -> None:
    """Try a recipe: build all its settings, and make one step of each stage on a tiny random model.

    The model has the architecture base.scratch.model_type, and transformers decodes. Neither base nor data are loaded, and no
    GPU is needed.
    """
    from autotool_training.dry_run import dry_run  # noqa: PLC0415 `--help` answers at once
    from autotool_training.recipe import load_recipe  # noqa: PLC0415

    dry_run(load_recipe(recipe, change or ()))
    plain_console().print(f"{recipe}: sft, refine and rl each made a step.")


@app.command(epilog=example("plot"))
def plot(
    folders: Annotated[list[Path], typer.Argument(help="Folders of RL runs.", metavar="DIR...")],
    out: Annotated[Path, typer.Option(help="The file to write: .svg, .png or .pdf.")],
    window: Annotated[int, typer.Option(min=1, help="Steps over which each point is averaged.")] = 10,
) -> None:
    """Plot accuracy, thinking rate, length, entropy, reward and β over the steps, several runs together."""
    from autotool_training import report  # noqa: PLC0415 `--help` answers at once
    from autotool_training.plot import draw  # noqa: PLC0415

    draw(folders, out, window)
    report.say(f"The plot is saved to {out}.")
