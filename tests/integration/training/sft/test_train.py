"""SFT of a tiny model from scratch: it learns, resumes, and its checkpoint can be served."""

import math
from pathlib import Path
from typing import Literal

import pytest
import torch
from support.serving import running
from support.training import SIZES, changed_rows, losses, make_base, records, saved_dtypes

from autotool_core.errors import AutoToolError
from autotool_core.modes import Mode
from autotool_core.prompt import PromptRenderer
from autotool_server.engines import profiles
from autotool_server.engines.transformers import TransformersEngine
from autotool_training import scratch
from autotool_training.common import checkpoint, lora
from autotool_training.common.examples import Example, ExampleWriter
from autotool_training.sft import train as sft

SETTINGS = sft.SftSettings(modes="both", epochs=1, learning_rate=5e-3, warmup_steps=2, batch_size=8, save_steps=4)


def data(base: checkpoint.Checkpoint, count: int = 32) -> list[Example]:
    writer = ExampleWriter(base.tokenizer, base.profile, base.tokenizer.eos_token_id)
    return sft.make_examples(records(count), writer, SETTINGS)[0]


class StopError(Exception):
    """A run is cut off."""


def stop(*_: object, **__: object) -> None:
    raise StopError


def train(out: Path) -> checkpoint.Checkpoint:
    base = scratch.make(SIZES, seed=0)
    return sft.train(base, data(base), SETTINGS, out, seed=1)


def test_it_learns_and_an_interrupted_run_has_the_same_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    straight = train(tmp_path / "straight")
    first, *_, last = losses(tmp_path / "straight")
    assert last < first
    with monkeypatch.context() as patch:
        patch.setattr(sft.FiniteLoss, "on_save", stop, raising=False)
        with pytest.raises(StopError):
            train(tmp_path / "cut")
    resumed = train(tmp_path / "cut")
    for one, other in zip(straight.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    more, base = SETTINGS.model_copy(update={"epochs": 2}), scratch.make(SIZES, seed=0)
    with pytest.raises(AutoToolError, match=r"gets no more settings\.epochs.* --set base\.source="):
        sft.train(base, data(base), more, tmp_path / "straight", seed=1)
    sft.train(straight, data(straight), SETTINGS, tmp_path / "further", seed=1)
    assert losses(tmp_path / "further")[0] < first


async def test_what_it_writes_is_served_with_the_same_prompt_ids(tmp_path: Path) -> None:
    base = scratch.make(SIZES, seed=0)
    base.save(tmp_path)
    engine = TransformersEngine(str(tmp_path))
    await engine.start()
    try:
        served = PromptRenderer(engine.tokenizer, profiles.find(None, str(tmp_path), engine.tokenizer).profile)
        writer = ExampleWriter(base.tokenizer, base.profile, base.tokenizer.eos_token_id)
        for mode in Mode:
            for one in records(5):
                assert served.render(one.messages, one.tools, mode) == writer.prompt(one, mode)
        assert not served.refusals
        async with running(engine) as server:
            answer = await server.client.chat.completions.create(
                model="tested",
                messages=[{"role": "user", "content": "Hi"}],
                max_completion_tokens=4,
                extra_body={"mode": "auto"},
            )
            assert answer.usage
    finally:
        await engine.stop()


@pytest.mark.parametrize(("tied", "dtype"), [(True, "float32"), (False, "float32"), (False, "bfloat16")])
def test_lora_trains_only_the_markers_rows_and_is_merged(
    tmp_path: Path, tied: bool, dtype: Literal["float32", "bfloat16"]
) -> None:
    base = make_base(tied=tied, dtype=dtype)
    settings = SETTINGS.model_copy(update={"lora": lora.LoraSettings(rank=4, alpha=8), "precision": dtype})
    sft.train(base, data(base, 8), settings, tmp_path, seed=1)
    markers = {*base.tokenizer.convert_tokens_to_ids(list(base.profile.markers))}
    assert changed_rows(make_base(tied=tied, dtype=dtype), tmp_path) == {"input": markers, "output": markers}
    assert (tmp_path / "adapter/adapter_config.json").exists()
    assert (saved_dtypes(tmp_path), saved_dtypes(tmp_path / "adapter")) == ({getattr(torch, dtype)}, {torch.float32})
    assert all(map(math.isfinite, losses(tmp_path)))


def test_mixed_precision_leaves_the_weights_in_float32(tmp_path: Path) -> None:
    base = scratch.make(SIZES, seed=0)
    settings = SETTINGS.model_copy(update={"precision": "bfloat16"})
    sft.train(base, data(base, 8), settings, tmp_path, seed=1)
    assert saved_dtypes(tmp_path) == {torch.float32}
    assert len(losses(tmp_path)) == 2
    assert all(map(math.isfinite, losses(tmp_path)))


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    base = scratch.make(SIZES, seed=0)
    some = data(base)
    with torch.no_grad():
        base.model.get_output_embeddings().weight[5] = float("nan")
    with pytest.raises(AutoToolError, match="is not a number at step"):
        sft.train(base, some, SETTINGS.model_copy(update={"save_steps": 100}), tmp_path, seed=1)


def test_a_base_without_chat_template_is_refused(tmp_path: Path) -> None:
    base = scratch.make(SIZES, seed=0)
    base.save(tmp_path)
    (tmp_path / "chat_template.jinja").unlink()
    with pytest.raises(AutoToolError, match="has no chat template"):
        checkpoint.load_checkpoint(str(tmp_path))


def test_sequences_that_cannot_be_trained_are_left_out_and_counted() -> None:
    base = scratch.make(SIZES, seed=0)
    writer = ExampleWriter(base.tokenizer, base.profile, base.tokenizer.eos_token_id)
    some = records(3)
    some[0] = some[0].model_copy(update={"reasoning": None})
    long = SETTINGS.model_copy(update={"modes": "long"})
    kept, left_out = sft.make_examples(some, writer, long)
    assert (len(kept), left_out) == (2, {"without reasoning": 1})
    assert len(sft.make_examples(some, writer, SETTINGS.model_copy(update={"modes": "both"}))[0]) == 5
    kept, left_out = sft.make_examples(some, writer, long.model_copy(update={"max_tokens": 30}))
    assert (len(kept), left_out) == (0, {"without reasoning": 1, "longer than 30 tokens": 2})


def test_a_missing_label_is_refused(tmp_path: Path) -> None:
    base = scratch.make(SIZES, seed=0)
    writer = ExampleWriter(base.tokenizer, base.profile, base.tokenizer.eos_token_id)
    with pytest.raises(AutoToolError, match="has no label"):
        sft.make_examples(records(1), writer, sft.SftSettings())
    with pytest.raises(AutoToolError, match="nothing to train on"):
        sft.train(base, [], sft.SftSettings(), tmp_path, seed=0)
