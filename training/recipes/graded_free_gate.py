"""Decides on dev whether the arms of graded-free may be run, and exits with 1 if not.

    python training/recipes/graded_free_gate.py start free
    python training/recipes/graded_free_gate.py gate free

`start` judges the checkpoint that RL starts from, and names a remedy for each condition that it does not meet. `gate` judges
whether plain GRPO with seed 0 collapses as the precondition says, so that the world is accepted. Both read what
`graded_free_measure.py dev` has written into FOLDER/sft-0 and FOLDER/grpo-0.
"""

import math
import sys
from dataclasses import dataclass
from pathlib import Path

import graded_free_points as points
from autotool_core.console import plain_console
from autotool_core.errors import AutoToolError
from graded_free_verdicts import collapse, table

SPLIT = "dev"


@dataclass(frozen=True, slots=True)
class Condition:
    """A range, ends included, in which a figure of the start has to be."""

    name: str
    title: str
    low: float
    high: float
    below: str
    """Remedy for a value below the range, and in `above` for one above it."""
    above: str


MORE = "train the base longer: base.scratch.practice.task_steps=3000"
CONDITIONS = (
    Condition(
        "entropy_long",
        "H_long, nats a token",
        0.3,
        0.5,
        "adapt less: sft.learning_rate=2e-4",
        f"the thoughts are not learnt yet; {MORE}",
    ),
    Condition(
        "hard_long",
        "right long answers at hard levels",
        0.5,
        0.9,
        f"{MORE}, and base.scratch.practice.long_every=1",
        "train the base less: base.scratch.practice.task_steps=1400",
    ),
    Condition(
        "hard_short",
        "right short answers at hard levels",
        0.0,
        0.3,
        "",
        "do not practise short answers: base.scratch.practice.long_every=1",
    ),
    Condition("cut_long", "long answers cut at 256 tokens", 0.0, 0.01, "", f"the end is not learnt yet; {MORE}"),
)


def main(what: str, folder: str) -> int:
    """Print the conditions or the verdicts, and return the exit status."""
    lines, passes = {"start": start, "gate": gate}[what](Path(folder))
    for line in lines:
        plain_console().print(line, soft_wrap=True)
    return 0 if passes else 1


def start(folder: Path) -> tuple[list[str], bool]:
    """Return the table of the conditions on the start, and whether all are met. Raises AutoToolError if it is not measured."""
    run = points.read_run(folder / "sft-0", SPLIT)
    if 0 not in run.points:
        raise AutoToolError(f"{folder / 'sft-0'} is not measured on {SPLIT}: run graded_free_measure.py first.")
    rows = [_row(condition, run.start.mean(condition.name)) for condition in CONDITIONS]
    passes = all(row[0] for row in rows)
    head = ["| condition | range | value | outcome | remedy |", "|---|---|---|---|---|"]
    return [*head, *(text for _, text in rows), "", f"The start {'passes' if passes else 'fails'}."], passes


def _row(condition: Condition, value: float) -> tuple[bool, str]:
    passes = condition.low <= value <= condition.high
    remedy = "" if passes else condition.below if value < condition.low else condition.above
    # No answer has ended, so that there is no entropy.
    shown = "none" if math.isnan(value) else f"{value:.3f}"
    cells = condition.title, f"{condition.low:g} to {condition.high:g}", shown, "pass" if passes else "fail", remedy
    return passes, f"| {' | '.join(cells)} |"


def gate(folder: Path) -> tuple[list[str], bool]:
    """Return the table of the precondition for plain GRPO, seed 0, and whether the world is accepted.

    Raises AutoToolError if the run is not complete.
    """
    runs = points.read_runs(folder, SPLIT, [f"{points.PLAIN}-0"], [])
    held = collapse([*runs.values()])
    accepted = held[-1].outcome == "holds"
    says = "The world is accepted: run the other arms." if accepted else "The world is not accepted: no other arm is run."
    return [*table(held), "", says], accepted


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
