"""Rollouts by vLLM while LoRA is trained: it decodes by the weights of each step, the markers' rows included."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parents[3]
RUN = """
import sys
from pathlib import Path
import torch
from support.training import records
from autotool_training.common import checkpoint
from autotool_training.common import records as files
from autotool_training.common.lora import LoraSettings
from autotool_training.rl.run import train
from autotool_training.rl.run_settings import EvaluationSettings, RlSettings
from autotool_training.rl.settings import ObjectiveSettings

torch.set_num_threads(1)
source, out = sys.argv[1], Path(sys.argv[2])
files.write(out / "held_out.jsonl", records(10)[8:])
settings = RlSettings(
    # Its entropy term moves the weights whatever the rewards are.
    objective=ObjectiveSettings(variant="static-beta"), lora=LoraSettings(rank=4, alpha=64), learning_rate=0.01, warmup_steps=0,
    steps=3, prompts=2, group=2, max_prompt_tokens=448, max_response_tokens=64, rollouts="vllm",
    evaluation=EvaluationSettings(records=str(out / "held_out.jsonl"), steps=2),
)
train(checkpoint.load_checkpoint(source), records(8), settings, out / "rl", seed=0)
"""
CHECKPOINT = TESTS.parent / "training" / "checkpoints" / "graded-tiny"
CPU = {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed")
    folder = tmp_path_factory.mktemp("vllm")
    command = [sys.executable, "-c", RUN, str(CHECKPOINT), str(folder)]
    environment = os.environ | CPU | {"PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return [json.loads(line) for line in (folder / "rl" / "metrics.jsonl").read_text().splitlines()]


def test_vllm_decodes_by_the_trained_weights(metrics: list[dict[str, Any]]) -> None:
    gaps = [line["logp_gap"] for line in metrics if "logp_gap" in line]
    assert len(gaps) == 3
    assert max(gaps) < 0.05
    assert all(line["grad_norm"] > 0 for line in metrics if "logp_gap" in line)


def test_vllm_decodes_the_held_out_records(metrics: list[dict[str, Any]]) -> None:
    evaluated = [line for line in metrics if "eval_auto/accuracy" in line]
    assert [line["step"] for line in evaluated] == [2, 3]
    assert all(line["eval_long/tokens"] > line["eval_short/tokens"] for line in evaluated[:1])
