"""Two processes train one model by training/recipes/fsdp2.yaml: its weights are those that one process makes, and whole.

accelerate shards by FSDP on GPUs alone, and on a CPU trains by plain data parallelism. The test has it shard there too.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from autotool_training.common import checkpoint

TESTS = Path(__file__).parents[2]
CONFIG = TESTS.parent / "training" / "recipes" / "fsdp2.yaml"
RANK = """
import os
import shutil
import sys
from pathlib import Path
import torch
from accelerate import state
from accelerate.utils import DistributedType
from support.training import SIZES, records
from autotool_training import scratch
from autotool_training.common.examples import ExampleWriter
from autotool_training.sft import train as sft

torch.set_num_threads(1)
begin = state.AcceleratorState.__init__

def shard_on_a_cpu_too(self, *arguments, fsdp_plugin=None, **rest):
    begin(self, *arguments, fsdp_plugin=fsdp_plugin, **rest)
    if self.distributed_type == DistributedType.MULTI_CPU:
        self.fsdp_plugin = fsdp_plugin
        self.distributed_type = state.PartialState._shared_state["distributed_type"] = DistributedType.FSDP

state.AcceleratorState.__init__ = shard_on_a_cpu_too
out, ranks = Path(sys.argv[1]), int(os.environ.get("WORLD_SIZE", "1"))
made = sft._trainer

def noting(*arguments):
    trainer = made(*arguments)
    trained = sum(weight.numel() for weight in trainer.model.parameters())
    ended = trainer.accelerator.wait_for_everyone
    def note():
        kept = sum(w.to_local().numel() if hasattr(w, "to_local") else w.numel() for w in trainer.model.parameters())
        (out / f"rank-{trainer.accelerator.process_index}.txt").write_text(f"{kept / trained:.3f}")
        ended()
    trainer.accelerator.wait_for_everyone = note
    return trainer

sft._trainer = noting

def train():
    base = scratch.make(SIZES, seed=0)
    settings = sft.SftSettings(modes="both", batch_size=4 // ranks, warmup_steps=0, save_steps=1, keep=2, learning_rate=0.01)
    writer = ExampleWriter(base.tokenizer, base.profile, base.tokenizer.eos_token_id)
    sft.train(base, sft.make_examples(records(4), writer, settings)[0], settings, out / "sft", seed=0)

train()
if ranks > 1:
    # As if it had been stopped between its two steps.
    if torch.distributed.get_rank() == 0:
        (out / "sft").rename(out / "straight")
        shutil.copytree(out / "straight", out / "sft")
        shutil.rmtree(out / "sft" / "steps" / "checkpoint-2")
        (out / "sft" / "mode_profile.json").unlink()
    torch.distributed.barrier()
    train()
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folders of a run of two processes and of one of one process."""
    folder = tmp_path_factory.mktemp("fsdp")
    (folder / "rank.py").write_text(RANK)
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", CONFIG]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])}
    environment |= {"OMP_NUM_THREADS": "1"}
    for name, command in (
        ("two", [*launch, "--mixed_precision", "no", "--num_processes", "2"]),
        ("one", [sys.executable]),
    ):
        (folder / name).mkdir()
        done = subprocess.run(
            [*command, folder / "rank.py", folder / name],
            env=environment,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
    return folder / "two", folder / "one"


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def test_every_process_holds_half_of_the_weights(runs: tuple[Path, Path]) -> None:
    shares = [float((runs[0] / f"rank-{rank}.txt").read_text()) for rank in (0, 1)]
    assert shares == pytest.approx([0.5, 0.5], abs=0.05)


@pytest.mark.parametrize("name", ["straight", "sft"])
def test_the_checkpoint_is_whole_and_that_of_one_process(runs: tuple[Path, Path], name: str) -> None:
    two, one = weights(runs[0] / name), weights(runs[1] / "sft")
    assert two.keys() == one.keys()
    assert all(weight.allclose(one[key], atol=1e-4) for key, weight in two.items())
    loaded = checkpoint.load_checkpoint(str(runs[0] / name))
    assert loaded.profile.markers
    start = weights(runs[1] / "sft" / "steps" / "checkpoint-1")
    assert any(not weight.allclose(start[key], atol=1e-4) for key, weight in two.items())
