"""A dial as `autotool bench dial` writes it: the bias at which a target was met, and files that are none."""

import json
from pathlib import Path
from typing import Any

import pytest

from autotool_core.errors import AutoToolError
from autotool_core.target import Target
from autotool_server.targets.dial import load_dial

STEPS = [(-4, 0.60, 50, 0.0), (-2, 0.70, 70, 0.2), (0, 0.79, 100, 0.5), (2, 0.80, 130, 0.8), (4, 0.78, 150, 1.0)]


def dial_file(folder: Path, steps: Any = STEPS) -> Path:
    file = folder / "dial.json"
    names = ("accuracy", "generated_tokens", "thinking_rate")
    rows = [{"mode": f"auto@{bias}", "bias": bias, "figures": dict(zip(names, rest, strict=True))} for bias, *rest in steps]
    file.write_text(json.dumps({"steps": rows, "forced": [], "choices": []}))
    return file


@pytest.mark.parametrize(
    ("target", "bias"),
    [
        ("thinking-rate=0.2", -2),
        ("thinking-rate=0.35", -1),
        ("thinking-rate=0", -4),
        ("tokens=115", 1),
        ("tokens=20", -4),
        ("tokens=900", 4),
        ("regret=2%", 0),
        ("regret=0", 2),
        ("regret=12%", -2),
    ],
)
def test_bias(tmp_path: Path, target: str, bias: float) -> None:
    dial = load_dial(dial_file(tmp_path, STEPS[::-1]))
    assert dial.bias_for(Target.parse(target)) == pytest.approx(bias)


def test_figures_that_fall_by_chance(tmp_path: Path) -> None:
    steps = [(-2, 0.7, 70, 0.2), (0, 0.7, 65, 0.2), (2, 0.7, 130, 0.8)]
    assert load_dial(dial_file(tmp_path, steps)).bias_for(Target.parse("tokens=100")) == pytest.approx(1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "the file: Invalid JSON"),
        ("{}", "steps: Field required"),
        ('{"steps": [{"bias": 1, "figures": {"accuracy": 1, "generated_tokens": 1}}, 2]}', "steps.0.figures.thinking_rate"),
        ('{"steps": [{"bias": 1, "figures": {"accuracy": 1, "generated_tokens": 1, "thinking_rate": 0}}]}', "at least 2"),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "dial.json"
    file.write_text(text)
    with pytest.raises(AutoToolError, match=f"Setting dial: .*{message}.*autotool bench dial"):
        load_dial(file)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(AutoToolError, match=r"Setting dial: .*none\.json cannot be read: No such file"):
        load_dial(tmp_path / "none.json")
