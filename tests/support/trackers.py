"""What a run has sent to the services of `report_to`, read back from the files that they keep on this machine."""

import json
import sqlite3
import struct
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record  # pyright: ignore[reportAttributeAccessIssue] made as it is imported

Logged = Mapping[str, Sequence[Mapping[str, Any]]]
"""The values of every log of a run, by its name."""
BLOCK, FULL, LAST = 32768, 1, 4


def read_wandb(folder: Path) -> Logged:
    """Return what the runs in WANDB_DIR have logged in offline mode, with the rows of a table in place of its file."""
    return dict(_offline_run(file) for file in folder.glob("wandb/offline-run-*/*.wandb"))


def _offline_run(file: Path) -> tuple[str, Sequence[Mapping[str, Any]]]:
    records = list(_records(file.read_bytes()))
    (name,) = (record.run.display_name for record in records if record.HasField("run"))
    return name, [_values(record, file.parent) for record in records if record.HasField("history")]


def _records(data: bytes) -> Iterator[Any]:
    """Read the log format of LevelDB behind a header of seven bytes: pieces that do not cross blocks."""
    at, parts = 7, b""
    while at < len(data):
        if BLOCK - at % BLOCK < 7:
            at += BLOCK - at % BLOCK
        _, length, kind = struct.unpack_from("<IHB", data, at)
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (FULL, LAST):
            yield Record.FromString(parts)
            parts = b""


def _values(record: Any, folder: Path) -> Mapping[str, Any]:
    values = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
    if "completions/path" in values:
        table = json.loads((folder / "files" / values["completions/path"]).read_text())
        values["completions"] = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    return values


def read_trackio(folder: Path) -> Logged:
    """Return what the runs in TRACKIO_DIR have logged, with the rows of a table in place of it."""
    runs: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    (file,) = folder.glob("*.db")
    with closing(sqlite3.connect(file)) as database:
        for name, metrics in database.execute("SELECT run_name, metrics FROM metrics ORDER BY id"):
            values = json.loads(metrics)
            runs[name].append(values | {key: value["_value"] for key, value in values.items() if isinstance(value, dict)})
    return runs
