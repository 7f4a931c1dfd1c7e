"""The adapter on a tiny random Llama: every variant, its batches and entropies, and resumed runs."""

import json
import math
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from support.grpo import GROUP, STEPS, TARGETS, ending_soon, make_data, make_trainer
from support.tiny import make_llama, make_tokenizer
from trl.trainer.utils import RepeatSampler

from autotool_core.errors import AutoToolError
from autotool_training.common import prefix_sharing
from autotool_training.rl.entropy import measure, token_entropy
from autotool_training.rl.grpo import BETA_FILE, AutoToolGRPOTrainer
from autotool_training.rl.settings import ObjectiveSettings, RewardTable, Variant


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def rows(trainer: AutoToolGRPOTrainer, groups: int = 1) -> list[dict[str, Any]]:
    """A generation batch as TRL's sampler makes it: each item GROUP times."""
    data: Any = trainer.train_dataset
    return [data[at] for at in range(groups) for _ in range(GROUP)]


def losses(trainer: AutoToolGRPOTrainer) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def betas(trainer: AutoToolGRPOTrainer) -> list[float]:
    return [entry["beta_long"] for entry in trainer.state.log_history if "beta_long" in entry]


@pytest.mark.parametrize("variant", get_args(Variant))
def test_every_variant_trains(tmp_path: Path, variant: Variant) -> None:
    # A random model is seldom right: with this seed it is at times.
    trainer = make_trainer(tmp_path, variant, seed=4, **ending_soon())
    before = {name: weight.clone() for name, weight in trainer.model.named_parameters()}
    trainer.train()
    assert len(losses(trainer)) == STEPS
    assert 0 < sum(entry.get("accuracy", 0) for entry in trainer.state.log_history) < STEPS
    assert torch.tensor(losses(trainer)).isfinite().all()
    assert any(not torch.equal(weight, before[name]) for name, weight in trainer.model.named_parameters())
    rising = sorted(set(betas(trainer))) == betas(trainer)
    assert rising == (variant in {"autotool", "no-decoupling"})
    logged = set().union(*trainer.state.log_history)
    per_mode = {f"{name}/{mode}" for name in ("reward", "accuracy", "length", "entropy") for mode in ("short", "long")}
    assert logged >= per_mode | {
        "thinking_rate",
        "beta_long",
        "zero_variance_groups",
        "entropy_weight_share",
        "entropy/think",
        "malformed",
    }


@pytest.mark.parametrize("share", [False, True])
def test_with_halved_groups_every_step_thinks_in_half_of_its_rollouts(tmp_path: Path, share: bool) -> None:
    trainer = make_trainer(tmp_path, "grpo", halved=True, share=share, **ending_soon())
    trainer.train()
    logged = [entry["thinking_rate"] for entry in trainer.state.log_history if "thinking_rate" in entry]
    assert logged == [0.5] * STEPS


def test_with_shared_prompts_a_run_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts: list[int] = []
    make_row = prefix_sharing.collate
    monkeypatch.setattr(prefix_sharing, "collate", lambda packs: prompts.append(len(packs)) or make_row(packs))
    trainers: list[AutoToolGRPOTrainer] = []
    batch = {"per_device_train_batch_size": 2 * GROUP, **ending_soon()}
    for share in (False, True):
        # The second draws its rollouts from the same state of the generator only if it is made after the first has run.
        trainers.append(make_trainer(tmp_path / str(share), share=share, **batch))
        trainers[-1].train()
    alone, shared = trainers
    assert set(prompts) == {2}  # a part has two whole groups
    assert losses(shared) == pytest.approx(losses(alone), abs=1e-4)
    for name, weight in alone.model.state_dict().items():
        torch.testing.assert_close(shared.model.state_dict()[name], weight, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("share", [False, True])
def test_rollouts_are_decoded_without_copies_of_the_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: bool) -> None:
    trainer = make_trainer(tmp_path, share=share, **ending_soon())
    before, decoded = trainer.model.config._attn_implementation, set[str]()
    forward = trainer.model.forward

    def recorded(*args: Any, **kwargs: Any) -> Any:
        if kwargs.get("past_key_values") is not None:
            decoded.add(trainer.model.config._attn_implementation)
        return forward(*args, **kwargs)

    monkeypatch.setattr(trainer.model, "forward", recorded)
    trainer.train()
    assert decoded == {prefix_sharing.ATTENTION}
    assert trainer.model.config._attn_implementation == before == (prefix_sharing.ATTENTION if share else "sdpa")


