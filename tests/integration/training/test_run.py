"""`autotool train run` as the guide has it, with fewer conversations and steps: made once, and passed over the second time."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.examples import blocks

from autotool_training.common import records
from autotool_training.pipeline.split import conversations

ROOT = Path(__file__).parents[3]
STAGES = ["data", "label", "sft", "refine", "rl", "measure"]
FOREIGN = re.compile(r"warn|traceback|deprecat|future", re.IGNORECASE)
FEWER = (
    "--set label.k=1 --set label.max_tokens=16 --set sft.epochs=0.5 --set rl.steps=1 --set rl.prompts=2 --set rl.group=2 "
    "--set rl.accumulation=1 --set rl.probes=2 --set rl.max_response_tokens=16 --set refine.round_steps=1"
)


def quick_start(page: Path) -> str:
    """Return the commands of the guide with fewer conversations and steps."""
    text = next(block.text for block in blocks(page) if "autotool train run" in block.text)
    assert "--dialogues 200" in text
    return text.replace("--dialogues 200", "--dialogues 15").replace("--out runs/company\n", f"--out runs/company {FEWER}\n")


def shell(folder: Path, commands: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = ["bash", "-eu", "-o", "pipefail", "-c", commands]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert [line for line in (done.stdout + done.stderr).splitlines() if FOREIGN.search(line)] == []
    return done


@pytest.mark.timeout(600)
def test_the_quick_start_of_the_guide(tmp_path: Path) -> None:
    (tmp_path / "training").symlink_to(ROOT / "training")
    commands = quick_start(ROOT / "docs/guides/train.md")
    first = shell(tmp_path, commands).stdout
    run = tmp_path / "runs/company"
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
    again = shell(tmp_path, commands).stdout
    assert again.count("done before") == len(STAGES)
    assert again.splitlines()[-10:] == first.splitlines()[-10:]
