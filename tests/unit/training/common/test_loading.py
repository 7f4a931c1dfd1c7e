"""How a base is loaded: its precision for real, and the errors of packages that are not installed."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from support.training import SIZES

from autotool_core.errors import AutoToolError
from autotool_training import scratch
from autotool_training.common.checkpoint import load_checkpoint
from autotool_training.common.loading import LoadSettings
from autotool_training.common.resume import base_identity
from autotool_training.recipe import BaseSettings


def test_a_base_is_loaded_in_bfloat16_and_another_run_than_one_in_float32(tmp_path: Path) -> None:
    scratch.make(SIZES, seed=0).save(tmp_path)
    whole = load_checkpoint(str(tmp_path))
    half = BaseSettings(source=str(tmp_path), dtype="bfloat16", attn_implementation="eager").load_base(seed=0)
    assert (whole.model.dtype, half.model.dtype) == (torch.float32, torch.bfloat16)
    assert half.model.config._attn_implementation == "eager"
    assert "base_dtype" not in base_identity(whole)
    assert base_identity(half) == {**base_identity(whole), "base_dtype": "bfloat16"}
    # The checkpoint of a stage is loaded in the same way.
    assert BaseSettings(dtype="bfloat16").load_base(0, str(tmp_path)).model.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("settings", "module", "message"),
    [
        (LoadSettings(load_in_4bit=True), "bitsandbytes", r"base\.load_in_4bit needs the package bitsandbytes: `pip install"),
        (
            LoadSettings(dtype="bfloat16", attn_implementation="flash_attention_2"),
            "flash_attn",
            r"base\.attn_implementation=flash_attention_2 needs the package flash-attn: `pip install flash-attn`",
        ),
    ],
)
def test_a_package_that_is_not_installed_is_named(settings: LoadSettings, module: str, message: str) -> None:
    if find_spec(module) is not None:
        pytest.skip(f"{module} is installed")
    with pytest.raises(AutoToolError, match=message):
        load_checkpoint("anything", loading=settings)
