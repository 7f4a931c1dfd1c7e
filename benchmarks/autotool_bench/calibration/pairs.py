"""What a run in both forced modes and in `auto` says of each task: p_long, and what either mode makes of it.

A bias changes nothing but the mode that a task is answered in, and at temperature 0 the answer in `auto` is that of its mode.
So the answers at every bias are known from those of the forced modes, and the dial at any biases is derived from them.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autotool_bench import manifest, rows
from autotool_bench.report.columns import Bools, Floats
from autotool_core import jsonl
from autotool_core.errors import AutoToolError

SHORT, AUTO, LONG = MODES = ("short", "auto@0", "long")
"""The modes of the run. A request with a bias of its own, 0 here, has none of a target."""
MAX_LOG_ODDS = 50.0
"""What certain decisions count as: their probability is 0 or 1 in a float."""
PARTS = 16
"""Biases that divide the tasks into as many parts, but for those of equal p_long."""


@dataclass(frozen=True, slots=True)
class Task:
    """One task that was answered in all modes."""

    log_odds: float
    """Log-odds of p_long, to which the bias is added."""
    decided: str
    """The mode that `auto` resolved to without a bias of the request."""
    rows: Mapping[str, Mapping[str, Any]]
    """Its rows by mode."""

    def at(self, bias: float) -> str:
        """Return the forced mode that `auto` takes at a bias, greedily."""
        return LONG if self.log_odds + bias > 0 else SHORT


@dataclass(frozen=True, slots=True)
class Pairs:
    """The tasks of a run, and how many were left out because an attempt ended in an error."""

    tasks: Sequence[Task]
    left_out: int

    @property
    def log_odds(self) -> Floats:
        """Log-odds of p_long, (tasks,)."""
        return np.array([task.log_odds for task in self.tasks])

    @property
    def needs_long(self) -> Bools:
        """Whether long is right where short is not, (tasks,)."""
        return np.array([_solved(task, LONG) and not _solved(task, SHORT) for task in self.tasks], dtype=bool)

    def outcomes(self, bias: float) -> Floats:
        """Return solved, generated tokens and whether long, of each task at a bias: (tasks, 3)."""
        taken = [(task, task.at(bias)) for task in self.tasks]
        return np.array([(_solved(task, mode), _tokens(task, mode) + 1, mode == LONG) for task, mode in taken], dtype=float)

    def biases(self) -> list[float]:
        """Return biases from one at which all tasks are short to one at which all are long, and 0 among them."""
        known = np.unique(self.log_odds)
        places = {round(part * len(known) / PARTS) for part in range(1, PARTS)} - {0, len(known)}
        # Between two tasks, so that none is even and decided by the last digit of its p_long.
        cuts = [known[0] - 1, *((known[place - 1] + known[place]) / 2 for place in places), known[-1] + 1]
        return sorted({0.0, *(round(float(-cut), 3) for cut in cuts)})


def _solved(task: Task, mode: str) -> bool:
    return task.rows[mode]["score"] >= 1


def _tokens(task: Task, mode: str) -> int:
    return sum(turn["generated_tokens"] for turn in task.rows[mode]["turns"])


def read_pairs(folder: Path, decision_bias: float) -> Pairs:
    """Return the tasks of a run. `decision_bias`: that of the server's profile, which its decisions already have.

    Raises AutoToolError if no task was answered in all modes, if the server reports no p_long, or if it has decided otherwise
    than by p_long and `decision_bias`.
    """
    by_id: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in rows.read(folder):
        by_id.setdefault(row["id"], {})[row["mode"]] = row
    whole = [
        modes for modes in by_id.values() if set(MODES) <= modes.keys() and not any(modes[name]["error"] for name in MODES)
    ]
    if not whole:
        raise AutoToolError(
            f"{folder}: no task was answered in all of {', '.join(MODES)}: read the errors in rows.jsonl there."
        )
    tasks = [_task(modes, decision_bias) for modes in whole]
    _reject_other_decisions(tasks)
    return Pairs(tasks, len(by_id) - len(whole))


def _task(modes: Mapping[str, Mapping[str, Any]], decision_bias: float) -> Task:
    turn = modes[AUTO]["turns"][0]
    p_long = turn["p_long"]
    if p_long is None:
        raise AutoToolError("The server reports no p_long in auto: calibrate an AutoTool server whose model can do auto.")
    log_odds = math.log(p_long / (1 - p_long)) if 0 < p_long < 1 else math.copysign(MAX_LOG_ODDS, p_long - 0.5)
    return Task(log_odds + decision_bias, turn["resolved"], modes)


def _reject_other_decisions(tasks: Sequence[Task]) -> None:
    # One that is nearly even may be decided by the last digit of p_long.
    other = [task for task in tasks if task.decided != task.at(0.0) and abs(task.log_odds) > 1e-6]
    if other:
        raise AutoToolError(
            f"The server has decided {len(other)} of {len(tasks)} tasks otherwise than by p_long and the decision_bias of the "
            "profile. Name the profile that it was started with by --profile."
        )


def write_dial_run(pairs: Pairs, run: Path, folder: Path) -> None:
    """Write the run that `autotool bench dial` would have made at `Pairs.biases`, as far as the report reads it.

    `run`: the folder of the run in the three modes.
    """
    modes = [SHORT, *(f"auto@{bias:g}" for bias in pairs.biases()), LONG]
    about = {**(manifest.read_manifest(run) or {}), "modes": modes, "items": len(pairs.tasks)}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / manifest.FILE).write_text(json.dumps(about, indent=1), encoding="utf-8")
    with jsonl.atomic_write(folder / rows.FILE) as part, jsonl.Appender(part) as lines:
        for row in _dial_rows(pairs, modes):
            lines.write(row)


def _dial_rows(pairs: Pairs, modes: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    for task in pairs.tasks:
        for mode in modes:
            bias = mode.partition("@")[2]
            yield _decided(task, mode, float(bias)) if bias else task.rows[mode]


def _decided(task: Task, mode: str, bias: float) -> Mapping[str, Any]:
    """Return the row of a task in `auto` at a bias: that of the forced mode, with p_long and the token of the decision."""
    row, p_long = task.rows[task.at(bias)], task.rows[AUTO]["turns"][0]["p_long"]
    first, *others = row["turns"]
    decided = {**first, "p_long": p_long, "generated_tokens": first["generated_tokens"] + 1}
    return {**row, "mode": mode, "turns": [decided, *others]}
