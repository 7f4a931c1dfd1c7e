"""Puts together the data of qwen2.5-coder-0.5b: what each stage learns, from the files of `autotool train data`.

    python training/recipes/qwen_coder_data.py practice coder

`practice` writes `practice.jsonl`, by which the base learns the form of calls and of reasoning, and `label.jsonl`, the records
that it then attempts in both modes. No record is in both.
"""

import json
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PRACTICE: Mapping[str, tuple[int, int]] = {
    "toolrl": (0, 240),
    "reason_tool_use": (0, 60),
    "seal_tools": (100, 20),
    "glaive": (80, 0),
    "api-one": (80, 20),
    "api-many": (30, 10),
    "graded": (40, 160),
    "plain": (70, 0),
}
"""The numbers of short and of long answers of each source, the long ones with recorded reasoning where the source has it."""
LABEL: Mapping[str, int] = {"seal_tools": 200, "glaive": 100, "api-one": 150, "api-many": 100, "graded": 350, "plain": 30}
"""The numbers of the following records of each source that are attempted."""

Row = dict[str, Any]


def main(task: str, folder: str) -> None:
    """Run the task of the command line."""
    {"practice": write_practice}[task](Path(folder))


def write_practice(folder: Path) -> None:
    """Write `practice.jsonl` with labels, and `label.jsonl`."""
    sources = _sources(folder)
    practice: list[Row] = []
    for name, (short, long) in PRACTICE.items():
        rows = sources[name]
        practice += [row | {"label": "short"} for row in rows[:short]]
        practice += [row | {"label": "long"} for row in rows[short : short + long]]
    attempted = [_unlabelled(row) for name, number in LABEL.items() for row in sources[name][_start(name) :][:number]]
    _write(folder / "practice.jsonl", practice)
    _write(folder / "label.jsonl", attempted)


def _start(name: str) -> int:
    return sum(PRACTICE[name])


def _sources(folder: Path) -> Mapping[str, Sequence[Row]]:
    """Return the records of each source, shuffled. Of `graded`, the ones that practice answers short are its easy levels."""
    natural = _rows(folder / "natural.jsonl")
    names = ("toolrl", "reason_tool_use", "seal_tools", "glaive")
    sources: dict[str, Sequence[Row]] = {name: [row for row in natural if row["source"] == name] for name in names}
    sources |= {name: _rows(folder / f"{name}.jsonl") for name in ("api-one", "api-many", "graded", "plain")}
    short = PRACTICE["graded"][0]
    easy = [row for row in sources["graded"] if row["level"] <= 2]
    sources["graded"] = [*easy[:short], *(row for row in sources["graded"] if row not in easy[:short])]
    return sources


def _rows(path: Path) -> list[Row]:
    """Return the records of a file, shuffled."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    random.Random(path.name).shuffle(rows)  # noqa: S311 not a secret
    return rows


def _unlabelled(row: Row) -> Row:
    return {name: value for name, value in row.items() if name != "label"}


def _write(path: Path, rows: Sequence[Row]) -> None:
    shuffled = random.Random(path.name).sample(rows, len(rows))  # noqa: S311 not a secret
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in shuffled), encoding="utf-8")
    sys.stdout.write(f"{len(shuffled)} records are saved to {path}.\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
