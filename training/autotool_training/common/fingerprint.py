"""What a path holds, told apart cheaply: a file or a checkpoint that was made anew has its old name."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

PIECES, PIECE_BYTES = 256, 1 << 12
ADDED = frozenset({"base_contents", "short_contents", "long_contents"})
"""Fingerprints in what a run keeps of its settings. Runs of older code have none, and go on without."""


def fingerprint(where: str | Path) -> str | None:
    """A digest of a file, or of the weights in a folder; None for what is neither, as a hub id, a URL or "".

    Of weights, pieces are read that lie evenly in each file: training moves all of a matrix, and the whole of a large model
    would take minutes. No times: a copy is the same.
    """
    path = Path(where)
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    weights = sorted(path.glob("*.safetensors")) if str(where) and path.is_dir() else []
    return _of_weights(weights) if weights else None


def comparable(asked: Mapping[str, Any], held: Mapping[str, Any]) -> dict[str, Any]:
    """What a run asks for, without fingerprints that the run in its folder does not hold."""
    return {name: value for name, value in asked.items() if name in held or name not in ADDED}


def _of_weights(files: list[Path]) -> str:
    found = hashlib.sha256()
    for path in files:
        found.update(f"{path.name} {path.stat().st_size} ".encode())
        for piece in _pieces(path):
            found.update(piece)
    return found.hexdigest()


def _pieces(path: Path) -> Iterator[bytes]:
    size = path.stat().st_size
    with path.open("rb") as file:
        for at in range(PIECES):
            file.seek(at * size // PIECES)
            yield file.read(PIECE_BYTES)
