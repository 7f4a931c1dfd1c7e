"""Every kind of policy loss: its gradient is that of TRL's own trainer, and the entropy term has its mean."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from support.grpo import GROUP, PROFILE, TARGETS, ending_soon, make_data, make_trainer
from support.tiny import make_llama, make_tokenizer
from trl.trainer.grpo_trainer import GRPOTrainer

from autotool_training.common.checkpoint import Checkpoint
from autotool_training.common.lora import LoraSettings, lora_config, merged_weights
from autotool_training.patches.trl_head import patch_fused_head
from autotool_training.rl.grpo import AutoToolGRPOTrainer
from autotool_training.rl.objective import keep_decisions
from autotool_training.rl.settings import ObjectiveSettings

PARTS = 2
KINDS: list[dict[str, Any]] = [
    {},
    {"loss_type": "grpo", "entropy_aggregation": "seq-mean-token-mean"},
    {"loss_type": "bnpo"},
    {"loss_type": "dr_grpo"},
    {"importance_sampling_level": "sequence"},
    {"loss_type": "grpo", "importance_sampling_level": "sequence", "entropy_aggregation": "seq-mean-token-mean"},
    {"kl_beta": 0.1},
    {"loss_type": "dr_grpo", "kl_beta": 0.1},
]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


class StockTrainer(GRPOTrainer):
    """TRL's trainer, except that it takes prompts as token ids."""

    def _tokenize_prompts(self, prompts: list[list[int]]) -> Any:
        return prompts, None, {}


def stock(ours: AutoToolGRPOTrainer, kl_beta: float) -> Any:
    args: Any = copy.copy(ours.args)
    # TRL would load the reference by a name, which this model lacks. The batch has what the reference gives.
    args.beta = 0.0
    tokenizer = make_tokenizer()
    made = StockTrainer(
        make_llama(tokenizer), ours.reward, args=args, train_dataset=make_data(tokenizer), processing_class=tokenizer
    )
    made.beta = kl_beta
    return made


def batch_of(trainer: AutoToolGRPOTrainer) -> dict[str, Any]:
    """A batch of which some rollouts are cut, with ratios below, within and above the clip range, and other advantages."""
    data: Any = trainer.train_dataset
    batch = trainer._generate_and_score_completions([data[at] for at in range(6) for _ in range(GROUP)])
    mask = keep_decisions(batch["completion_mask"], batch["whole"])
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    seen = torch.cat([batch["prompt_mask"], mask], 1)
    with torch.no_grad():
        logps, *_ = trainer._get_per_token_logps_and_entropies(trainer.model, ids, seen, mask.size(1))
    generator = torch.Generator().manual_seed(3)
    old = logps + torch.randn(logps.shape, generator=generator) * 0.4
    advantages = torch.randn(len(logps), generator=generator)
    return {**batch, "completion_mask": mask, "old_per_token_logps": old, "advantages": advantages}


def loss_and_gradient(trainer: Any, batch: dict[str, Any]) -> tuple[float, torch.Tensor]:
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = PARTS
    loss = trainer._compute_loss(trainer.model, dict(batch))
    gradients = torch.autograd.grad(loss, [weight for weight in trainer.model.parameters() if weight.requires_grad])
    return loss.item(), torch.cat([gradient.flatten() for gradient in gradients])


def trainer_of(folder: Path, settings: ObjectiveSettings, **changes: Any) -> AutoToolGRPOTrainer:
    return make_trainer(folder, settings=settings, gradient_accumulation_steps=PARTS, **ending_soon(), **changes)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(map(str, kind.values())) or "dapo")
def test_the_loss_and_its_gradient_are_those_of_trl(tmp_path: Path, kind: dict[str, Any]) -> None:
    ours = trainer_of(tmp_path, ObjectiveSettings(variant="grpo", **kind))
    theirs = stock(ours, kind.get("kl_beta", 0.0))
    theirs.model.load_state_dict(ours.model.state_dict())
    batch = batch_of(ours)
    loss, gradient = loss_and_gradient(ours, batch)
    their_loss, their_gradient = loss_and_gradient(theirs, batch)
    assert gradient.abs().max() > 1e-4
    assert loss == pytest.approx(their_loss, rel=1e-6)
    torch.testing.assert_close(gradient, their_gradient)


