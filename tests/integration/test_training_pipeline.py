"""The commands of `autotool train`, one after the other, from data to pictures."""

import json
from pathlib import Path

import pytest

from autotool_core import cli
from autotool_training import records

RECIPE = """
[base]
source = "scratch"
scratch = { hidden_size = 32, layers = 2, heads = 2, intermediate_size = 64 }
[sft]
epochs = 1
batch_size = 8
learning_rate = 5e-3
warmup_steps = 1
[rl]
steps = 2
prompts = 2
group = 2
probes = 2
max_response_tokens = 16
objective = { variant = "autotool" }
"""


def train(*arguments: object) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.app(["train", *map(str, arguments)], prog_name="autotool")
    assert ended.value.code == 0


def test_data_label_sft_rl_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe, made, labelled = tmp_path / "tiny.toml", tmp_path / "data.jsonl", tmp_path / "labelled.jsonl"
    recipe.write_text(RECIPE)
    train("data", "--source", "graded=4", "--distractors", "1", "--out", made)
    assert "graded" in capsys.readouterr().out
    # The no-thinking model is one that knows level 1 alone.
    easy = [record for record in records.read(made) if record.level == 1]
    records.write(tmp_path / "easy.jsonl", easy)
    train("label", "--records", made, "--short", tmp_path / "easy.jsonl", "--long", made, "--out", labelled, "--k", 1)
    labels = {record.level: record.label for record in records.read(labelled)}
    assert labels == {1: "short", 2: "long", 3: "long", 4: "long", 5: "long", 6: "long"}
    train("sft", recipe, "--records", labelled, "--out", tmp_path / "sft")
    train("rl", recipe, "--records", labelled, "--base", tmp_path / "sft", "--out", tmp_path / "rl", "--set", "rl.steps=1")
    steps = [json.loads(line)["step"] for line in (tmp_path / "rl/metrics.jsonl").read_text().splitlines()]
    assert max(steps) == 1
    assert (tmp_path / "rl/mode_profile.json").exists()
    train("plot", tmp_path / "rl", "--out", tmp_path / "dynamics.svg", "--window", 1)
    assert (tmp_path / "dynamics.svg").stat().st_size > 1000
