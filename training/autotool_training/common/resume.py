"""Resuming: whether a folder holds the same run, and the checkpoint that the run continues from."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainerState
from transformers.trainer import TRAINER_STATE_NAME

from autotool_core import jsonl
from autotool_core.errors import AutoToolError
from autotool_core.profile import FILE_NAME
from autotool_training.common.checkpoint import Checkpoint, is_finished, numbered_checkpoints
from autotool_training.common.fingerprint import comparable, fingerprint, portable
from autotool_training.common.lora import reject_other_rows
from autotool_training.common.progress import shown_steps
from autotool_training.common.records import Record
from autotool_training.common.trackers import finish_trackers

RUN_FILE = "run.json"


def claim_run_dir(
    out: Path,
    run: Mapping[str, Any],
    begin: Callable[[Path], None] | None = None,
    *,
    assumed: Mapping[str, Any] | None = None,
    growing: str | None = None,
    planned: str | None = None,
    unused: Collection[str] = (),
) -> None:
    """Make a folder that of a run, or check that it already is; `run` has JSON values of all that the run depends on.

    `begin` is called with the folder once it is known to be the run's. `assumed` has the values that a run of older code had
    without storing them, such as settings that came later, and `growing` names a number, as in `settings.steps`, of which the
    run may get more: a finished run then counts as unfinished. `planned` names a number over which the learning rate falls: a
    finished run gets no more of it, and the error says what to do instead. `unused` names values and sections that are stored
    and do not matter. A known model counts by its name, wherever its folder is (`portable`). Raises AutoToolError if the folder
    holds another run, naming what differs, with its values of settings. The fingerprints are not compared if the folder holds a
    run of older code, which stored none.
    """
    out.mkdir(parents=True, exist_ok=True)
    file = out / RUN_FILE
    if not file.exists():
        _write(file, run)
    held = json.loads(file.read_text())
    others, grows = compare_runs(held, run, assumed=assumed, growing=growing, unused=unused)
    if others:
        named = ", ".join(_with_value(name, value) for name, value in others.items())
        further = _further(out, run, others, planned)
        raise AutoToolError(f"{out} holds a run with other settings ({named}): give another --out, or remove it.{further}")
    if grows:
        _unfinish(out)
        _write(file, run)
    if begin is not None:
        begin(out)


def _further(out: Path, run: Mapping[str, Any], others: Mapping[str, Any], planned: str | None) -> str:
    """Return how to train on from the result of a finished run, if what differs is more of what was planned; else nothing."""
    if planned is None or {*others} != {planned} or _value(run, planned) <= others[planned] or not is_finished(out):
        return ""
    return (
        f" A finished run gets no more {planned}, since its learning rate has fallen to 0: to train on from its result, give "
        f"another --out and --set base.source={out}."
    )


def compare_runs(
    held: Mapping[str, Any],
    run: Mapping[str, Any],
    *,
    assumed: Mapping[str, Any] | None = None,
    growing: str | None = None,
    unused: Collection[str] = (),
) -> tuple[dict[str, Any], bool]:
    """Return the values of a stored run that are other than now, by names as `settings.steps`, and whether `growing` is more.

    The arguments are those of `claim_run_dir`. A `growing` that is more is no other value.
    """
    wanted, held = _stored(run), _filled(portable(held), _stored(assumed or {}))
    names = _compared(_differing(held, comparable(wanted, held)), {*unused, *_moved(held, wanted)})
    differing = {name: _value(held, name) for name in sorted(names)}
    if growing is None or growing not in differing or _value(wanted, growing) <= differing[growing]:
        return differing, False
    return {name: value for name, value in differing.items() if name != growing}, True


def stored_run(out: Path) -> dict[str, Any] | None:
    """Return what the run in a folder depends on, as `claim_run_dir` has stored it; None if the folder holds no run."""
    file = out / RUN_FILE
    return json.loads(file.read_text()) if file.exists() else None


def _stored(run: Mapping[str, Any]) -> Any:
    """Return a run as its file holds it."""
    return portable(json.loads(json.dumps(run)))


def _write(file: Path, run: Mapping[str, Any]) -> None:
    # Every process of a run writes the same values, so that it does not matter which one is last.
    with jsonl.atomic_write(file, per_process=True) as part:
        part.write_text(json.dumps(_stored(run), indent=2) + "\n")


def _filled(held: Mapping[str, Any], assumed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the held values with those of `assumed` that are missing, in sections too."""
    both = {key for key in held.keys() & assumed.keys() if isinstance(held[key], dict) and isinstance(assumed[key], dict)}
    return {**assumed, **held, **{key: _filled(held[key], assumed[key]) for key in both}}


