"""What `autotool train` says when a stage begins and ends: where its result is, and the commands that usually follow."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from autotool_core.console import plain_console
from autotool_core.profile import FILE_NAME
from autotool_training.data.counts import Counts

if TYPE_CHECKING:
    from autotool_training.decide.train import Result


def say(sentence: str, *following: str) -> None:
    """Print a sentence and the commands that follow, each in a line of its own, so that it can be copied.

    Of a run on several devices only the first process prints.
    """
    if os.environ.get("RANK", "0") != "0":
        return
    console = plain_console()
    for line in (sentence, *(f"Next: {command}" for command in following)):
        console.print(line, soft_wrap=True)


def skipped(sentence: str) -> None:
    """Print, on standard error, a sentence about what is left out."""
    plain_console(stderr=True).print(f"skipped: {sentence}", style="yellow", soft_wrap=True)


def before_training(out: Path) -> None:
    """Say where to watch a run, or that its result is already there."""
    if (out / FILE_NAME).exists():
        say(f"{out} already holds the result of this run.")
    else:
        say(f"Training into {out}. To watch the curves: {shlex.join(['tensorboard', '--logdir', str(out)])}")


def carried(changes: Sequence[str] = (), seed: int | None = None, *, strict: bool = False) -> list[str]:
    """Return the options of a command that the next one needs too."""
    words = [word for change in changes for word in ("--set", change)]
    return [*words, *(() if seed is None else ("--seed", str(seed))), *(("--strict",) if strict else ())]


def after_data(counts: Counts, options: Sequence[str], out: Path) -> None:
    """Say that the records are written. `options`, here and below: the words of `carried`."""
    models = ("--short", "MODEL", "--long", "MODEL")
    say(_saved(counts, out), _train("label", "--records", out, *models, *options, "--out", out.with_name("labelled.jsonl")))


def after_label(counts: Counts, options: Sequence[str], out: Path) -> None:
    """Say that the labelled records are written."""
    say(_saved(counts, out), _train("sft", "RECIPE", *options, "--records", out, "--out", out.with_name("sft")))


def after_scratch(recipe: Path, options: Sequence[str], out: Path, parameters: int) -> None:
    """Say that the tiny base is written."""
    named = f"base.source={out}"
    say(
        f"A base of {parameters:,} parameters is saved to {out}.",
        _train("sft", recipe, *options, "--set", named, "--records", "LABELLED", "--out", out.with_name("sft")),
    )


def after_sft(recipe: Path, options: Sequence[str], records: Path, out: Path) -> None:
    """Say that the warm-up is done, and how to go on: with refined records, or at once."""
    refined = records.with_name("refined.jsonl")
    say(
        f"The checkpoint is saved to {out}, and those of its steps to {out / 'steps'}.",
        _train("refine", recipe, *options, "--records", records, "--checkpoint", out / "steps", "--out", refined),
    )


def after_refine(counts: Counts, recipe: Path, options: Sequence[str], probed: Path, out: Path) -> None:
    """Say that the records for RL are written. `probed`: the last checkpoint that was probed."""
    base = probed.parent if probed.name == "steps" else probed
    named = ("--records", out, "--base", base, "--out", base.with_name("rl"))
    say(_saved(counts, out), _train("rl", recipe, *options, *named))


def after_rl(out: Path) -> None:
    """Say that the checkpoint is written."""
    plot = _train("plot", out, "--out", out.with_name("dynamics.svg"))
    say(f"The checkpoint is saved to {out}.", plot, _command("serve", "--model", out))


def after_decide(result: "Result", checkpoint: str, out: Path) -> None:
    """Say what the decision was before and after its training, on records that no head was trained on."""
    own, trained = result.own, result.trained
    say(
        f"{result.records} records, {result.long} of them long; {result.left_out} with longer prompts left out. p_long ranks a "
        f"long one above a short one in {trained.auc:.1%} of pairs (before: {own.auc:.1%}; a guess: 50.0%), with a loss of "
        f"{trained.loss:.3f} nats (before: {own.loss:.3f}), cross-validated. The profile is saved to {out}.",
        _command("serve", "--model", checkpoint, "--profile", out),
    )


def after_run(out: Path) -> None:
    """Say where the checkpoint of a whole run is."""
    say(f"The checkpoint is saved to {out}.", _command("serve", "--model", out))


def _saved(counts: Counts, out: Path) -> str:
    total = counts.as_dict()["total"]
    return f"{sum(total['kept'].values())} of {total['records']} records are saved to {out}."


def _train(*words: str | Path) -> str:
    return _command("train", *words)


def _command(*words: str | Path) -> str:
    """Return a command as a shell takes it."""
    return shlex.join(["autotool", *map(str, words)])
