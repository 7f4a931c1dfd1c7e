"""Where a run that was stopped goes on, and whether the folder holds that run at all."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainerState
from transformers.trainer import TRAINER_STATE_NAME

from autotool_core import jsonl
from autotool_core.errors import AutoToolError
from autotool_training.common.checkpoint import Checkpoint, numbered
from autotool_training.common.fingerprint import comparable, fingerprint
from autotool_training.common.records import Record

RUN_FILE = "run.json"


def claim(out: Path, run: Mapping[str, Any]) -> None:
    """Make a folder that of a run, named by JSON values of all that it depends on; or find that it is.

    Raises AutoToolError where the folder holds another run, naming what differs. A run of older code, which kept no
    fingerprints, is taken for the same with any.
    """
    out.mkdir(parents=True, exist_ok=True)
    file = out / RUN_FILE
    if not file.exists():
        # Every process of a run writes the same, each in a file of its own.
        with jsonl.atomic_write(file, per_process=True) as part:
            part.write_text(json.dumps(run, indent=2) + "\n")
        return
    held = json.loads(file.read_text())
    if differing := sorted(_differing(held, comparable(json.loads(json.dumps(run)), held))):
        raise AutoToolError(f"{out} holds a run with other settings ({', '.join(differing)}): give another --out.")


def _differing(held: Mapping[str, Any], asked: Mapping[str, Any], at: str = "") -> Iterable[str]:
    for key in held.keys() | asked.keys():
        one, other = held.get(key), asked.get(key)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            yield from _differing(one, other, f"{at}{key}.")
        elif one != other:
            yield f"{at}{key}"


def origin(base: Checkpoint) -> dict[str, Any]:
    """What tells a run's base apart, for `claim`: its name and, where that is a folder, the weights in it."""
    name = str(base.model.name_or_path)
    return {"base": name, "base_contents": fingerprint(name)}


def digest(records: Iterable[Record]) -> str:
    """What tells two sets of records apart."""
    found = hashlib.sha256()
    for record in records:
        found.update(record.model_dump_json().encode())
    return found.hexdigest()


def train(trainer: Trainer, folder: Path) -> None:
    """Run a trainer from the last whole checkpoint in its folder, or from the start.

    One whose steps were all made, and which was stopped before its result was written, takes no further step.
    """
    found = last_whole(folder)
    if found is None:
        trainer.train()
        return
    state = TrainerState.load_from_json(str(found / TRAINER_STATE_NAME))
    steps = trainer.args.max_steps if trainer.args.max_steps > 0 else state.max_steps
    if state.global_step < steps:
        trainer.train(resume_from_checkpoint=str(found))
    else:
        trainer._load_from_checkpoint(str(found))


def last_whole(folder: Path) -> Path | None:
    """The last checkpoint of a run that was written to its end: the trainer's state is the last file of it."""
    return next((path for path in reversed(numbered(folder)) if _is_whole(path)), None)


def _is_whole(folder: Path) -> bool:
    try:
        return bool(TrainerState.load_from_json(str(folder / TRAINER_STATE_NAME)))
    except (OSError, ValueError, TypeError):
        return False