def test_the_gap_between_decoder_and_trainer_is_logged(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, max_steps=1, save_strategy="no")
    trainer.train()
    assert 0 <= trainer.state.log_history[0]["logp_gap"] < 1e-4


def test_a_killed_run_resumes_with_the_results_of_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = make_trainer(tmp_path, **ending_soon())
    whole.train()
    saved = json.loads((tmp_path / "checkpoint-2" / BETA_FILE).read_text())
    resumed = make_trainer(tmp_path / "resumed", model=make_llama(make_tokenizer(), seed=9), **ending_soon())
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert saved == {"beta": betas(whole)[2]}
    assert (losses(resumed), betas(resumed)) == (losses(whole), betas(whole))
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name]), name


@pytest.mark.parametrize("saved", [2, 3, 4, 7])
def test_a_run_resumed_in_any_epoch_gets_the_records_of_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved: int
) -> None:
    seen: dict[int, list[list[int]]] = {}

    def note(trainer: AutoToolGRPOTrainer, _: Any, inputs: list[dict[str, Any]], *__: Any) -> torch.Tensor:
        seen.setdefault(trainer.state.global_step, []).append([row["prompt"] for row in inputs])
        return torch.zeros(())

    monkeypatch.setattr(AutoToolGRPOTrainer, "training_step", note)
    steps = {"max_steps": 8, "save_strategy": "no"}  # of two of the six records each
    whole = make_trainer(tmp_path, **{**steps, "save_strategy": "steps", "save_steps": saved})
    whole.train()
    unbroken, chunks = seen.copy(), _chunks_of_trl(whole, passes=3)
    assert [unbroken[step][0] for step in range(8)] == [[row for row in chunk for _ in range(GROUP)] for chunk in chunks[:8]]
    seen.clear()
    make_trainer(tmp_path / "resumed", **steps).train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{saved}"))
    assert seen == {step: unbroken[step] for step in range(saved, 8)}


def _chunks_of_trl(trainer: AutoToolGRPOTrainer, passes: int) -> list[list[list[int]]]:
    """The prompts of each step in TRL's own order."""
    data: Any = trainer.train_dataset
    sampler = RepeatSampler(data, mini_repeat_count=1, batch_size=2, seed=trainer.args.seed)
    order = [data[at]["prompt"] for _ in range(passes) for at in sampler]
    return [order[at : at + 2] for at in range(0, len(order), 2)]


def test_a_checkpoint_without_beta_is_refused(tmp_path: Path) -> None:
    make_trainer(tmp_path, max_steps=1).train()
    (tmp_path / "checkpoint-1" / BETA_FILE).unlink()
    with pytest.raises(AutoToolError, match="no beta"):
        make_trainer(tmp_path).train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))


def test_prompts_are_unchanged_and_rollouts_start_with_a_decision_token(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, **ending_soon())
    items = rows(trainer, groups=6)
    batch = trainer._generate_and_score_completions(items)
    for row, ids, mask in zip(items, batch["prompt_ids"], batch["prompt_mask"], strict=True):
        assert ids[mask.bool()].tolist() == row["prompt"]
    first = set(batch["completion_ids"][:, 0].tolist())
    assert first == {trainer._reader.decision.short, trainer._reader.decision.long}
    later = set(batch["completion_ids"][:, 1:].flatten().tolist())
    assert len(later) > 2
    # Whoever generates with the model afterwards is not restricted.
    assert "generate" not in vars(trainer.model)


def test_advantages_are_rewards_less_the_group_mean_and_of_cut_rollouts_the_decision_has_loss(
    tmp_path: Path,
) -> None:
    trainer = make_trainer(tmp_path, **ending_soon())
    batch = trainer._generate_and_score_completions(rows(trainer, groups=6))
    rewards = torch.tensor([scored.reward for scored in trainer._scored]).view(-1, GROUP)
    torch.testing.assert_close(batch["advantages"].view(-1, GROUP), rewards - rewards.mean(1, keepdim=True))
    assert batch["counted"].all()
    ended = batch["completion_ids"].eq(trainer.processing_class.eos_token_id).any(1)
    assert 0 < ended.sum() < len(ended)
    assert torch.equal(batch["whole"], ended)
    mask = batch["completion_mask"]
    assert mask[:, 0].all()
    assert torch.equal(mask[:, 1:].any(1), ended)
    assert batch["num_items_in_batch"] == mask.sum()


