"""The stages of `autotool train run`: what each makes, from what, and whether that is done."""

import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from autotool_core.errors import AutoToolError
from autotool_training.common import checkpoint as checkpoints
from autotool_training.common import records as files
from autotool_training.common.examples import ExampleWriter
from autotool_training.common.fingerprint import fingerprint
from autotool_training.common.records import Record
from autotool_training.data.build import DataSettings, build
from autotool_training.data.catalog import SourceSpec
from autotool_training.data.sources import messages
from autotool_training.label.label import UNFINISHED, LabelSettings, ModelChoice, label
from autotool_training.pipeline.measure import Measurement, free_memory, write_results
from autotool_training.pipeline.split import conversations, count_repeated, hold_out
from autotool_training.pipeline.templates import taken
from autotool_training.recipe import BaseSettings, Recipe, resolve_source
from autotool_training.refine.probe import ProbeJob, refine_records
from autotool_training.rl import run as rl
from autotool_training.sft import train as sft

TRIES = 3
"""How often attempts are repeated to which a busy or slow server gave no answer."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a run is made of."""

    recipe: Recipe
    data: str
    """A location as `--source messages=` takes it: a file, or a hub id with its columns."""
    out: Path
    models: tuple[ModelChoice, ModelChoice]
    """The no-thinking and the thinking model that label."""
    skipped: Callable[[str], None]
    """Gets a sentence for each row that is left out."""
    held_out: int | None = None
    """Number of conversations that are held out (see `hold_out`)."""
    strict: bool = False
    launcher: Sequence[str] = ()
    """The words of a command that starts a Python module on several devices; empty to train in this process."""
    recipe_options: Sequence[str] = ()
    """Recipe and options of a stage's command, for the launcher."""
    until: str = "measure"
    """The last stage that is made."""

    @property
    def results(self) -> Path:
        """Return the file of what the modes reach."""
        return self.out / "modes.json"


# No base has to be fetched to know what the settings of a stage were by default.
DEFAULTS = Job(Recipe(base=BaseSettings(source="")), "", Path(), (ModelChoice(""), ModelChoice("")), skipped=lambda _: None)


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of a run."""

    name: str
    output: Path
    """What it writes last."""
    folder: Path
    patterns: tuple[str, ...]
    """What it writes into the folder."""
    settings: Callable[[], Mapping[str, Any]]
    """Returns, as JSON values, what its output depends on besides the outputs of the stages before it."""
    assumed: Callable[[], Mapping[str, Any]]
    """Returns these of a job of defaults, which a stage was made with before there was a setting."""
    make: Callable[[], str]
    """Makes the output, going on where it was stopped, and returns the result in a few words."""
    growing: str | None = None
    """The setting that may be raised for a stage that is done, which then goes on."""

    def files(self) -> list[Path]:
        """Return what it has written so far."""
        return sorted(path for pattern in self.patterns for path in self.folder.glob(pattern))


def stages(job: Job) -> list[Stage]:
    """Return the stages in their order."""

    def stage(
        name: str,
        output: str,
        make: Callable[[Job], str],
        settings: Callable[[Job], Mapping[str, Any]],
        *more: str,
        growing: str | None = None,
    ) -> Stage:
        patterns = (output.partition("/")[0], *more)
        known = partial(settings, job), partial(settings, DEFAULTS)
        return Stage(name, job.out / output, job.out, patterns, *known, partial(make, job), growing)

    return [
        # Attempts are those at the records of `data`: other rules of `label` take them as they are.
        stage("data", "held_out.jsonl", _data, _data_settings, "data.*", "train.jsonl", "labelled.attempts.jsonl"),
        stage("label", "labelled.jsonl", _label, _label_settings, "labelled.counts.json"),
        stage("sft", "sft/mode_profile.json", _sft, _sft_settings),
        stage("refine", "refined.jsonl", _refine, _refine_settings, "refined.*.json*", "refined.grpo"),
        stage("rl", "rl/mode_profile.json", _rl, _rl_settings, growing="rl.steps"),
        stage("measure", job.results.name, _measure, _measure_settings),
    ]


# The names of settings are those of a recipe, as `--set` takes them, so that an error says what to set.


def _data_settings(job: Job) -> dict[str, Any]:
    read = {"data": job.data, "contents": fingerprint(messages.rows_location(job.data)), "strict": job.strict}
    return {**read, "template_models": _template_models(job), "seed": job.recipe.seed, "held_out": job.held_out}


def _label_settings(job: Job) -> dict[str, Any]:
    short, long = job.models
    models = {"short": asdict(short), "long": asdict(long)}
    contents = {"short_contents": short.contents(), "long_contents": long.contents()}
    return {"label": job.recipe.label.model_dump(exclude={"batch", "concurrency"}), **models, **contents}


def _sft_settings(job: Job) -> dict[str, Any]:
    base, settings = job.recipe.base, job.recipe.sft.model_dump(exclude={"report_to"})
    return {"base": base.model_dump(), "base_contents": fingerprint(resolve_source(base.source)), "sft": settings}


def _refine_settings(job: Job) -> dict[str, Any]:
    # Steps and decoder of RL do not matter to it.
    unused = {"steps", "save_steps", "rollouts", "max_num_gen_batches", "num_iterations", *rl.OBSERVING}
    return {"refine": job.recipe.refine.model_dump(exclude={"batch"}), "rl": job.recipe.rl.model_dump(exclude=unused)}


def _rl_settings(job: Job) -> dict[str, Any]:
    return {"rl": job.recipe.rl.model_dump(exclude=rl.OBSERVING)}


def _measure_settings(job: Job) -> dict[str, Any]:
    return {"rl": job.recipe.rl.model_dump(include={"max_response_tokens", "max_prompt_tokens"})}


def _whole(job: Job) -> BaseSettings:
    """Return how checkpoints are loaded into which adapters are merged: weights of 4 bits would not take them."""
    return job.recipe.base.model_copy(update={"load_in_4bit": False})


def _template_models(job: Job) -> list[str]:
    """Return the checkpoints whose templates render the conversations; those of the project's own bases take all."""
    source = job.recipe.base.source
    own = [] if source in ("smollm2-135m-base", "scratch") else [resolve_source(source)]
    return [*own, *(model.location for model in job.models if model.is_checkpoint and model.location not in own)]


