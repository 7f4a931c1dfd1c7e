"""How a base is loaded: its precision for real, and the errors of packages that are not installed."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from support.training import SIZES, records

from autotool_core.errors import AutoToolError
from autotool_training import scratch
from autotool_training.common import loading
from autotool_training.common.checkpoint import load_checkpoint, load_step
from autotool_training.common.examples import Example
from autotool_training.common.loading import LoadSettings
from autotool_training.common.resume import base_identity
from autotool_training.recipe import BaseSettings
from autotool_training.rl import run as rl
from autotool_training.sft import train as sft


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
    assert load_step(tmp_path, lambda: whole, LoadSettings(dtype="bfloat16")).model.dtype == torch.bfloat16
    # The tiny one of a dry run is made in it.
    assert BaseSettings(source="scratch", scratch=SIZES, dtype="bfloat16").load_base(seed=0).model.dtype == torch.bfloat16


@pytest.mark.parametrize("stage", ["sft", "rl"])
def test_the_result_of_a_run_that_ended_is_loaded_as_its_base_is(tmp_path: Path, stage: str) -> None:
    base = scratch.make(SIZES, seed=0)
    base.save(tmp_path)
    loading = LoadSettings(dtype="bfloat16", attn_implementation="eager")
    if stage == "sft":
        done = sft.train(base, [Example([1], [2])], sft.SftSettings(), tmp_path, seed=0, loading=loading)
    else:
        done = rl.train(base, records(8), rl.RlSettings(), tmp_path, seed=0, loading=loading)
    assert (done.model.dtype, done.model.config._attn_implementation) == (torch.bfloat16, "eager")


def test_4_bits_are_loaded_onto_the_gpu_of_the_process_and_are_another_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "find_spec", lambda _: True)
    monkeypatch.setattr(loading, "BitsAndBytesConfig", dict)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert LoadSettings(load_in_4bit=True).arguments()["device_map"] == {"": "cpu"}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert LoadSettings(load_in_4bit=True).arguments()["device_map"] == {"": 3}
    assert "device_map" not in LoadSettings().arguments()
    base = scratch.make(SIZES, seed=0)
    before = base_identity(base)
    base.model.is_loaded_in_4bit = True
    assert base_identity(base) == {**before, "base_in_4bit": True}


@pytest.mark.parametrize(
    ("settings", "module", "message"),
    [
        (LoadSettings(load_in_4bit=True), "bitsandbytes", r"base\.load_in_4bit needs the package bitsandbytes: `pip install"),
        (
            LoadSettings(dtype="bfloat16", attn_implementation="flash_attention_2"),
            "flash_attn",
            r"base\.attn_implementation=flash_attention_2 needs the package flash-attn: `pip install flash-attn`",
        ),
        (
            LoadSettings(dtype="bfloat16", attn_implementation="flash_attention_3"),
            "flash_attn_interface",
            r"base\.attn_implementation=flash_attention_3 needs the package flash-attn-3: `pip install flash-attn-3`",
        ),
    ],
)
def test_a_package_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, settings: LoadSettings, module: str, message: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(loading, "find_spec", lambda name: None if name == module else find_spec(name))
    with pytest.raises(AutoToolError, match=message):
        load_checkpoint("anything", loading=settings)


@pytest.mark.parametrize("name", ["flash_attention_2", "flash_attention_3"])
def test_flash_attention_is_refused_without_a_gpu_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch, name: Any) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    settings = LoadSettings(dtype="bfloat16", attn_implementation=name)
    with pytest.raises(AutoToolError, match=rf"base\.attn_implementation={name} needs a GPU: leave it out on this machine"):
        load_checkpoint("no/such/folder", loading=settings)
