"""`autotool train run` as the guide has it, with fewer conversations and steps: made once, and passed over the second time.

Its metrics also go to both services of `report_to`, which keep them on this machine.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.examples import blocks
from support.trackers import Logged, read_trackio, read_wandb

from autotool_training.common import records
from autotool_training.pipeline.split import conversations

ROOT = Path(__file__).parents[3]
STAGES = ["data", "label", "sft", "refine", "rl", "measure"]
FOREIGN = re.compile(r"warn|traceback|deprecat|future", re.IGNORECASE)
FEWER = (
    "--set label.k=1 --set label.max_tokens=16 --set sft.epochs=0.5 --set rl.steps=1 --set rl.prompts=2 --set rl.group=2 "
    "--set rl.accumulation=1 --set rl.probes=2 --set rl.max_response_tokens=16"
)
REPORTING = (
    """--set sft.report_to='["wandb", "trackio"]' --set rl.report_to='["wandb", "trackio"]' --set rl.log_completions=1"""
)


def quick_start(page: Path) -> str:
    """Return the commands of the guide with fewer conversations and steps, and metrics that go to the services too."""
    text = next(block.text for block in blocks(page) if "autotool train run" in block.text)
    assert "--dialogues 200" in text
    options = f"--out runs/company {FEWER} {REPORTING}\n"
    return text.replace("--dialogues 200", "--dialogues 15").replace("--out runs/company\n", options)


def shell(folder: Path, commands: str) -> str:
    """Run commands in a folder, in which the services keep their files, and return what they print."""
    services = {
        "WANDB_MODE": "offline",
        "WANDB_SILENT": "true",
        "WANDB_DIR": str(folder),
        "TRACKIO_DIR": str(folder / "trackio"),
    }
    environment = os.environ | services | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = ["bash", "-eu", "-o", "pipefail", "-c", commands]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert [line for line in (done.stdout + done.stderr).splitlines() if FOREIGN.search(line)] == []
    return done.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder in which the commands were given once, and what they printed."""
    folder = tmp_path_factory.mktemp("quick-start")
    (folder / "training").symlink_to(ROOT / "training")
    return folder, shell(folder, quick_start(ROOT / "docs/guides/train.md"))


@pytest.mark.timeout(600)
def test_the_quick_start_of_the_guide(made: tuple[Path, str]) -> None:
    folder, first = made
    run = folder / "runs/company"
    assert [line.split()[0] for line in first.splitlines() if line.split()[:1] and line.split()[0] in STAGES] == STAGES
    assert "done before" not in first
    held, trained = ([*records.read(run / name, strict=True)] for name in ("held_out.jsonl", "labelled.jsonl"))
    apart = len(conversations(held)), len(conversations(trained))
    assert (apart[0] > 1, len(conversations([*held, *trained]))) == (True, sum(apart))
    modes = {result["mode"]: result for result in json.loads((run / "modes.json").read_text())}
    assert [*modes] == ["auto", "long", "short", "base"]
    assert (modes["long"]["long"], modes["short"]["long"]) == (modes["long"]["turns"], 0)
    assert (modes["base"]["long"], modes["base"]["turns"]) == (0, modes["short"]["turns"])
    assert "Next: autotool serve --model runs/company/rl" in first
    again = shell(folder, quick_start(ROOT / "docs/guides/train.md"))
    assert again.count("done before") == len(STAGES)
    assert again.splitlines()[-10:] == first.splitlines()[-10:]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("read", "folder"), [(read_wandb, "."), (read_trackio, "trackio")])
def test_each_stage_is_a_run_of_its_own_in_the_services_with_its_metrics_and_rollouts(
    made: tuple[Path, str], read: Callable[[Path], Logged], folder: str
) -> None:
    logged = read(made[0] / folder)
    assert sorted(logged) == ["company/rl", "company/sft"]
    for stage in ("sft", "rl"):
        lines = (made[0] / "runs/company" / stage / "metrics.jsonl").read_text().splitlines()
        losses = [line["loss"] for line in map(json.loads, lines) if "loss" in line]
        assert [values["train/loss"] for values in logged[f"company/{stage}"] if "train/loss" in values] == losses != []
    (step,) = (values for values in logged["company/rl"] if "train/loss" in values)
    (table,) = (values["completions"] for values in logged["company/rl"] if "completions" in values)
    assert sum(row["reward"] for row in table) / len(table) == pytest.approx(step["train/reward"])
    columns = {"step", "prompt", "completion", "reward", "mode", "right", "fault", "tokens", "advantage"}
    assert (len(table), {*table[0]}) == (4, columns)
    assert all("<|im_start|>user" in row["prompt"] for row in table)
