"""A calibration: the run, what it says, and the profile with the bias."""

import json
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console
from rich.text import Text

from autotool_bench.calibration.choose import Choice, Ranking, choose, rank
from autotool_bench.calibration.pairs import Pairs, read_pairs, write_dial_run
from autotool_bench.config import RunConfig
from autotool_bench.report import text, write_dial
from autotool_bench.report.summary import finite
from autotool_bench.run import execute
from autotool_core import jsonl
from autotool_core.console import plain_console
from autotool_core.profile import FILE_NAME, Profile
from autotool_core.target import Target

FILE = "calibration.json"
MAX_BIAS = 100.0


def calibrate(config: RunConfig, target: Target, profile: Profile, console: Console | None = None) -> None:
    """Attempt the tasks in `pairs.MODES`, those of the run; print what p_long is worth, and write the profile with the bias.

    `profile`: that of the server. The folder of the run gets `mode_profile.json`, `calibration.json` and, in `dial`, the dial.
    A run that was stopped resumes. Raises AutoToolError as `execute` and `read_pairs` do.
    """
    console = console or plain_console()
    execute(replace(config, without_relief=True))
    pairs = read_pairs(config.out, profile.decision_bias)
    ranking, choice = rank(pairs), choose(pairs, target)
    write_dial_run(pairs, config.out, config.out / "dial")
    write_dial(config.out / "dial", console)
    bias = round(min(max(profile.decision_bias + choice.bias, -MAX_BIAS), MAX_BIAS), 4)
    _write(config.out, profile.model_copy(update={"decision_bias": bias}), ranking, choice)
    for sentence in sentences(pairs, ranking, choice):
        console.print(Text(f"\n{sentence}"))
    console.print(Text(f"\n{config.out / FILE_NAME}: the profile with decision_bias {bias:+g}, for autotool serve --profile"))


def sentences(pairs: Pairs, ranking: Ranking, choice: Choice) -> list[str]:
    """Say what p_long is worth, and what the bias reaches."""
    left_out = f" {pairs.left_out} tasks that ended in an error are left out." if pairs.left_out else ""
    return [_worth(ranking) + left_out, _reached(choice)]


def _worth(ranking: Ranking) -> str:
    needed = f"Long is right where short is not in {ranking.needs_long} of {ranking.tasks} tasks."
    if ranking.auc is None or ranking.interval is None:
        end = "short" if ranking.needs_long == 0 else "long"
        return f"{needed} There is nothing to choose: take {end} (--default-mode {end})."
    low, high = ranking.interval.low, ranking.interval.high
    ranked = (
        f"{needed} p_long ranks these above the others in {ranking.auc:.1%} of pairs (95 % interval {low:.1%} to {high:.1%})."
    )
    if ranking.is_worth_something:
        return ranked
    return (
        f"{ranked} A guess has 50 %: on these tasks p_long is not shown to be worth anything, and a bias may reach no more "
        "than a coin toss between short and long. Train the decision (autotool train decide), or serve one mode."
    )


def _reached(choice: Choice) -> str:
    accuracy, tokens, bias = choice.accuracy_interval, choice.generated_interval, choice.bias_interval
    return (
        f"{choice.target}: bias {choice.bias:+g} ({bias.low:+g} to {bias.high:+g}) solves {text.percent(choice.accuracy)} "
        f"({text.percent_range(accuracy)}) of the tasks with {text.tokens(choice.generated_tokens)} tokens "
        f"({text.range_of(tokens)}) and thinks in {text.percent(choice.thinking_rate)}; short solves "
        f"{text.percent(choice.short_accuracy)}, long {text.percent(choice.long_accuracy)}. In brackets are 95 % intervals."
    )


def _write(folder: Path, profile: Profile, ranking: Ranking, choice: Choice) -> None:
    found = finite({"p_long": asdict(ranking), "choice": asdict(choice)})
    (folder / FILE).write_text(json.dumps(found, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    with jsonl.atomic_write(folder / FILE_NAME) as part:
        part.write_text(profile.model_dump_json(indent=2) + "\n", encoding="utf-8")