@pytest.mark.parametrize("kind", KINDS[:4], ids=lambda kind: kind.get("loss_type", "dapo"))
def test_the_entropy_term_has_the_mean_of_the_policy_loss(tmp_path: Path, kind: dict[str, Any]) -> None:
    betas = {"short_beta": 0.3, "long_beta": 0.2, "beta_cap": 0.4}
    ours = trainer_of(tmp_path, ObjectiveSettings(targets=TARGETS, **betas, **kind))
    theirs = stock(ours, 0.0)
    theirs.model.load_state_dict(ours.model.state_dict())
    batch = batch_of(ours)
    term = loss_and_gradient(theirs, batch)[0] - loss_and_gradient(ours, batch)[0]
    mask = batch["completion_mask"]
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    seen = torch.cat([batch["prompt_mask"], mask], 1)
    with torch.no_grad():
        _, each, _ = ours._get_per_token_logps_and_entropies(ours.model, ids, seen, mask.size(1), compute_entropy=True)
    short = batch["completion_ids"][:, 0] == ours._reader.decision.short
    beta = torch.where(short, 0.3, 0.2) * batch["whole"]
    sums, rows = (each * mask).sum(1), len(mask)
    by_hand = {
        "dapo": (beta * sums).sum() / mask.sum(),
        "bnpo": (beta * sums).sum() / mask.sum() / PARTS,
        "dr_grpo": (beta * sums).sum() / (rows * ours.max_completion_length) / PARTS,
        "grpo": (beta * sums / mask.sum(1)).mean() / PARTS,
    }
    assert term == pytest.approx(by_hand[kind.get("loss_type", "dapo")].item(), rel=1e-4)


def logps_of(model: Any, batch: dict[str, Any]) -> torch.Tensor:
    """Return the log-probabilities (B, T) of the batch's responses by a model, as transformers has them."""
    ids, mask = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1), batch["completion_mask"]
    seen = torch.cat([batch["prompt_mask"], mask], 1)
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=seen).logits[:, -mask.size(1) - 1 : -1].log_softmax(-1)
    return logits.gather(-1, batch["completion_ids"].unsqueeze(-1)).squeeze(-1)


@pytest.mark.parametrize(("lora", "share"), [(False, False), (False, True), (True, False)])
def test_the_reference_is_the_checkpoint_that_training_starts_from(tmp_path: Path, lora: bool, share: bool) -> None:
    config = {"peft_config": LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False)} if lora else {}
    trainer = trainer_of(tmp_path, ObjectiveSettings(variant="grpo", kl_beta=0.1), max_steps=1, share=share, **config)
    start = make_llama(make_tokenizer())
    trainer.train()
    batch = batch_of(trainer)
    kept, wanted = batch["completion_mask"].bool(), logps_of(start, batch)
    torch.testing.assert_close(batch["ref_per_token_logps"][kept], wanted[kept], atol=1e-5, rtol=1e-4)
    assert trainer.state.log_history[0]["kl"] >= 0


@pytest.mark.parametrize(("tied", "share"), [(True, False), (False, False), (True, True), (False, True)])
def test_the_reference_of_an_adapter_has_the_markers_rows_of_the_start(tmp_path: Path, tied: bool, share: bool) -> None:
    start = Checkpoint(make_llama(make_tokenizer(), tie_word_embeddings=tied), make_tokenizer(), PROFILE)
    markers = start.tokenizer.convert_tokens_to_ids(list(PROFILE.markers))
    with torch.no_grad():
        # As a start that was trained, it has rows of its own.
        start.model.get_input_embeddings().weight[markers] += 1
    before = copy.deepcopy(start.model)
    trainer = trainer_of(
        tmp_path,
        ObjectiveSettings(variant="grpo", kl_beta=0.1),
        max_steps=2,
        learning_rate=0.05,
        share=share,
        model=start.model,
        peft_config=lora_config(start, LoraSettings(rank=2, alpha=4)),
    )
    patch_fused_head(trainer.model)
    trainer.train()
    batch = batch_of(trainer)
    kept, wanted = batch["completion_mask"].bool(), logps_of(before, batch)
    torch.testing.assert_close(batch["ref_per_token_logps"][kept], wanted[kept], atol=1e-5, rtol=1e-4)
    trained = dict(merged_weights(trainer.model))
    moved = (trained["model.embed_tokens.weight"] - before.get_input_embeddings().weight).abs().amax(1)
    assert moved[markers].max() > 0.01


def test_several_steps_are_made_with_each_batch_of_rollouts(tmp_path: Path) -> None:
    settings = ObjectiveSettings(targets=TARGETS, importance_sampling_level="sequence")
    trainer = trainer_of(tmp_path, settings, num_iterations=2, max_steps=4, learning_rate=0.01)
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert ["accuracy" in entry for entry in logged] == [True, False, True, False]
    assert all("beta_long" in entry and "entropy/long" in entry for entry in logged)
