"""The pipeline of docs/guides/train.md, run as it stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
GUIDE = ROOT / "docs" / "guides" / "train.md"
FOREIGN = re.compile(r"warn|traceback|deprecat|future", re.IGNORECASE)


def pipeline() -> str:
    """Return the guide's first block of commands with RL."""
    blocks = re.findall(r"^```bash\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return next(block for block in blocks if "autotool train rl" in block)


@pytest.mark.timeout(1200)
def test_the_pipeline_of_the_guide_runs_as_pasted(tmp_path: Path) -> None:
    (tmp_path / "training").symlink_to(ROOT / "training")
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", pipeline()],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    output = done.stdout + done.stderr
    assert [line for line in output.splitlines() if FOREIGN.search(line)] == []
    for result in ("runs/data.jsonl", "runs/labelled.jsonl", "runs/sft", "runs/refined.jsonl", "runs/rl", "runs/dynamics.svg"):
        assert f"saved to {result}" in done.stdout
    for run in ("sft", "rl"):
        assert list((tmp_path / "runs" / run / "tensorboard").glob("events.out.tfevents.*"))
    assert (tmp_path / "runs/rl/mode_profile.json").exists()


def test_every_next_command_is_one_that_the_guide_has() -> None:
    stages = re.findall(r"autotool train (\w+)", pipeline())
    assert stages == ["data", "label", "sft", "refine", "rl", "plot"]
