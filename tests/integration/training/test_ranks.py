"""Two processes train one model: metrics, β and files of all ranks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from autotool_training.common import checkpoint
from autotool_training.rl.grpo import BETA_FILE

TESTS = Path(__file__).parents[2]
RANK = """
import sys
from pathlib import Path
import torch
from support.training import SIZES, records
from autotool_training import scratch
from autotool_training.common import records as files
from autotool_training.common.examples import ExampleWriter
from autotool_training.rl import grpo
from autotool_training.rl.run import RlSettings, train
from autotool_training.rl.settings import ObjectiveSettings
from autotool_training.sft import train as sft

torch.set_num_threads(1)
out = Path(sys.argv[1])
step = grpo.AutoToolGRPOTrainer._end_micro_batch

def note(trainer, sums):
    step(trainer, sums)
    with (out / f"rank-{trainer.accelerator.process_index}.txt").open("a") as file:
        print(trainer._constraint.controller.value, *trainer._metrics["train"]["thinking_rate"][-1:], file=file)

grpo.AutoToolGRPOTrainer._end_micro_batch = note
base = scratch.make(SIZES, seed=0)
settings = sft.SftSettings(modes="both", epochs=1, batch_size=2, warmup_steps=0, save_steps=1)
writer = ExampleWriter(base.tokenizer, base.profile, base.tokenizer.eos_token_id)
sft.train(base, sft.make_examples(records(4), writer, settings)[0], settings, out / "sft", seed=0)
objective = ObjectiveSettings(variant="autotool")
rl = RlSettings(objective=objective, probes=2, steps=2, prompts=2, group=2, max_response_tokens=12, save_steps=1)
train(scratch.make(SIZES, seed=0), records(8), rl, out / "rl", seed=0)
if torch.distributed.get_rank() == 0:
    files.write(out / "held_out.jsonl", records(11)[8:])
torch.distributed.barrier()
changes = {"objective": {"variant": "autotool", "kl_beta": 0.1}, "lora": {"rank": 2, "alpha": 4}, "max_num_gen_batches": 2}
changes |= {"evaluation": {"records": str(out / "held_out.jsonl"), "steps": 1, "batch": 2}, "steps": 1, "num_iterations": 1}
more = RlSettings.model_validate({**rl.model_dump(), **changes})
train(scratch.make(SIZES, seed=0), records(8), more, out / "more", seed=0)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    (folder / "rank.py").write_text(RANK)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launch, folder / "rank.py", folder], env=environment, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_every_rank_has_the_same_metrics_and_beta(run: Path) -> None:
    first, second = ((run / f"rank-{rank}.txt").read_text().splitlines() for rank in (0, 1))
    assert first == second
    assert len(first) == 3
    kept = json.loads((run / "rl" / "steps" / "checkpoint-2" / BETA_FILE).read_text())
    assert str(kept["beta"]) == first[1].split()[0]


def test_metrics_and_checkpoint_are_written_once(run: Path) -> None:
    for stage, steps in (("sft", [1, 2]), ("rl", [1, 2])):
        lines = [json.loads(line) for line in (run / stage / "metrics.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines if "grad_norm" in line] == steps
        assert checkpoint.load_checkpoint(str(run / stage)).profile.markers
        assert not list((run / stage).glob("*.part")) + list((run / stage).glob("run.json.*"))


def test_evaluation_dynamic_sampling_kl_and_an_adapter_work_on_several_processes(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "more" / "metrics.jsonl").read_text().splitlines()]
    (step,) = [line for line in lines if "grad_norm" in line]
    assert {"eval_auto/accuracy", "eval_long/tokens", "replaced_groups", "kl", "beta_long"} <= step.keys()
    assert json.loads((run / "more" / "best" / "evaluation.json").read_text())["step"] == 1
    best, last = (checkpoint.load_checkpoint(str(run / "more" / name)).model.state_dict() for name in ("best", ""))
    assert all(weight.allclose(last[name], atol=1e-6) for name, weight in best.items())
