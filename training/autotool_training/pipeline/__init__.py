"""`autotool train run`: all stages in order, from a file of conversations to a measured checkpoint.

What each stage has made is kept in `stages.json` of the run's folder, with the settings that it was made with: a run that is
started again passes over the stages that are done, and a stage that was stopped goes on where it was.
"""

import json
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from autotool_core import jsonl
from autotool_core.errors import AutoToolError
from autotool_training.common.fingerprint import portable
from autotool_training.common.resume import compare_runs
from autotool_training.pipeline.measure import ModeResult, free_memory, read_results
from autotool_training.pipeline.stages import Job, Stage, stages

STAGES_FILE = "stages.json"


def run(job: Job, say: Callable[[str], None]) -> list[ModeResult]:
    """Make the stages that are not done yet, and return what the three modes and the base reach on the held-out turns.

    That is nothing if `until` of the job ends the run before. `say` gets a line for each stage: its name, its result and its
    seconds. Raises AutoToolError for a stage that was begun with other settings, and the errors of the stages.
    """
    job.out.mkdir(parents=True, exist_ok=True)
    made = stages(job)
    stored = _read(job.out / STAGES_FILE)
    _reject_foreign(job.out, made, stored)
    held = _unfinished(made, stored)
    for index, stage in enumerate(made):
        is_new = not _is_done(stage, held)
        if is_new:
            # Until it is made, it is begun, and what follows is not made. One that goes on from a result may fail before it
            # has begun, and what it has made until then stays known.
            held = {one.name: held[one.name] for one in made[:index]} | {stage.name: {"settings": portable(stage.settings())}}
            if not _is_done(stage, stored):
                _write(job.out / STAGES_FILE, held)
            held[stage.name] |= _make(stage)
            _write(job.out / STAGES_FILE, held)
        say(_line(stage.name, held[stage.name], is_new=is_new))
        if stage.name == job.until != made[-1].name:
            return []
    return read_results(job.results)


def _reject_foreign(out: Path, made: Sequence[Stage], held: Mapping[str, Any]) -> None:
    """Raise AutoToolError if a new run would write over files that are in its folder already, as one's data may be."""
    there = [path.name for stage in made for path in stage.files()] if not held else []
    if there:
        raise AutoToolError(f"{out} holds {', '.join(there)}, which no run has made: give another --out.")


def _unfinished(made: Sequence[Stage], held: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is held, of a stage that is to make more steps without its result.

    Raises AutoToolError if the output of a stage is there that was begun with other settings, or settings of an older form.
    """
    kept = dict(held)
    for index, stage in enumerate(made):
        if stage.name not in held:
            continue
        stored = held[stage.name]["settings"]
        if not isinstance(stored, dict):
            raise AutoToolError(f"{stage.folder} holds a run of code before the first release: give another --out.")
        others, grows = compare_runs(stored, stage.settings(), assumed=stage.assumed(), growing=stage.growing)
        if others and stage.files():
            raise _begun_otherwise(made[index:], others)
        if grows:
            kept[stage.name] = {"settings": stored}
    return kept


def _begun_otherwise(made: Sequence[Stage], others: Mapping[str, Any]) -> AutoToolError:
    """Return the error of the first of these stages, whose held settings are other ones."""
    # The value of a digest says nothing.
    named = (name if name.endswith("contents") else f"{name}={json.dumps(value)}" for name, value in others.items())
    files = [str(path) for stage in made for path in stage.files()]
    return AutoToolError(
        f"The stage {made[0].name} was begun with other settings or data ({', '.join(named)}): give another --out, or remove "
        f"what it and the stages after it have made, to have that made again: {shlex.join(['rm', '-r', *files])}"
    )


def _is_done(stage: Stage, held: Mapping[str, Any]) -> bool:
    return "result" in held.get(stage.name, {}) and stage.output.exists()


def _make(stage: Stage) -> dict[str, Any]:
    began = time.monotonic()
    result = stage.make()
    # The next stage loads a model of its own.
    free_memory()
    return {"result": result, "seconds": round(time.monotonic() - began, 1)}


def _read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def _line(name: str, made: Mapping[str, Any], *, is_new: bool) -> str:
    return f"{name:<8} {made['result']} ({made['seconds']:.0f} s{'' if is_new else ', done before'})"


def _write(file: Path, held: Mapping[str, Any]) -> None:
    with jsonl.atomic_write(file) as part:
        part.write_text(json.dumps(held, indent=1) + "\n", encoding="utf-8")
