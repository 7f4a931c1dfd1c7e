"""Synthetic texts are true to their tables, and a random model learns from the curriculum."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from support.training import SIZES
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typer.testing import CliRunner

from autotool_core.errors import AutoToolError
from autotool_core.graded import LEVELS
from autotool_core.graded import make as make_task
from autotool_core.graded.domains import NAMES, WEEKDAYS
from autotool_core.modes import ResolvedMode
from autotool_training import recipe, scratch
from autotool_training.cli import app
from autotool_training.common import checkpoint
from autotool_training.common.examples import IGNORE_INDEX, ExampleWriter
from autotool_training.common.progress import CURVES
from autotool_training.patches.muon import muon
from autotool_training.scratch import pretrain
from autotool_training.scratch import synthetic_texts as texts
from autotool_training.scratch.curriculum import TokenSequence, curriculum, task_tokens, text_tokens
from autotool_training.scratch.pretrain import PretrainSettings
from autotool_training.scratch.synthetic_texts import SyntheticText

RECIPE = Path(__file__).parents[4] / "training" / "recipes" / "graded-tiny-base.toml"
FEW: dict[str, Any] = {
    "table_steps": 4,
    "table_batch": 8,
    "asked_first_steps": 4,
    "asked_first_batch": 4,
    "drill_steps": 4,
    "drill_batch": 4,
    "request_steps": 4,
    "request_batch": 4,
    "single_request_steps": 4,
    "single_request_batch": 4,
    "task_steps": 16,
    "task_batch": 4,
}
SETTINGS = PretrainSettings(
    **FEW, table_goal=None, asked_first_goal=None, drill_goal=None, embedding_rate=2e-2, warmup_steps=4, save_steps=4
)


def tables(text: SyntheticText) -> dict[str, dict[str, str]]:
    matches = re.findall(r"(list|table)\b.*?: (.*?\.)", text.tables, re.IGNORECASE)
    return {kind.lower(): dict(re.findall(r"(\w+) (\w+)(?=[,.])", rows)) for kind, rows in matches}


def test_a_derivation_has_look_ups_of_its_own_tables() -> None:
    for one in (texts.derivation(0, index) for index in range(50)):
        held = tables(one)
        phrases = [(name, value) for phrase, value in one.answers for name in NAMES if re.search(rf"\b{name}\b", phrase)]
        assert len(phrases) == 16
        assert all(held["table" if value.isdecimal() else "list"][name] == value for name, value in phrases)
    assert texts.derivation(0, 0) != texts.derivation(1, 0)


@pytest.mark.parametrize("rows", [2, 3])
def test_a_single_table_is_followed_by_look_ups_of_its_rows(rows: int) -> None:
    for one in (texts.single_table(0, index, rows=rows) for index in range(50)):
        held = dict(re.findall(r"(\w+) (\w+)[,.]", one.tables))
        assert len(held) == rows
        assert all(held[name] == value for name, value in one.answers)


def test_a_look_up_may_precede_its_table() -> None:
    for one in (texts.asked_first(0, index) for index in range(50)):
        question, table = one.tables.split(". ", 1)
        (phrase, value), rows = one.answers[0], dict(re.findall(r"(\w+) (\w+)(?=[,.])", table.split(": ")[-1]))
        named = [name for name in NAMES if re.search(rf"\b{name}\b", question)]
        assert [rows[name] for name in named] == [value]
        assert phrase[:-1] in table


def test_requests_are_answered_argument_by_argument() -> None:
    looked_up = 0
    for one in (texts.requests(0, index) for index in range(0, 100, 2)):
        held = tables(one)
        assert len(one.answers) == 18
        phrases = [phrase for phrase, _ in one.answers]
        assert all(phrase == "day:" for phrase in phrases[2::3])
        for (request, thing), (amount, number) in zip(one.answers[::3], one.answers[1::3], strict=True):
            assert number.isdecimal()
            assert amount.endswith("s:")
            named = [name for name in NAMES if re.search(rf"\b{name}\b", request)]
            if thing in held["list"].values() and not re.search(rf"\b{thing}\b", request):
                assert thing in {held["list"].get(name) for name in named}
                looked_up += 1
    assert looked_up > 50


def test_every_other_text_is_the_request_of_a_task() -> None:
    for index in range(1, 40, 2):
        one, task = texts.requests(0, index), make_task("train", LEVELS[index // 2 % len(LEVELS)], 0, index // 2, distractors=0)
        assert one == texts.single_request(0, index // 2)
        assert one.tables == task.request
        assert dict(one.answers) == {f"{name}:": str(value) for name, value in task.calls[0].arguments.items()}


def test_a_value_of_two_calculations_is_left_out_if_one_is_the_limit() -> None:
    tasks = [make_task("train", LEVELS[turn % len(LEVELS)], 0, turn, distractors=0) for turn in range(60)]
    for turn, task in enumerate(tasks):
        phrases = {phrase for phrase, _ in texts.requests(0, 2 * turn + 1, max_calculations=1).answers}
        assert len(phrases) == (2 if texts.calculations(task) == 2 else 3)
    assert {texts.calculations(task) for task in tasks} == {0, 1, 2}
    large = [
        one for one in (texts.requests(0, index, max_calculations=1) for index in range(0, 60, 2)) if "hours" in one.tables
    ]
    numbers = [int(number) for one in large for _, number in one.answers[1::3]]
    assert large
    assert all(number % 60 == 0 and number <= 60 * max(texts.AMOUNTS) for number in numbers)


def test_tasks_of_many_calculations_are_answered_with_reasoning() -> None:
    base = scratch.make(SIZES, seed=0)
    writer = ExampleWriter(base.tokenizer, base.profile, base.tokenizer.eos_token_id)
    settings = SETTINGS.model_copy(update={"long_every": 2, "short_calculations": 1})
    seen: dict[int, set[int]] = {}
    for index in range(120):
        task = make_task("train", LEVELS[index % len(LEVELS)], 0, index)
        seen.setdefault(texts.calculations(task), set()).add(decision(task_tokens(0, index, writer, settings)))
    long = writer.response_prefixes[ResolvedMode.LONG][0]
    assert seen[2] == {long}
    assert all(long in seen[count] and len(seen[count]) == 2 for count in (0, 1))


def test_a_derivation_counts_days_and_calculates() -> None:
    text = " ".join(f"{phrase} {value}." for index in range(50) for phrase, value in texts.derivation(0, index).answers)
    for start, days, end in re.findall(r"(\w+) plus (\d) days: (\w+)\.", text):
        assert (WEEKDAYS.index(start) + int(days)) % 7 == WEEKDAYS.index(end)
    sums = re.findall(r"(\d) minutes (plus|minus) (\d): (\d+)\.", text)
    assert sums
    assert all(int(total) == int(one) + (int(other) if sign == "plus" else -int(other)) for one, sign, other, total in sums)
    hours = re.findall(r"(\d+) hours are minutes: (\d+)\.", text)
    assert hours
    assert all(60 * int(large) == int(small) for large, small in hours)


def test_only_the_values_have_loss() -> None:
    tokenizer = scratch.make(SIZES, seed=0).tokenizer
    one = texts.derivation(0, 0)
    row = text_tokens(one, tokenizer)
    learnt = [(token, label) for token, label in zip(row.ids, row.labels, strict=True) if label != IGNORE_INDEX]
    assert tokenizer.decode([label for _, label in learnt]) == "".join(f" {value}." for _, value in one.answers)
    assert all(token == label for token, label in learnt)
    assert tokenizer.decode(row.ids).startswith(one.tables)


def decision(sequence: TokenSequence) -> int:
    """The token before the first one with loss: pretraining does not teach which mode a task needs."""
    return sequence.ids[next(index for index, label in enumerate(sequence.labels) if label != IGNORE_INDEX) - 1]


def test_a_stage_continues_from_any_step() -> None:
    tasks = curriculum(scratch.make(SIZES, seed=0), SETTINGS, seed=0)[-1]
    whole = list(tasks.batches(0, 0))
    assert len(whole) == SETTINGS.task_steps
    assert all(list(tasks.batches(0, start)) == whole[start:] for start in (3, 8, 15))
    assert list(tasks.batches(1, 0)) != whole
    decisions = [decision(row) for rows in whole for row in rows]
    assert sorted(decisions.count(one) / len(decisions) for one in set(decisions)) == pytest.approx([1 / 3, 2 / 3], abs=0.1)


@pytest.mark.parametrize("shape", [(24, 8), (8, 24)])
def test_a_step_of_muon_is_orthogonal(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.nn.Parameter(torch.zeros(shape))
    optimizer = muon([matrix], lr=1.0, weight_decay=0.0)
    (matrix * torch.randn(shape)).sum().backward()
    optimizer.step()
    scale = max(1, shape[0] / shape[1]) ** 0.5  # torch's own adjustment of the rate
    assert torch.linalg.svdvals(matrix.detach() / scale).tolist() == pytest.approx([1.0] * 8, abs=0.35)
    assert matrix.dtype is torch.float32
    assert not torch.equal(matrix, matrix.bfloat16().float())  # nothing of it was rounded


class StopError(Exception):
    """A run is cut off."""


def run(out: Path) -> checkpoint.Checkpoint:
    return pretrain.pretrain(scratch.make(SIZES, seed=0), SETTINGS, out, seed=0)


def losses(out: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_pretraining_lowers_the_loss_and_an_interrupted_run_has_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = run(tmp_path / "straight")
    seen = losses(tmp_path / "straight")
    assert len(seen) == 10
    assert seen[-1] < 0.8 * seen[6]  # the first of whole tasks
    assert not (tmp_path / "straight" / pretrain.STATE).exists()
    with monkeypatch.context() as patch:
        step = iter(range(10))
        loss = pretrain._loss
        patch.setattr(pretrain, "_loss", lambda model, rows: loss(model, rows) if next(step, None) is not None else stop())
        patch.setattr(pretrain.SummaryWriter, "close", lambda _: None)  # as a killed run leaves it
        with pytest.raises(StopError):
            run(tmp_path / "cut")
    points = EventAccumulator(str(tmp_path / "cut" / CURVES)).Reload().Scalars("train/loss")
    assert [point.value for point in points] == pytest.approx(losses(tmp_path / "cut"), abs=1e-4)
    resumed = run(tmp_path / "cut")
    assert losses(tmp_path / "cut") == seen
    for one, other in zip(straight.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert run(tmp_path / "cut").model.num_parameters() == straight.model.num_parameters()  # has ended: loaded, not trained
    more = SETTINGS.model_copy(update={"task_steps": SETTINGS.task_steps + 1})
    with pytest.raises(AutoToolError, match=r"gets no more settings\.task_steps"):
        pretrain.pretrain(scratch.make(SIZES, seed=0), more, tmp_path / "cut", seed=0)


def stop() -> torch.Tensor:
    raise StopError


def test_a_loss_that_is_no_number_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loss = pretrain._loss
    monkeypatch.setattr(pretrain, "_loss", lambda model, rows: loss(model, rows) * float("nan"))
    with pytest.raises(AutoToolError, match=r"not a number at step 1: lower base\.scratch\.practice\.learning_rate"):
        run(tmp_path)


def test_a_stage_ends_at_its_goal_or_reports_that_it_was_missed(tmp_path: Path) -> None:
    base, easy = (
        scratch.make(SIZES, seed=0),
        SETTINGS.model_copy(update={"table_goal": 99.0, "save_steps": 1, "table_steps": 50}),
    )
    pretrain.pretrain(base, easy, tmp_path / "easy", seed=0)
    lines = [json.loads(line) for line in (tmp_path / "easy" / "metrics.jsonl").read_text().splitlines()]
    assert [line["lesson"] for line in lines[:3]] == [0, 1, 2]
    with pytest.raises(AutoToolError, match=r"Stage 4 did not reach a loss of 0\.0 nats in 4 steps: try another --seed"):
        pretrain.pretrain(base, easy.model_copy(update={"derivation_goal": 0.0}), tmp_path / "hard", seed=0)


def test_the_command_writes_a_base_that_recipes_load(tmp_path: Path) -> None:
    sizes = "base.scratch={ hidden_size = 32, layers = 2, heads = 2, intermediate_size = 64 }"
    few = [f"{key} = {min(value, 2)}" for key, value in FEW.items()]
    goals = [f"{lesson}_goal = 99.0" for lesson in ("table", "asked_first", "drill")]
    steps = f"base.scratch.practice={{ {', '.join([*few, *goals])}, save_steps = 1 }}"
    changes = ["--set", sizes, "--set", steps]
    done = CliRunner().invoke(app, ["scratch", str(RECIPE), "--out", str(tmp_path / "tiny"), *changes])
    assert "parameters" in done.output, done.output
    base = recipe.load_recipe(RECIPE, [f"base.source={tmp_path / 'tiny'}"]).base.load_base(0)
    assert base.profile.markers
    assert base.model.config.hidden_size == 32