def _data(job: Job) -> str:
    made = job.out / "data.jsonl"
    settings = DataSettings(seed=job.recipe.seed, strict=job.strict)
    counts = build([SourceSpec(messages.NAME, job.data)], made, settings, job.skipped)
    read = _records(made)
    fit = list(taken(read, _template_models(job), job.skipped, strict=job.strict))
    kept, held = hold_out(fit, job.held_out, job.recipe.seed)
    files.write(job.out / "train.jsonl", kept)
    files.write(job.out / "held_out.jsonl", held)
    left_out = sum(counts.as_dict()["total"]["dropped"].values()) + len(read) - len(kept) - len(held)
    numbers = [len(conversations(records)) for records in (kept, held)]
    return (
        f"{len(kept)} turns of {numbers[0]} conversations to train on, {len(held)} of {numbers[1]} held out by "
        f"seed {job.recipe.seed} ({count_repeated(kept, held)} of them with a last request that is one of training too), "
        f"{left_out} left out"
    )


def _label(job: Job) -> str:
    settings = LabelSettings(**job.recipe.label.model_dump(), seed=job.recipe.seed, strict=job.strict)
    total = _labelled(job, settings)
    for _ in range(TRIES - 1):
        total = _labelled(job, settings) if _unfinished(total) else total
    left = _unfinished(total)
    return _shares(total) + (f", {left} attempts without an answer of a busy or slow server" if left else "")


def _labelled(job: Job, settings: LabelSettings) -> dict[str, Any]:
    """Label, going on from the attempts that are there, and return the counts."""
    path, out = job.out / "train.jsonl", job.out / "labelled.jsonl"
    return label(path, out, *job.models, settings, skipped=job.skipped).as_dict()["total"]


def _unfinished(total: Mapping[str, Any]) -> int:
    return sum(count for note, count in total["notes"].items() if note.endswith(UNFINISHED))


