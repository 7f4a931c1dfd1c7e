"""The end of a stage: weights are written whole, and what could not be written is refused before training."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from support.training import SIZES

from autotool_core.errors import AutoToolError
from autotool_training import scratch
from autotool_training.common import checkpoint
from autotool_training.common.export import (
    reject_half_training,
    reject_several_gpus,
    reject_sharded_adapter,
    reject_sharded_decoding,
    train_in_float32,
    write_trained,
)

ADAPTER, WHOLE = SimpleNamespace(merge_and_unload=None), SimpleNamespace()


def spread(model: Any, kind: DistributedType, stage: int | None = None) -> Any:
    """What is read of a trainer whose weights are spread over devices in some way."""
    state = SimpleNamespace(deepspeed_plugin=stage and SimpleNamespace(zero_stage=stage))
    return SimpleNamespace(model=model, accelerator=SimpleNamespace(state=state, distributed_type=kind))


def test_several_gpus_of_one_process_are_refused() -> None:
    with pytest.raises(AutoToolError, match=r"sees 8 GPUs: launch .*CUDA_VISIBLE_DEVICES=0"):
        reject_several_gpus(SimpleNamespace(n_gpu=8))
    reject_several_gpus(SimpleNamespace(n_gpu=1))


@pytest.mark.parametrize("in_4bit", [True, False])
def test_what_is_trained_on_weights_of_4_bits_is_float32(in_4bit: bool) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)).to(torch.bfloat16)
    model[0].requires_grad_(False)
    base: Any = SimpleNamespace(model=SimpleNamespace(is_loaded_in_4bit=in_4bit))
    train_in_float32(SimpleNamespace(model=model), base)
    trained = torch.float32 if in_4bit else torch.bfloat16
    assert [layer.weight.dtype for layer in model] == [torch.bfloat16, trained]


@pytest.mark.parametrize(("kind", "stage"), [(DistributedType.DEEPSPEED, 3), (DistributedType.FSDP, None)])
def test_an_adapter_of_sharded_weights_is_refused_before_training(kind: DistributedType, stage: int | None) -> None:
    with pytest.raises(AutoToolError, match=r"ZeRO-2 .* leave sft\.lora"):
        reject_sharded_adapter(spread(ADAPTER, kind, stage))
    reject_sharded_adapter(spread(WHOLE, kind, stage))


@pytest.mark.parametrize(("kind", "stage"), [(DistributedType.DEEPSPEED, 2), (DistributedType.MULTI_GPU, None)])
def test_an_adapter_whose_base_every_process_holds_whole_is_trained(kind: DistributedType, stage: int | None) -> None:
    reject_sharded_adapter(spread(ADAPTER, kind, stage))


def test_transformers_does_not_decode_with_weights_that_fsdp_shards() -> None:
    for kind, use_vllm in ((DistributedType.FSDP, True), (DistributedType.DEEPSPEED, False), (DistributedType.NO, False)):
        trainer = spread(WHOLE, kind)
        trainer.use_vllm = use_vllm
        reject_sharded_decoding(trainer)
    trainer = spread(WHOLE, DistributedType.FSDP)
    trainer.use_vllm = False
    with pytest.raises(AutoToolError, match=r"FSDP shards .* set rl\.rollouts to vllm or vllm-server"):
        reject_sharded_decoding(trainer)


def test_all_weights_are_not_trained_in_bfloat16() -> None:
    half, whole = SimpleNamespace(dtype=torch.bfloat16), SimpleNamespace(dtype=torch.float32)
    adapter = SimpleNamespace(dtype=torch.bfloat16, merge_and_unload=None)
    for model, kind in ((whole, DistributedType.NO), (adapter, DistributedType.NO), (half, DistributedType.DEEPSPEED)):
        reject_half_training(spread(model, kind))
    with pytest.raises(AutoToolError, match=r"base\.dtype=bfloat16 rounds the steps .* set sft\.lora and rl\.lora"):
        reject_half_training(spread(half, DistributedType.MULTI_GPU))


class Sharding:
    """What is used of an Accelerator with ZeRO-3, which gathers the weights of an engine by accelerate's own code."""

    distributed_type, deepspeed_config = DistributedType.DEEPSPEED, {"zero_optimization": {"stage": 3}}
    is_main_process = True
    get_state_dict = Accelerator.get_state_dict

    def wait_for_everyone(self) -> None:
        """One process."""


class Engine:
    """DeepSpeed's engine around a model, which has other weights than the model seems to."""

    def __init__(self) -> None:
        self.whole = scratch.make(SIZES, seed=1).model.state_dict()

    def zero_gather_16bit_weights_on_model_save(self) -> bool:
        return True

    def _zero3_consolidated_16bit_state_dict(self) -> Any:
        return dict(self.whole)  # whose names for one weight the writer makes one


@pytest.mark.parametrize("stepped", [True, False])
def test_weights_are_gathered_if_a_step_has_sharded_them_and_else_written_as_they_are(tmp_path: Path, *, stepped: bool) -> None:
    base = scratch.make(SIZES, seed=0)
    engine = Engine()
    wrapped = engine if stepped else base.model
    trainer = SimpleNamespace(model=base.model, model_wrapped=wrapped, accelerator=Sharding(), is_fsdp_enabled=False)
    write_trained(trainer, base, tmp_path)
    written, expected = (
        checkpoint.load_checkpoint(str(tmp_path)).model.state_dict(),
        engine.whole if stepped else base.model.state_dict(),
    )
    assert all(torch.equal(value, expected[name]) for name, value in written.items())


def test_fsdp_wraps_the_trainers_own_model_which_is_gathered_all_the_same(tmp_path: Path) -> None:
    base, gathered = scratch.make(SIZES, seed=0), list[Any]()
    accelerator = SimpleNamespace(
        is_main_process=False, get_state_dict=gathered.append, wait_for_everyone=lambda: gathered.append("waited")
    )
    trainer = SimpleNamespace(model=base.model, model_wrapped=base.model, accelerator=accelerator, is_fsdp_enabled=True)
    write_trained(trainer, base, tmp_path)
    assert gathered == [base.model, "waited"]
