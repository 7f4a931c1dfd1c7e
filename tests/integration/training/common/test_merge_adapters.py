"""The adapters of two stages merged into one that has the effect of both."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from support.training import changed_rows, make_base, records

from autotool_core.errors import AutoToolError
from autotool_training.common.checkpoint import Checkpoint
from autotool_training.common.examples import ExampleWriter
from autotool_training.common.lora import LoraSettings
from autotool_training.common.merge_adapters import merge_adapters
from autotool_training.sft import train as sft


def trained(base: Checkpoint, out: Path, rank: int, alpha: int) -> Checkpoint:
    settings = sft.SftSettings(modes="both", learning_rate=5e-3, warmup_steps=0, lora=LoraSettings(rank=rank, alpha=alpha))
    writer = ExampleWriter(base.tokenizer, base.profile, base.tokenizer.eos_token_id)
    return sft.train(base, sft.make_examples(records(8), writer, settings)[0], settings, out, seed=1)


@dataclass(frozen=True)
class Stages:
    """Two stages, of which the last one began from the first one's model."""

    adapters: list[Path]
    last: Checkpoint
    tied: bool
    """Whether input and output embeddings are one matrix."""


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def stages(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Stages:
    folder, tied = tmp_path_factory.mktemp("stages"), bool(request.param)
    first = trained(make_base(tied=tied), folder / "first", rank=4, alpha=8)
    last = trained(first, folder / "last", rank=2, alpha=6)
    return Stages([folder / "first/adapter", folder / "last/adapter"], last, tied)


def test_the_merged_adapter_gives_the_model_of_the_last_stage(stages: Stages, tmp_path: Path) -> None:
    merge_adapters(stages.adapters, tmp_path / "joined")
    start = make_base(tied=stages.tied)
    joined = PeftModel.from_pretrained(start.model, str(tmp_path / "joined")).merge_and_unload()
    joined.save_pretrained(tmp_path / "model")
    markers = {*start.tokenizer.convert_tokens_to_ids(list(start.profile.markers))}
    assert changed_rows(make_base(tied=stages.tied), tmp_path / "model") == {"input": markers, "output": markers}
    moved = 0.0
    unchanged = make_base(tied=stages.tied).model.state_dict()
    for name, weight in joined.state_dict().items():
        torch.testing.assert_close(weight.float(), stages.last.model.state_dict()[name], rtol=0.02, atol=1e-3)
        moved += (weight - unchanged[name]).abs().sum().item()
    assert moved > 1


def test_the_last_stage_is_scaled_by_the_share(stages: Stages, tmp_path: Path) -> None:
    for share in (0.0, 0.25, 1.0):
        merge_adapters(stages.adapters, tmp_path / str(share), share=share)
    none, part, all_ = (_products(tmp_path / str(share)) for share in (0.0, 0.25, 1.0))
    moved = 0.0
    for name, product in _products(stages.adapters[0]).items():
        torch.testing.assert_close(none[name], product, rtol=0.02, atol=1e-3)
        torch.testing.assert_close(part[name], product + 0.25 * (all_[name] - none[name]), rtol=0.02, atol=1e-3)
        moved += (all_[name] - none[name]).abs().sum().item()
    assert moved > 1


def test_a_smaller_rank_is_the_nearest(stages: Stages, tmp_path: Path) -> None:
    folder = stages.adapters[0]
    for rank in (4, 3, 1):
        merge_adapters([folder], tmp_path / str(rank), rank)
    whole, same, near, far = (_products(at) for at in (folder, *(tmp_path / str(rank) for rank in (4, 3, 1))))
    for name, product in whole.items():
        values = torch.linalg.svdvals(product)
        torch.testing.assert_close(same[name], product, rtol=0.02, atol=1e-3)
        # What is lost are the singular values that are left out.
        for rank, smaller in ((3, near), (1, far)):
            lost = torch.linalg.matrix_norm(product - smaller[name])
            torch.testing.assert_close(lost, values[rank:].norm(), rtol=0.1, atol=2e-3)
    with pytest.raises(AutoToolError, match="rank: 5 is more than the ranks of the stages together, 4"):
        merge_adapters([folder], tmp_path / "more", 5)
    side = min(min(product.shape) for product in whole.values())
    with pytest.raises(AutoToolError, match=f"rank: {side + 1} is more than the smaller side of a layer, {side}"):
        merge_adapters([folder] * side, tmp_path / "more", side + 1)


def _products(folder: Path) -> dict[str, torch.Tensor]:
    config = json.loads((folder / "adapter_config.json").read_text())
    tensors = {name: tensor.float() for name, tensor in load_file(folder / "adapter_model.safetensors").items()}
    ups = {name: tensor for name, tensor in tensors.items() if "lora_B" in name}
    scale = config["lora_alpha"] / config["r"]
    return {name: scale * up @ tensors[name.replace("lora_B", "lora_A")] for name, up in ups.items()}


def test_adapters_that_cannot_be_merged_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AutoToolError, match="holds no adapter"):
        merge_adapters([tmp_path], tmp_path / "joined")
