"""What identifies files and checkpoints in a stored run: a name that every machine has, and a fingerprint of the contents."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from autotool_server import default_model

SHIPPED_CHECKPOINTS = "training/checkpoints/"
PIECES, PIECE_BYTES = 256, 1 << 12
"""Number and size of the pieces that are read of a weight file."""
ADDED = frozenset({"base_contents", "short_contents", "long_contents"})
"""Keys of fingerprints in a stored run. Runs of older code have none, and are continued without."""


def fingerprint(location: str | Path) -> str | None:
    """Return a digest of a file or of the weights in a folder; None for anything else, such as a hub id, a URL or "".

    Of each weight file, pieces at even distances are read: training changes all of a matrix, and reading a large model
    whole would take minutes. Times are left out, so that a copy has the same fingerprint.
    """
    path = Path(location)
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    weights = sorted(path.glob("*.safetensors")) if str(location) and path.is_dir() else []
    return _weights_digest(weights) if weights else None


def portable(run: Any) -> Any:
    """Return the JSON values of a run with names in place of the folders of known models and shipped checkpoints.

    These folders are in a user's cache and a checkout, which may move. What they hold is compared by fingerprints.
    """
    if isinstance(run, Mapping):
        return {name: portable(value) for name, value in run.items()}
    if isinstance(run, list | tuple):
        return [portable(value) for value in run]
    return _name(run) if isinstance(run, str) else run


def _name(location: str) -> str:
    _, shipped, name = location.rpartition(f"/{SHIPPED_CHECKPOINTS}")
    return f"{SHIPPED_CHECKPOINTS}{name}" if shipped else default_model.name_of(location)


def comparable(wanted: Mapping[str, Any], held: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a run without the fingerprints that the stored run does not hold."""
    return {name: value for name, value in wanted.items() if name in held or name not in ADDED}


def _weights_digest(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name} {path.stat().st_size} ".encode())
        for piece in _pieces(path):
            digest.update(piece)
    return digest.hexdigest()


def _pieces(path: Path) -> Iterator[bytes]:
    size = path.stat().st_size
    with path.open("rb") as file:
        for index in range(PIECES):
            file.seek(index * size // PIECES)
            yield file.read(PIECE_BYTES)