def test_adapters_of_peft_train_alone(tmp_path: Path) -> None:
    from peft import LoraConfig

    trainer = make_trainer(tmp_path, peft_config=LoraConfig(r=4, target_modules=["q_proj", "v_proj"]), **ending_soon())
    base = trainer.model.get_base_model().lm_head.weight.clone()
    trainer.train()
    assert torch.tensor(losses(trainer)).isfinite().all()
    assert torch.equal(trainer.model.get_base_model().lm_head.weight, base)
    assert not any(entry.get("malformed") is None for entry in trainer.state.log_history[:STEPS])
    batch = trainer._generate_and_score_completions(rows(trainer))
    assert set(batch["completion_ids"][:, 0].tolist()) <= {trainer._reader.decision.short, trainer._reader.decision.long}


@pytest.mark.parametrize("masked", [True, False])
def test_groups_of_equal_rewards_change_weights_and_beta_unless_they_are_masked(tmp_path: Path, masked: bool) -> None:
    rewards = RewardTable(right_short=0, right_long=0, wrong_long=0, wrong_short=0)
    settings = ObjectiveSettings(targets=TARGETS, rewards=rewards, mask_zero_variance_groups=masked)
    trainer = make_trainer(tmp_path, settings=settings, **ending_soon())
    before = {name: weight.clone() for name, weight in trainer.model.named_parameters()}
    trainer.train()
    assert [entry["zero_variance_groups"] for entry in trainer.state.log_history[:STEPS]] == [1.0] * STEPS
    assert (len(set(betas(trainer))) == 1) == masked
    moved = [name for name, weight in trainer.model.named_parameters() if not torch.equal(weight, before[name])]
    assert bool(moved) != masked


def test_evaluation_does_not_change_beta(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    trainer = make_trainer(tmp_path, eval_dataset=make_data(tokenizer, 2), per_device_eval_batch_size=GROUP, **ending_soon())
    before = trainer._constraint.controller.value
    metrics = trainer.evaluate()
    assert trainer._constraint.controller.value == before
    assert trainer._sums is None
    assert metrics["eval_entropy/long"] == pytest.approx(math.log(263), abs=0.1)
    assert "eval_thinking_rate" in metrics


def test_trl_and_measurement_share_one_entropy(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, **ending_soon())
    batch = trainer._generate_and_score_completions(rows(trainer))
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    width = batch["completion_ids"].size(1)
    _, entropies, _ = trainer._get_per_token_logps_and_entropies(trainer.model, ids, mask, width, compute_entropy=True)
    logits = trainer.model(input_ids=ids, attention_mask=mask).logits[:, -width - 1 : -1]
    torch.testing.assert_close(entropies, token_entropy(logits) * batch["completion_mask"], atol=1e-5, rtol=1e-5)
    prompt = rows(trainer)[0]["prompt"]
    whole = [row[kept.bool()].tolist() for row, kept in zip(batch["completion_ids"], batch["completion_mask"], strict=True)]
    ended = [at for at, response in enumerate(whole) if response]
    means = [entropies[at, : len(whole[at])].mean().item() for at in ended]
    decision = trainer._reader.decision
    measured, _ = measure(trainer.model, [(prompt, whole[at]) for at in ended], [decision.short, decision.long])
    assert measured.tolist() == pytest.approx(means, abs=1e-5)


def test_prompts_that_do_not_end_with_the_auto_prefix_are_refused(tmp_path: Path) -> None:
    data = make_data(make_tokenizer()).map(lambda row: {"prompt": row["prompt"][:-1]})
    with pytest.raises(AutoToolError, match="prompt of a training item"):
        make_trainer(tmp_path, train_dataset=data).train()


def test_data_without_gold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AutoToolError, match="column gold"):
        make_trainer(tmp_path, train_dataset=make_data(make_tokenizer()).remove_columns("gold"))