def _sft(job: Job) -> str:
    out, path = job.out / "sft", job.out / "labelled.jsonl"
    if job.launcher:
        _launch(job, "sft", "--records", path, "--out", out)
        return f"trained by {job.launcher[0]}"
    base = job.recipe.base.load_base(job.recipe.seed)
    writer = ExampleWriter(base.tokenizer, base.profile, base.tokenizer.eos_token_id)
    examples, left_out = sft.make_examples(_records(path), writer, job.recipe.sft)
    sft.train(base, examples, job.recipe.sft, out, seed=job.recipe.seed, loading=job.recipe.base)
    reasons = "".join(f", {count} {reason} left out" for reason, count in left_out.items())
    return f"{len(examples)} sequences in {job.recipe.sft.epochs:g} epochs{reasons}"


def _refine(job: Job) -> str:
    probing = ProbeJob(
        records=_records(job.out / "labelled.jsonl"),
        rounds=checkpoints.list_checkpoints(job.out / "sft" / "steps"),
        base=lambda: _whole(job).load_base(job.recipe.seed),
        loading=_whole(job),
        settings=job.recipe.refine,
        rl=job.recipe.rl,
        seed=job.recipe.seed,
        out=job.out / "refined.jsonl",
    )
    return _shares(refine_records(probing).as_dict()["total"])


def _rl(job: Job) -> str:
    base, out, path = job.out / "sft", job.out / "rl", job.out / "refined.jsonl"
    if job.recipe.rl.rollouts == "vllm-server":
        _reject_missing_server(job.recipe.rl.vllm_url or "", base)
    if job.launcher:
        _launch(job, "rl", "--records", path, "--base", base, "--out", out)
    else:
        loading, seed = job.recipe.base, job.recipe.seed
        warmed = loading.load_base(seed, str(base))
        rl.train(warmed, _records(path), job.recipe.rl, out, seed=seed, skipped=job.skipped, loading=loading)
    return f"{job.recipe.rl.steps} steps"


def _reject_missing_server(url: str, base: Path) -> None:
    """Raise AutoToolError if no server answers, before a trainer is set up that would wait for it."""
    try:
        with httpx.Client() as client:
            client.get(f"{url}/health").raise_for_status()
    except httpx.HTTPError:
        raise AutoToolError(
            f"No server answers at {url} (rl.vllm_url): serve {base} there, as docs/guides/train.md says, and give the "
            "command again."
        ) from None


def _measure(job: Job) -> str:
    loading, seed, settings = _whole(job), job.recipe.seed, job.recipe.rl
    base = loading.load_base(seed)
    writer = ExampleWriter(base.tokenizer, base.profile, base.tokenizer.eos_token_id)
    held_out = _records(job.out / "held_out.jsonl")
    fitting = [record for record in held_out if writer.fits(record, settings.max_prompt_tokens)]
    if not fitting:
        raise AutoToolError(f"Every held-out prompt has more than {settings.max_prompt_tokens} tokens (rl.max_prompt_tokens).")
    sizes = {"max_tokens": settings.max_response_tokens, "batch": job.recipe.refine.batch}
    # The base first: it may be gone, and takes a third of the time of the modes.
    of_base = Measurement(base, fitting, **sizes).of_base()
    del base
    free_memory()
    trained = loading.load_base(seed, str(job.out / "rl"))
    write_results(job.results, [*Measurement(trained, fitting, **sizes).of_each_mode(), *of_base])
    long = len(held_out) - len(fitting)
    left_out = f", {long} with too long a prompt left out" if long else ""
    return f"{len(fitting)} held-out turns in 3 modes, and by the base{left_out}"


def _records(path: Path) -> list[Record]:
    return list(files.read(path, strict=True))


def _shares(total: dict[str, Any]) -> str:
    """Return the numbers of the kept and dropped records by label or reason."""
    parts = [f"{count} {name}" for name, count in total["kept"].items()]
    parts += [f"{count} dropped ({name})" for name, count in total["dropped"].items()]
    return f"{', '.join(parts)} of {total['records']} turns"


def _launch(job: Job, stage: str, *options: str | Path) -> None:
    """Run a stage's command by the launcher. Raises AutoToolError if it fails, which has then said why."""
    words = [*job.launcher, "-m", "autotool_cli", "train", stage, *job.recipe_options, *map(str, options)]
    if code := subprocess.run(words, check=False).returncode:  # noqa: S603 the user's own command
        raise AutoToolError(f"The stage {stage} ended with code {code}: {shlex.join(words)}")
