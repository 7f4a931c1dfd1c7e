"""RL of a tiny model from records to a checkpoint; the objective itself is tested in tests/unit."""

import json
from pathlib import Path

from support.training import SIZES, records

from autotool_training import checkpoint, scratch
from autotool_training.lora import LoraSettings
from autotool_training.rl.run import RlSettings, train
from autotool_training.rl.settings import ObjectiveSettings

SETTINGS = RlSettings(
    objective=ObjectiveSettings(variant="autotool"), probes=4, steps=2, prompts=2, group=2, max_response_tokens=16, save_steps=1
)


def test_targets_are_measured_once_and_metrics_and_checkpoint_are_written(tmp_path: Path) -> None:
    train(scratch.make(SIZES, seed=0), records(8), SETTINGS, tmp_path, seed=0)
    targets = json.loads((tmp_path / "targets.json").read_text())
    assert targets["short"] > 0
    assert targets["long"] > 0
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "beta_long" in line] == [1, 2]
    assert checkpoint.load(str(tmp_path)).profile.name == "smollm2-autotool"
    # Started again, a run that is done does nothing.
    train(scratch.make(SIZES, seed=0), records(8), SETTINGS, tmp_path, seed=0)
    assert json.loads((tmp_path / "targets.json").read_text()) == targets
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == len(lines)


def test_an_adapter_is_trained_and_merged(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"lora": LoraSettings(rank=2, alpha=4), "steps": 1})
    train(scratch.make(SIZES, seed=0), records(8), settings, tmp_path, seed=0)
    assert (tmp_path / "adapter/adapter_config.json").exists()
    assert checkpoint.load(str(tmp_path)).tokenizer.chat_template
