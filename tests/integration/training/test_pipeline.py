"""The commands of `autotool train`, one after the other, by the recipes' miniatures: from data to a benchmark."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from autotool_cli import main
from autotool_training.common import records

RECIPES = Path(__file__).parents[3] / "training" / "recipes"


def autotool(*arguments: object) -> None:
    with pytest.raises(SystemExit) as ended:
        main.app([*map(str, arguments)], prog_name="autotool")
    assert ended.value.code == 0


def train(*arguments: object) -> None:
    autotool("train", *arguments)


def labelled(folder: Path, tasks: int) -> Path:
    """Graded tasks of all levels, labelled: the no-thinking model is one that knows level 1 alone."""
    made, out = folder / "data.jsonl", folder / "labelled.jsonl"
    train("data", "--source", f"graded={tasks}", "--distractors", "1", "--out", made)
    easy = [record for record in records.read(made) if record.level == 1]
    records.write(folder / "easy.jsonl", easy)
    train("label", "--records", made, "--short", folder / "easy.jsonl", "--long", made, "--out", out, "--k", 1)
    return out


def serve_and_bench(model: Path, out: Path) -> None:
    options = ("--engine", "transformers", "--suite", "graded", "--limit", "1", "--max-tokens", "16", "--out", str(out))
    command = [sys.executable, "-c", "from autotool_cli.main import main; main()", "bench", "perf", "checkpoints"]
    subprocess.run([*command, str(model), *options], check=True, timeout=300)


def test_graded_tiny_from_data_to_a_benchmark(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = RECIPES / "graded-tiny-ci.toml"
    data, refined = labelled(tmp_path, 4), tmp_path / "refined.jsonl"
    assert "graded" in capsys.readouterr().out
    labels = {record.level: record.label for record in records.read(data)}
    assert labels == {1: "short", 2: "long", 3: "long", 4: "long", 5: "long", 6: "long"}
    train("sft", recipe, "--records", data, "--out", tmp_path / "sft")
    train("refine", recipe, "--records", data, "--checkpoint", tmp_path / "sft/steps", "--out", refined)
    assert "Refinement" in capsys.readouterr().out
    counts = json.loads((tmp_path / "refined.counts.json").read_text())["graded"]
    kept = list(records.read(refined))
    assert counts["records"] == 24
    assert len(kept) == sum(counts["kept"].values()) == 24 - sum(counts["dropped"].values())
    rounds = {json.loads(line)["checkpoint"] for line in (tmp_path / "refined.probes.jsonl").read_text().splitlines()[1:]}
    assert len(rounds) == 2
    train("rl", recipe, "--records", refined, "--base", tmp_path / "sft", "--out", tmp_path / "rl")
    steps = [json.loads(line)["step"] for line in (tmp_path / "rl/metrics.jsonl").read_text().splitlines()]
    assert max(steps) == 2
    train("plot", tmp_path / "rl", "--out", tmp_path / "dynamics.svg", "--window", 1)
    assert (tmp_path / "dynamics.svg").stat().st_size > 1000
    serve_and_bench(tmp_path / "rl", tmp_path / "bench")
    rows = [json.loads(line) for line in (tmp_path / "bench/rl/rows.jsonl").read_text().splitlines()]
    assert len(rows) == 6 * 3
    assert not any(row["error"] for row in rows)
    assert (tmp_path / "bench/report.json").exists()


@pytest.mark.parametrize("name", ["smollm2-135m", "qwen2.5-7b"])
def test_the_other_miniatures_train(name: str, tmp_path: Path) -> None:
    recipe, data = RECIPES / f"{name}-ci.toml", tmp_path / "few.jsonl"
    # One record of each label: the step of a whole base takes seconds for each record.
    records.write(data, [record for record in records.read(labelled(tmp_path, 1)) if record.level in (1, 2)])
    train("sft", recipe, "--records", data, "--out", tmp_path / "sft")
    train("rl", recipe, "--records", data, "--base", tmp_path / "sft", "--out", tmp_path / "rl")
    assert (tmp_path / "rl/mode_profile.json").exists()
