"""Entropy targets are measured on what the objective measures."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from support.training import SIZES, records
from torch import Tensor

from autotool_core.errors import AutoToolError
from autotool_core.modes import Mode, ResolvedMode
from autotool_training import scratch
from autotool_training.common.checkpoint import Checkpoint
from autotool_training.common.examples import ExampleWriter
from autotool_training.rl import run, targets
from autotool_training.rl.run_settings import RlSettings
from autotool_training.rl.settings import EntropyTargets
from autotool_training.rl.targets import Probes, measure_targets

PROBES = Probes(count=4, batch=3, max_tokens=8, percentile="mean", seed=1)


@pytest.fixture(scope="module")
def base() -> Checkpoint:
    return scratch.make(SIZES, seed=0)


def answered(monkeypatch: pytest.MonkeyPatch, base: Checkpoint, *, ended: int) -> list[tuple[list[int], list[int]]]:
    """What is measured where so many answers of each batch end, the others being cut off."""
    seen: list[tuple[list[int], list[int]]] = []

    def sample(model: Any, prompts: Sequence[Sequence[int]], max_tokens: int, eos: Sequence[int]) -> list[list[int]]:
        return [[7, 8, *eos] if at < ended else [9] * max_tokens for at in range(len(prompts))]

    def measure(model: Any, rollouts: Sequence[tuple[list[int], list[int]]], decisions: Sequence[int]) -> tuple[Tensor, Tensor]:
        seen.extend(rollouts)
        return torch.arange(len(rollouts), dtype=torch.float32), torch.ones(len(rollouts))

    monkeypatch.setattr(targets, "sample", sample)
    monkeypatch.setattr(targets, "measure", measure)
    measure_targets(base, records(6), PROBES)
    return seen


def test_an_answer_follows_the_auto_prefix_and_truncated_ones_do_not_count(
    base: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = ExampleWriter(base.tokenizer, base.profile, base.tokenizer.eos_token_id)
    measured = answered(monkeypatch, base, ended=1)
    prompts = [writer.prompt(one, Mode.AUTO) for one in records(6)]
    assert all(prompt in prompts for prompt, _ in measured)
    end = base.tokenizer.eos_token_id
    assert [response for _, response in measured] == [
        [*prefix, 7, 8, end]
        for prefix in (writer.response_prefixes[ResolvedMode.SHORT], writer.response_prefixes[ResolvedMode.LONG])
        for _ in "ab"
    ]


def test_a_mode_with_only_truncated_answers_is_measured_by_them(base: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(answered(monkeypatch, base, ended=0)) == 2 * PROBES.count


def uneven(monkeypatch: pytest.MonkeyPatch, base: Checkpoint) -> None:
    """Have the base think about one of two records in nine of ten cases, and about the other in one."""
    entropy, odds = torch.tensor([0.1, 0.3, 0.2, 0.6]), torch.tensor([0.1, 0.9, 0.9, 0.1])
    monkeypatch.setattr(targets, "sample", lambda model, prompts, *_: [[7, base.tokenizer.eos_token_id] for _ in prompts])
    monkeypatch.setattr(targets, "measure", lambda *_: (entropy, odds))


CHOSEN, FORCED = 0.2 * 0.9 + 0.6 * 0.1, 0.4


@pytest.mark.parametrize(("answers", "long"), [("chosen", CHOSEN), ("forced", FORCED)])
def test_targets_are_the_mean_over_the_answers_that_the_base_would_choose(
    base: Checkpoint, monkeypatch: pytest.MonkeyPatch, answers: Literal["chosen", "forced"], long: float
) -> None:
    uneven(monkeypatch, base)
    probes = replace(PROBES, count=2, answers=answers)
    assert measure_targets(base, records(2), probes).long == pytest.approx(long)


@pytest.mark.parametrize(("decisions", "long"), [("sampled", CHOSEN), ("halved", FORCED)])
def test_targets_are_of_the_answers_by_which_beta_is_adapted(
    base: Checkpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, decisions: str, long: float
) -> None:
    uneven(monkeypatch, base)
    job = run._Job(base, records(2), RlSettings.model_validate({"decisions": decisions, "probes": 2}), tmp_path, 0)
    measured = run._with_targets(job, torch.device("cpu")).targets
    assert measured
    assert measured.long == pytest.approx(long)


def test_only_the_seed_changes_the_result(base: Checkpoint) -> None:
    torch.manual_seed(5)
    first = measure_targets(base, records(6), PROBES)
    torch.manual_seed(6)
    assert measure_targets(base, records(6), PROBES) == first
    assert measure_targets(base, records(6), Probes(4, 3, 8, "mean", seed=2)) != first


def test_targets_are_of_the_base_whatever_a_server_has(base: Checkpoint, tmp_path: Path) -> None:
    made: list[EntropyTargets | None] = []
    for rollouts in ("transformers", "vllm-server"):
        # Nothing listens there.
        decoder = {"rollouts": rollouts, "vllm_url": "http://127.0.0.1:9"}
        sizes = {"probes": 2, "prompts": 2, "group": 2, "max_response_tokens": 8}
        settings = RlSettings.model_validate({"objective": {"variant": "autotool"}, **sizes, **decoder})
        (tmp_path / rollouts).mkdir()
        job = run._Job(base, records(4), settings, tmp_path / rollouts, 0)
        made.append(run._with_targets(job, torch.device("cpu")).targets)
    assert made[0] is not None
    assert made[0] == made[1]


def test_rl_over_a_server_is_refused_without_a_gpu(base: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    settings = RlSettings.model_validate({"rollouts": "vllm-server", "vllm_url": "http://127.0.0.1:9"})
    with pytest.raises(AutoToolError, match=r"rl\.rollouts=vllm-server needs a GPU here, .* set rl\.rollouts to vllm or"):
        run.train(base, records(8), settings, tmp_path / "rl", seed=0)
    assert not (tmp_path / "rl").exists()
