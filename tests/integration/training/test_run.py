"""`autotool train run` with fewer conversations and steps: made and served as in the README, then as in the guide, at once.

Its metrics also go to both services of `report_to`, which keep them on this machine.
"""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from openai import AsyncOpenAI
from support.examples import blocks
from support.served_process import Served, started
from support.trackers import Logged, read_trackio, read_wandb

from autotool_training.common import records
from autotool_training.pipeline.split import conversations

ROOT = Path(__file__).parents[3]
STAGES = ["data", "label", "sft", "refine", "rl", "measure"]
FOREIGN = re.compile(r"warn|traceback|deprecat|future", re.IGNORECASE)
FEWER = (
    "--set label.k=1 --set label.max_tokens=16 --set sft.epochs=0.5 --set rl.steps=1 --set rl.prompts=2 --set rl.group=2 "
    "--set rl.accumulation=1 --set rl.probes=2 --set rl.max_response_tokens=16 --set refine.round_steps=1"
)
REPORTING = (
    """--set sft.report_to='["wandb", "trackio"]' --set rl.report_to='["wandb", "trackio"]' --set rl.log_completions=1"""
)
SERVICES = ((read_wandb, "."), (read_trackio, "trackio"))
"""What reads each service's files, and their folder."""


def quick_start(page: str) -> str:
    """Return the commands of a page that train by one command."""
    return next(block.text for block in blocks(ROOT / page) if "autotool train run" in block.text)


def smaller(commands: str) -> list[str]:
    """Return the words of a shell that runs the commands with fewer conversations and steps, and reports to the services."""
    assert "--dialogues 200" in commands
    fewer = commands.replace("--dialogues 200", "--dialogues 15")
    return ["bash", "-eu", "-o", "pipefail", "-c", re.sub(r"--out runs/company\b(?!\.)", rf"\g<0> {FEWER} {REPORTING}", fewer)]


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """Return variables with which the services keep their files in the folder."""
    services = {
        "WANDB_MODE": "offline",
        "WANDB_SILENT": "true",
        "WANDB_DIR": str(folder),
        "TRACKIO_DIR": str(folder / "trackio"),
    }
    return os.environ | services | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"} | variables


def assert_no_foreign_lines(text: str) -> None:
    assert [line for line in text.splitlines() if FOREIGN.search(line)] == []


def output(command: list[str], folder: Path) -> list[str]:
    """Run a command until it has ended, and return the lines that it printed."""
    done = subprocess.run(
        command, cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert_no_foreign_lines(done.stdout + done.stderr)
    return done.stdout.splitlines()


async def ask_and_end(server: Served) -> None:
    """Ask the trained model in `auto`, and end its server by Ctrl-C."""
    async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        [model] = (await client.models.list()).data
        assert model.id == "runs/company/rl"
        messages: Any = [{"role": "user", "content": "Where is order 4711?"}]
        answer: Any = await client.chat.completions.create(
            model=model.id, messages=messages, max_completion_tokens=16, extra_body={"mode": "auto"}
        )
    [turn] = answer.autotool["turns"]
    assert turn["resolved"] in ("long", "short")
    assert 0 < turn["p_long"] < 1
    begun = psutil.Process(server.process.pid).children(recursive=True)
    server.signal(signal.SIGINT)
    assert (await server.end(), server.errors.splitlines()) == (0, ["Stopping."])
    assert psutil.wait_procs(begun, timeout=60)[1] == []


@pytest.mark.timeout(600)
async def test_the_quick_starts_of_the_readme_and_of_the_guide(tmp_path: Path) -> None:
    (tmp_path / "training").symlink_to(ROOT / "training")
    served, trained = quick_start("README.md"), quick_start("docs/guides/train.md")
    assert served == trained.removesuffix("\n") + " --serve\n"
    variables = environment(tmp_path, AUTOTOOL_PORT="0", AUTOTOOL_ENGINE="transformers")
    async with started(*smaller(served), cwd=tmp_path, env=variables) as server:
        await ask_and_end(server)
    first, run = server.before, tmp_path / "runs/company"
    assert_no_foreign_lines("\n".join([*first, *server.phases]))
    assert [line.split()[0] for line in first if line.split()[:1] and line.split()[0] in STAGES] == STAGES
    assert "done before" not in "\n".join(first)
    held, kept = ([*records.read(run / name, strict=True)] for name in ("held_out.jsonl", "labelled.jsonl"))
    apart = len(conversations(held)), len(conversations(kept))
    assert (apart[0] > 1, len(conversations([*held, *kept]))) == (True, sum(apart))
    modes = {result["mode"]: result for result in json.loads((run / "modes.json").read_text())}
    assert [*modes] == ["auto", "long", "short", "base"]
    assert (modes["long"]["long"], modes["short"]["long"]) == (modes["long"]["turns"], 0)
    assert (modes["base"]["long"], modes["base"]["turns"]) == (0, modes["short"]["turns"])
    assert "Next: autotool serve --model runs/company/rl" in first
    again = output(smaller(trained), tmp_path)
    assert "\n".join(again).count("done before") == len(STAGES)
    assert again[-10:] == first[-10:]
    for read, folder in SERVICES:
        assert_each_stage_is_a_run(read, tmp_path / folder, run)


def assert_each_stage_is_a_run(read: Callable[[Path], Logged], service: Path, made: Path) -> None:
    """Compare what a service has with the folder that was made: a run for each stage, its losses, and the rollouts of RL."""
    logged = read(service)
    assert sorted(logged) == ["company/rl", "company/sft"]
    for stage in ("sft", "rl"):
        lines = (made / stage / "metrics.jsonl").read_text().splitlines()
        losses = [line["loss"] for line in map(json.loads, lines) if "loss" in line]
        assert [values["train/loss"] for values in logged[f"company/{stage}"] if "train/loss" in values] == losses != []
    (step,) = (values for values in logged["company/rl"] if "train/loss" in values)
    (table,) = (values["completions"] for values in logged["company/rl"] if "completions" in values)
    assert sum(row["reward"] for row in table) / len(table) == pytest.approx(step["train/reward"])
    columns = {"step", "prompt", "completion", "reward", "mode", "right", "fault", "tokens", "advantage"}
    assert (len(table), {*table[0]}) == (4, columns)
    assert all("<|im_start|>user" in row["prompt"] for row in table)