def _value(run: Mapping[str, Any], name: str) -> Any:
    *sections, key = name.split(".")
    for section in sections:
        run = run[section]
    return run.get(key)


def _with_value(name: str, held: Any) -> str:
    """Return the name of what differs and, of a setting, the held value: what would have to be set for the run to go on."""
    return f"{name}={json.dumps(held)}" if name.startswith("settings.") else name


def _moved(held: Mapping[str, Any], wanted: Mapping[str, Any]) -> Collection[str]:
    """Return the name of the base where its weights are the same: its folder has moved, or is written in another way."""
    contents = wanted.get("base_contents")
    if contents is None or held.get("base_contents") != contents:
        return ()
    return ("base.source",) if isinstance(wanted["base"], Mapping) else ("base",)


def _compared(names: Iterable[str], unused: Collection[str]) -> Iterable[str]:
    sections = tuple(f"{name}." for name in unused)
    return (name for name in names if not f"{name}.".startswith(sections))


def _unfinish(out: Path) -> None:
    """Let a finished run go on. Raises AutoToolError if the checkpoint is gone that it would go on from."""
    if is_finished(out) and last_complete(out / "steps") is None:
        raise AutoToolError(f"{out} is finished and has no checkpoint in steps/ to go on from: give another --out.")
    (out / FILE_NAME).unlink(missing_ok=True)


def _differing(held: Mapping[str, Any], wanted: Mapping[str, Any], section: str = "") -> Iterable[str]:
    for key in held.keys() | wanted.keys():
        one, other = held.get(key), wanted.get(key)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            yield from _differing(one, other, f"{section}{key}.")
        elif one != other:
            yield f"{section}{key}"


def base_identity(base: Checkpoint) -> dict[str, Any]:
    """Return what identifies a base in `claim_run_dir`: name, precision and, of a folder, a fingerprint of its weights."""
    name = str(base.model.name_or_path)
    held = {"base": name, "base_contents": fingerprint(name)}
    precision = str(base.model.dtype).removeprefix("torch.")
    # Runs of older code have neither: all of them loaded float32.
    held |= {} if precision == "float32" else {"base_dtype": precision}
    return {**held, "base_in_4bit": True} if getattr(base.model, "is_loaded_in_4bit", False) else held


def records_digest(records: Iterable[Record]) -> str:
    """Return a digest of all fields of all records, in their order."""
    digest = hashlib.sha256()
    for record in records:
        digest.update(record.model_dump_json().encode())
    return digest.hexdigest()


def train(trainer: Trainer, folder: Path) -> None:
    """Run a trainer from the last complete checkpoint in its folder, or from the start.

    A run that made all its steps, and was stopped before its result was written, makes no further step. Raises AutoToolError
    if the checkpoint's adapter trains other rows of the embeddings.
    """
    checkpoint = last_complete(folder)
    if checkpoint is not None:
        reject_other_rows(trainer, checkpoint)
    if checkpoint is not None and _made_all_steps(trainer, checkpoint):
        # A private name of transformers 5.19: the public way to load a checkpoint also trains.
        trainer._load_from_checkpoint(str(checkpoint))
        return
    with shown_steps(trainer):
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    finish_trackers(trainer.args.report_to or ())


def _made_all_steps(trainer: Trainer, checkpoint: Path) -> bool:
    state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
    return state.global_step >= (trainer.args.max_steps if trainer.args.max_steps > 0 else state.max_steps)


def last_complete(folder: Path) -> Path | None:
    """Return the last checkpoint of a run that was written completely: the trainer's state is its last file."""
    return next((path for path in reversed(numbered_checkpoints(folder)) if _is_complete(path)), None)


def _is_complete(folder: Path) -> bool:
    try:
        return bool(TrainerState.load_from_json(str(folder / TRAINER_STATE_NAME)))
    except (OSError, ValueError, TypeError):
        return False
