"""The official scorer's figures, which are a run's own wherever there are any."""

from collections.abc import Mapping
from typing import Any

from autotool_bench.report.columns import StoredRun
from autotool_bench.report.metrics import Figures
from autotool_core.errors import AutoToolError

FIGURES = {"overall": "Overall", "non_live": "Non-Live", "live": "Live", "multi_turn": "Multi-Turn"}


def check(run: StoredRun, mode: str, categories: Mapping[str, Figures]) -> Mapping[str, Any] | None:
    """A mode's official figures, None where there are none. Raises AutoToolError where they are not those of the rows."""
    official = run.official.get(mode)
    if official is None:
        return None
    for name, figures in categories.items():
        told = official["categories"].get(name)
        if told is None or told["count"] != figures.items or abs(told["accuracy"] * told["count"] - figures.solved) >= 0.5:
            raise AutoToolError(
                f"{run.folder}: official.json says {_said(told)} of the category {name!r} in the mode {mode!r}, the rows say "
                f"{figures.solved} of {figures.items} solved: run the benchmark into the same folder again to score it anew."
            )
    return official


def _said(told: Mapping[str, Any] | None) -> str:
    return "nothing" if told is None else f"{told['accuracy']:.2%} of {told['count']} solved"
