"""`autotool train run`: all stages in order, from a file of conversations to a measured checkpoint.

What each stage has made is kept in `stages.json` of the run's folder, with the settings that it was made with: a run that is
started again passes over the stages that are done, and a stage that was stopped goes on where it was.
"""

import gc
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from autotool_core import jsonl
from autotool_training.pipeline.measure import ModeResult, read_results
from autotool_training.pipeline.stages import Job, Stage, stages

STAGES_FILE = "stages.json"


def run(job: Job, say: Callable[[str], None]) -> list[ModeResult]:
    """Make the stages that are not done yet, and return what the three modes reach on the held-out turns.

    `say` gets a line for each stage: its name, its result and its seconds. Raises the AutoToolErrors of the stages.
    """
    file = job.out / STAGES_FILE
    job.out.mkdir(parents=True, exist_ok=True)
    held: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    done: Any = True
    for stage in stages(job):
        # What follows a stage that was made anew is made again.
        done = done and _done(stage, held.get(stage.name))
        held[stage.name] = done or _made(stage)
        _write(file, held)
        say(_line(stage.name, held[stage.name], is_new=not done))
    return read_results(job.results)


def _done(stage: Stage, held: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return what is held of a stage if it was made with the same settings and its output is still there."""
    settings = json.loads(json.dumps(stage.settings()))
    return held if held and held["settings"] == settings and stage.output.exists() else None


def _made(stage: Stage) -> dict[str, Any]:
    began = time.monotonic()
    result = stage.make()
    # The next stage loads a model of its own.
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return {"settings": stage.settings(), "result": result, "seconds": round(time.monotonic() - began, 1)}


def _line(name: str, made: Mapping[str, Any], *, is_new: bool) -> str:
    return f"{name:<8} {made['result']} ({made['seconds']:.0f} s{'' if is_new else ', done before'})"


def _write(file: Path, held: Mapping[str, Any]) -> None:
    with jsonl.atomic_write(file) as part:
        part.write_text(json.dumps(held, indent=1) + "\n", encoding="utf-8")
