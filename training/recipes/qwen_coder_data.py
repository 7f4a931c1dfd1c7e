"""Puts together the data of qwen2.5-coder-0.5b from the files of `autotool train data` and of the other `qwen_coder` scripts.

    python training/recipes/qwen_coder_data.py practice coder

`practice` writes `practice.jsonl`, by which the base learns the form of calls and of reasoning, and `label.jsonl`, records for
labels by the model's own attempts, which no command makes yet. No record is in both.
"""

import json
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PRACTICE: Mapping[str, tuple[int, int]] = {
    "toolrl": (24, 26),
    "reason_tool_use": (0, 34),
    "seal_tools": (50, 0),
    "glaive": (60, 0),
    "retold": (130, 0),
    "refused": (30, 0),
    "asks": (50, 0),
    "api-one": (180, 0),
    "api-many": (120, 0),
    "graded": (48, 256),
    "plain": (340, 0),
    "turns": (80, 0),
}
"""The numbers of records of each source that are learnt as short answers, and of the following ones as long answers with the
source's own reasoning. Only that of `graded` is written by template: it derives the arguments."""
MAX_THOUGHT = 720
"""Characters of the longest reasoning that is learnt, some 160 tokens."""
KINDS = ("retold", "refused")
"""Kinds of synthetic requests that are sources of their own: values told in other words, and tools that do not fit."""
EASY = 2
"""The highest level of `graded` that is answered at once."""
LABEL: Mapping[str, int] = {"seal_tools": 24, "glaive": 12, "api-one": 30, "api-many": 24, "graded": 84, "plain": 2}
"""The numbers of records of each source that are attempted, evenly from all that practice has not."""

Row = dict[str, Any]


def main(task: str, folder: str) -> None:
    """Run the task of the command line."""
    {"practice": write_practice}[task](Path(folder))


def write_practice(folder: Path) -> None:
    """Write `practice.jsonl` with labels, and `label.jsonl`."""
    sources = _sources(folder)
    practice = [row for name, numbers in PRACTICE.items() for row in _practised(sources[name], *numbers)]
    used = {row["id"] for row in practice}
    left = {name: [row for row in sources[name] if row["id"] not in used] for name in LABEL}
    attempted = [_unlabelled(row) for name, number in LABEL.items() for row in _spread(left[name], number)]
    _write(folder / "practice.jsonl", practice)
    _write(folder / "label.jsonl", attempted)


def _practised(rows: Sequence[Row], short: int, long: int) -> Sequence[Row]:
    """Return the first rows labelled short, and of the following ones those with a reasoning that is not too long."""
    reasoned = [row for row in rows[short:] if 0 < len(row.get("reasoning") or "") <= MAX_THOUGHT]
    return [*(row | {"label": "short"} for row in rows[:short]), *(row | {"label": "long"} for row in reasoned[:long])]


def _spread(rows: Sequence[Row], number: int) -> Sequence[Row]:
    """Return a number of rows at even distances; all if there are fewer."""
    return rows[:: max(1, len(rows) // number)][:number]


def _sources(folder: Path) -> Mapping[str, Sequence[Row]]:
    """Return the records of each source, shuffled. The first ones of `graded` are its easy levels."""
    natural, one = _rows(folder / "natural.jsonl"), _rows(folder / "api-one.jsonl")
    names = ("toolrl", "reason_tool_use", "seal_tools", "glaive")
    sources: dict[str, Sequence[Row]] = {name: [row for row in natural if row["source"] == name] for name in names}
    sources |= {name: _rows(folder / f"{name}.jsonl") for name in ("api-many", "graded", "plain", "turns")}
    sources |= {kind: [row for row in one if row["id"].endswith(f"-{kind}")] for kind in KINDS}
    sources["asks"] = [_asks(row) for row in one if row["id"].endswith("-back")]
    sources["api-one"] = [row for row in one if row["id"].rpartition("-")[2] not in {*KINDS, "back"}]
    easy = [row for row in sources["graded"] if row["level"] <= EASY][: PRACTICE["graded"][0]]
    sources["graded"] = [*easy, *(row for row in sources["graded"] if row not in easy)]
    return sources


def _asks(row: Row) -> Row:
    """Return the turn before the call of a record, which asks for a value that the request does not have."""
    request, question, *_ = row["messages"]
    return row | {"id": f"{row['id']}-asks", "messages": [request], "calls": [], "content": question["content"]}


def _rows(path: Path) -> list[Row]:
    """Return the records of a file, shuffled by their tool sets, so that those with the same tools stay together.

    SFT computes the tools that records have in common once.
    """
    sets: dict[str, list[Row]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        sets.setdefault(json.dumps(row["tools"]), []).append(row)
    groups = [*sets.values()]
    random.Random(path.name).shuffle(groups)  # noqa: S311 not a secret
    return [row for group in groups for row in group]


def _unlabelled(row: Row) -> Row:
    return {name: value for name, value in row.items() if name != "label"}


def _write(path: Path, rows: Sequence[Row]) -> None:
    shuffled = random.Random(path.name).sample(rows, len(rows))  # noqa: S311 not a secret
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in shuffled), encoding="utf-8")
    sys.stdout.write(f"{len(shuffled)} records are saved to {path}.\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
