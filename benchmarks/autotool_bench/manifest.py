"""The folder of a run: its settings in `run.json`, and the lock against a second process."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from autotool_core import jsonl
from autotool_core.errors import AutoToolError

FILE = "run.json"


@dataclass(frozen=True, slots=True)
class Manifest:
    """The settings of a run as `run.json` keeps them, next to the rows."""

    suite: str
    url: str
    model: str | None
    """None before a server was asked for the name of its model."""
    modes: tuple[str, ...]
    categories: tuple[str, ...]
    limit: int | None
    """Items per category."""
    seed: int
    """Selects the items of a limited run."""
    request: dict[str, Any]
    """Fields that every request had."""
    switch: str
    label: str | None
    parameters: float | None
    """Number of parameters of the model, for ACU."""
    directory: str | None
    """Directory of the suite's data."""
    concurrency: int
    """Attempts in progress at the same time: latencies are those of this load."""
    timeout: float
    """Seconds that an answer could take."""


MUTABLE_FIELDS = frozenset({"url", "concurrency", "timeout", "label", "parameters"})
"""Fields that may change when a run is resumed, and then take the new value: the same model may be served elsewhere."""


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return what `run.json` holds; None for a folder without a run. Raises AutoToolError if it is not valid JSON."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise AutoToolError(
            f"{path} is not valid JSON: remove that file and run again with the same options; the rows stay."
        ) from error


def check_folder(folder: Path, manifest: Manifest) -> None:
    """Raise AutoToolError if the folder holds a run with other settings. A model that is None is not compared."""
    stored = read_manifest(folder)
    if stored is None:
        return
    free = MUTABLE_FIELDS | ({"model"} if manifest.model is None else set())
    differing = {name: value for name, value in _as_json(manifest).items() if name not in free and stored.get(name) != value}
    if differing:
        listed = "; ".join(f"{name} {stored.get(name)}, not {value}" for name, value in differing.items())
        raise AutoToolError(f"{folder} holds a run with other settings ({listed[:500]}): give another --out.")


def open_run(folder: Path, manifest: Manifest) -> None:
    """Make the folder of a run, or resume the run in it. Raises AutoToolError if the folder holds another run."""
    folder.mkdir(parents=True, exist_ok=True)
    check_folder(folder, manifest)
    stored, wanted = read_manifest(folder), _as_json(manifest)
    if stored is None:
        started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        update(folder, **wanted, started=started)
    else:
        update(folder, **{name: wanted[name] for name in MUTABLE_FIELDS})


def update(folder: Path, **values: Any) -> None:
    """Set values of `run.json`, atomically."""
    with jsonl.atomic_write(folder / FILE) as part:
        part.write_text(json.dumps({**(read_manifest(folder) or {}), **values}, indent=1))


def _as_json(manifest: Manifest) -> dict[str, Any]:
    return json.loads(json.dumps(asdict(manifest)))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a run's folder against other processes. Raises AutoToolError if another process holds the lock."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout:
        raise AutoToolError(f"Another process is running into {folder}: wait for it, or give another --out.") from None
