"""The end of a stage is thought of at its start: what could not be written is refused before hours of training."""

from types import SimpleNamespace
from typing import Any

import pytest
from accelerate.utils import DistributedType

from autotool_core.errors import AutoToolError
from autotool_training.finish import refuse_sharded_adapter

ADAPTER, WHOLE = SimpleNamespace(merge_and_unload=None), SimpleNamespace()


def spread(model: Any, kind: DistributedType, stage: int | None = None) -> Any:
    """What is read of a trainer whose weights are spread over devices in some way."""
    state = SimpleNamespace(deepspeed_plugin=stage and SimpleNamespace(zero_stage=stage))
    return SimpleNamespace(model=model, accelerator=SimpleNamespace(state=state, distributed_type=kind))


@pytest.mark.parametrize(("kind", "stage"), [(DistributedType.DEEPSPEED, 3), (DistributedType.FSDP, None)])
def test_an_adapter_of_sharded_weights_is_refused_before_training(kind: DistributedType, stage: int | None) -> None:
    with pytest.raises(AutoToolError, match=r"ZeRO-2 .* leave sft\.lora"):
        refuse_sharded_adapter(spread(ADAPTER, kind, stage))
    refuse_sharded_adapter(spread(WHOLE, kind, stage))


@pytest.mark.parametrize(("kind", "stage"), [(DistributedType.DEEPSPEED, 2), (DistributedType.MULTI_GPU, None)])
def test_an_adapter_whose_base_every_process_holds_whole_is_trained(kind: DistributedType, stage: int | None) -> None:
    refuse_sharded_adapter(spread(ADAPTER, kind, stage))
