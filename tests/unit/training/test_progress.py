"""What a run shows while it trains, what a stage says at its end, and the examples in the help."""

import io
import logging
import shlex
import warnings
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer import event_file_writer
from transformers import TrainerControl, TrainerState, TrainingArguments
from typer.testing import CliRunner

from autotool_training import report
from autotool_training.cli import app
from autotool_training.cli_examples import EXAMPLES
from autotool_training.common.progress import CURVES, Curves, StepProgress
from autotool_training.common.quiet import LOG_MESSAGES, quiet
from autotool_training.data.counts import Counts

COMMANDS: Any = typer.main.get_command(app)


def state(step: int, steps: int = 40, *, first: bool = True) -> TrainerState:
    return TrainerState(global_step=step, max_steps=steps, is_world_process_zero=first)


def log(callback: Any, at: TrainerState, **logs: float | None) -> None:
    callback.on_log(arguments(), at, TrainerControl(), logs=logs)


def arguments() -> TrainingArguments:
    return TrainingArguments(report_to="none", use_cpu=True)


def test_without_a_terminal_every_tenth_of_a_run_is_a_sentence() -> None:
    written = io.StringIO()
    progress = StepProgress(Console(file=written, width=200))
    progress.on_train_begin(arguments(), state(0), TrainerControl())
    for step in range(1, 41):
        log(progress, state(step), loss=1.0, accuracy=0.5, grad_norm=3.0)
    log(progress, state(40), train_runtime=7.0)
    log(progress, state(40, first=False), loss=1.0)
    lines = written.getvalue().splitlines()
    assert lines[0] == "Step 4 of 40: loss 1.000, 50% right."
    assert [line.split()[1] for line in lines] == [str(step) for step in range(4, 41, 4)]


def test_in_a_terminal_it_is_a_bar_that_ends() -> None:
    written = io.StringIO()
    progress = StepProgress(Console(file=written, force_terminal=True, width=120))
    progress.on_train_begin(arguments(), state(0), TrainerControl())
    log(progress, state(3), reward=0.25, thinking_rate=0.5)
    progress.stop()
    assert "3/40" in written.getvalue()
    assert "reward 0.25, 50% long" in written.getvalue()
    assert written.getvalue().rstrip().endswith("\x1b[?25h"), "the cursor is shown again"


def test_the_bar_fits_80_columns() -> None:
    console = Console(force_terminal=True, color_system=None, width=80, file=io.StringIO(), record=True)
    progress = StepProgress(console)
    progress.on_train_begin(arguments(), state(0, 10_000), TrainerControl())
    log(progress, state(9_999, 10_000), loss=-0.1234, reward=-0.25, accuracy=1.0, thinking_rate=1.0)
    progress.stop()
    last = console.export_text().splitlines()[-1]
    assert " 9999/10000 " in last
    assert last.rstrip().endswith("loss -0.123, reward -0.25, 100% right, 100% long")


def test_curves_are_in_the_folder_of_the_run_and_go_on_after_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "elsewhere"))
    # Files are read in the order of their names, which end with this number: of one second, 10 would come before 9.
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(0))
    for steps in ((1, 2, 3), (3, 4)):
        curves = Curves(tmp_path)
        curves.on_train_begin(arguments(), state(steps[0] - 1), TrainerControl())
        for step in steps:
            log(curves, state(step), loss=float(step), clip=None)
        curves.on_train_end(arguments(), state(steps[-1]), TrainerControl())
    read = EventAccumulator(str(tmp_path / CURVES)).Reload()
    assert [event.step for event in read.Scalars("train/loss")] == [1, 2, 3, 4]
    assert not (tmp_path / "elsewhere").exists()


def passes(name: str, message: str) -> bool:
    """Whether a logger lets a warning pass, whatever level and handlers it was given in this process."""
    logger = logging.getLogger(name)
    return bool(logger.filter(logger.makeRecord(name, logging.WARNING, "", 0, message, (), None)))


def test_only_the_named_warnings_are_left_out() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        quiet()
        warnings.warn("TRL currently supports vLLM versions from 1 to 2.", stacklevel=1)
        warnings.warn("TRL is on fire.", stacklevel=1)
    assert [str(one.message) for one in seen] == ["TRL is on fire."]
    for name, message in LOG_MESSAGES.items():
        assert not passes(name, f"{message}. And so on.")
        assert passes(name, f"Another thing of {name}")


def counts() -> Counts:
    made = Counts("Labels")
    made.seen["graded"], made.kept["graded"]["short"] = 7, 5
    return made


def test_a_stage_says_where_its_result_is_and_what_is_next(capsys: pytest.CaptureFixture[str]) -> None:
    recipe, options = Path("my own/a.toml"), report.carried(["rl.steps=3"], 7, strict=True)
    report.after_data(counts(), report.carried(seed=7, strict=True), Path("runs/data.jsonl"))
    report.after_label(counts(), report.carried(seed=7, strict=True), Path("runs/labelled.jsonl"))
    report.after_scratch(recipe, report.carried(["rl.steps=3"], 7), Path("runs/base"), 1_400_000)
    report.after_sft(recipe, options, Path("runs/labelled.jsonl"), Path("runs/sft"))
    report.after_refine(counts(), recipe, options, Path("runs/sft/steps"), Path("runs/refined.jsonl"))
    report.after_rl(Path("runs/rl"))
    lines = capsys.readouterr().out.splitlines()
    assert "5 of 7 records are saved to runs/data.jsonl." in lines
    assert (
        "Next: autotool train rl 'my own/a.toml' --set rl.steps=3 --seed 7 --strict --records runs/refined.jsonl "
        "--base runs/sft --out runs/rl"
    ) in lines
    assert (
        "Next: autotool train sft 'my own/a.toml' --set rl.steps=3 --seed 7 --set base.source=runs/base --records LABELLED "
        "--out runs/sft"
    ) in lines
    following = [shlex.split(line.removeprefix("Next: ")) for line in lines if line.startswith("Next: autotool train ")]
    assert len(following) == 6
    assert all("7" in words for words in following if words[2] != "plot")
    for _, _, name, *options in following:
        COMMANDS.commands[name].make_context(name, options)


def test_only_the_first_process_of_a_run_speaks(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    report.after_rl(Path("runs/rl"))
    assert capsys.readouterr().out == ""


def test_every_command_has_an_example_in_its_help_that_it_would_take() -> None:
    assert EXAMPLES.keys() == COMMANDS.commands.keys()
    for name, example in EXAMPLES.items():
        shown = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "80"}).output
        assert " ".join(example.split()) in " ".join(shown.split())
        assert max(map(len, shown.splitlines())) <= 80
        _, _, named, *options = shlex.split(example.replace("\\\n", " "))
        assert named == name
        COMMANDS.commands[name].make_context(name, options)
