"""QLoRA: LoRA is trained on weights of 4 bits in SFT and in RL, and merged into those that they were made of."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.training import SIZES, records

from autotool_training import scratch
from autotool_training.common import records as files
from autotool_training.common.checkpoint import Checkpoint, load_checkpoint
from autotool_training.common.examples import ExampleWriter
from autotool_training.common.loading import LoadSettings
from autotool_training.common.lora import LoraSettings, lora_config
from autotool_training.rl import run as rl
from autotool_training.rl.run_settings import EvaluationSettings, RlSettings
from autotool_training.rl.settings import ObjectiveSettings
from autotool_training.sft import train as sft

bitsandbytes: Any = pytest.importorskip("bitsandbytes")
peft: Any = pytest.importorskip("peft")

LORA = LoraSettings(rank=2, alpha=16)
# Packed weights have rows of 64 at least.
WIDE = SIZES.model_copy(update={"hidden_size": 64, "intermediate_size": 128})
PRODUCT = "base_model.model.model.layers.0.self_attn.q_proj.lora_{}.weight"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LoadSettings]:
    """The folder of a base, an SFT of it and RL after that, and how all of them were loaded."""
    out, loading = tmp_path_factory.mktemp("4-bit"), LoadSettings(dtype="bfloat16", load_in_4bit=True)
    scratch.make(WIDE, seed=0).save(out / "base")
    base = load_checkpoint(str(out / "base"), loading=loading)
    writer = ExampleWriter(base.tokenizer, base.profile, base.tokenizer.eos_token_id)
    settings = sft.SftSettings(modes="both", lora=LORA, batch_size=4, warmup_steps=0, learning_rate=0.01)
    sft.train(base, sft.make_examples(records(4), writer, settings)[0], settings, out / "sft", seed=0, loading=loading)
    files.write(out / "held_out.jsonl", records(10)[8:])
    objective = ObjectiveSettings(variant="static-beta")
    evaluation = EvaluationSettings(records=str(out / "held_out.jsonl"), steps=1, batch=2)
    sizes = {"steps": 1, "prompts": 2, "group": 2, "max_response_tokens": 12, "warmup_steps": 0, "learning_rate": 0.01}
    more = RlSettings.model_validate({"objective": objective, "lora": LORA, "evaluation": evaluation, **sizes})
    rl.train(load_checkpoint(str(out / "sft"), loading=loading), records(8), more, out / "rl", seed=0, loading=loading)
    return out, loading


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize(("start", "stage"), [("base", "sft"), ("sft", "rl")])
def test_the_adapter_is_merged_into_the_whole_weights(run: tuple[Path, LoadSettings], start: str, stage: str) -> None:
    out, loading = run
    before, after = weights(out / start), weights(out / stage)
    assert {str(weight.dtype) for weight in after.values()} == {f"torch.{loading.dtype}"}
    assert "quantization_config" not in json.loads((out / stage / "config.json").read_text())
    adapter = load_file(out / stage / "adapter" / "adapter_model.safetensors")
    change = adapter[PRODUCT.format("B")] @ adapter[PRODUCT.format("A")] * LORA.alpha / LORA.rank
    assert change.abs().max() > 0.001
    name = "model.layers.0.self_attn.q_proj.weight"
    wanted = (before[name].to(after[name].dtype).float() + change.float()).to(after[name].dtype)
    torch.testing.assert_close(after[name], wanted)


def test_of_the_embeddings_the_rows_of_the_markers_alone_are_trained(run: tuple[Path, LoadSettings]) -> None:
    out, _ = run
    trained = load_checkpoint(str(out / "sft"))
    name = "model.embed_tokens.weight"
    after = weights(out / "sft")[name]
    moved = (after != weights(out / "base")[name].to(after.dtype)).any(1).nonzero().flatten().tolist()
    assert moved == sorted(trained.tokenizer.convert_tokens_to_ids(list(trained.profile.markers)))


def test_the_best_checkpoint_of_rl_is_the_merged_one(run: tuple[Path, LoadSettings]) -> None:
    best, last = weights(run[0] / "rl" / "best"), weights(run[0] / "rl")
    assert best.keys() == last.keys()
    assert all(torch.equal(weight, last[name]) for name, weight in best.items())


def gradients(base: Checkpoint, model: Any) -> dict[str, torch.Tensor]:
    ids = torch.arange(12).reshape(2, 6) + len(base.tokenizer) // 2
    model.zero_grad()
    model(input_ids=ids, labels=ids).loss.backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def test_gradients_stay_the_same_after_answers_were_decoded(run: tuple[Path, LoadSettings]) -> None:
    out, loading = run
    base = load_checkpoint(str(out / "base"), loading=loading)
    assert isinstance(base.model.model.layers[0].self_attn.q_proj, bitsandbytes.nn.Linear4bit)
    torch.manual_seed(0)
    model = peft.get_peft_model(base.model, lora_config(base, LORA))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
    model.train()
    before = gradients(base, model)
    model.eval()
    model.generate(input_ids=torch.tensor([[5, 6, 7]]), max_new_tokens=2, pad_token_id=0)
    model.train()
    after = gradients(base, model)
    assert any("layers.0.self_attn.q_proj.lora_A" in name and grad.abs().max() > 0 for name, grad in before.items())
    for name, gradient in before.items():
        torch.testing.assert_close(after[name], gradient, msg=name)
