"""The official scorer's figures of a run, checked against the run's rows."""

from collections.abc import Mapping
from typing import Any

from autotool_bench.report.columns import StoredRun
from autotool_bench.report.metrics import Figures
from autotool_core.errors import AutoToolError

FIGURES = {"overall": "Overall", "non_live": "Non-Live", "live": "Live", "multi_turn": "Multi-Turn"}


def checked_figures(run: StoredRun, mode: str, categories: Mapping[str, Figures]) -> Mapping[str, Any] | None:
    """Return a mode's official figures, or None. Raises AutoToolError if they differ from those of the rows."""
    official = run.official.get(mode)
    if official is None:
        return None
    for name, figures in categories.items():
        scored = official["categories"].get(name)
        if scored is None or _differs(scored, figures):
            raise AutoToolError(
                f"{run.folder}: official.json has {_describe(scored)} for the category {name!r} in the mode {mode!r}, the rows "
                f"have {figures.solved} of {figures.items} solved: run the benchmark into that folder again."
            )
    return official


def _differs(scored: Mapping[str, Any], figures: Figures) -> bool:
    return scored["count"] != figures.items or abs(scored["accuracy"] * scored["count"] - figures.solved) >= 0.5


def _describe(scored: Mapping[str, Any] | None) -> str:
    return "no figures" if scored is None else f"{scored['accuracy']:.2%} of {scored['count']} solved"
