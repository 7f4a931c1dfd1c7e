"""A report as data, which the terminal, report.json and report.html show."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autotool_bench.report import official
from autotool_bench.report.columns import Items, StoredRun, read_run
from autotool_bench.report.metrics import Figures, figures_of
from autotool_bench.report.oracle import Regret, Reliability, regrets, reliability
from autotool_core.answer_reserve import answer_reserve
from autotool_core.intervals import RESAMPLES, SEED

SHOWN_ERRORS = 5
METHOD = (
    "Accuracy is solved items over all items; errors and unanswered items count as unsolved. Intervals: "
    f"95 % percentile bootstrap over items, {RESAMPLES} resamples stratified by category, seed {SEED}; where all "
    "or none are solved, Wilson's. A null bound of a token cost is infinite: some resamples solve no task."
)


@dataclass(frozen=True, slots=True)
class ErrorCount:
    """An error message, and the number of items that ended with it."""

    message: str
    items: int


@dataclass(frozen=True, slots=True)
class ModeReport:
    """The report of a mode of a run."""

    mode: str
    figures: Figures
    categories: Mapping[str, Figures]
    regret: Regret | None
    official: Mapping[str, Any] | None
    errors: tuple[ErrorCount, ...]
    """The most frequent errors."""
    untried: int
    """Items of the run that have no row in this mode."""
    warning: str | None
    """A sentence on thoughts that were cut; None where none was."""


@dataclass(frozen=True, slots=True)
class RunReport:
    """The report of a run."""

    folder: str
    label: str
    about: Mapping[str, Any]
    """The content of `run.json`."""
    items: int
    item_set: str
    """Digest of the items' ids, which two runs have in common only if they are of the same items."""
    modes: tuple[ModeReport, ...]
    categories: tuple[str, ...]
    reliability: Reliability | None

    def mode(self, name: str) -> ModeReport | None:
        """Return the report of a mode, or None if the run has no such mode."""
        return next((report for report in self.modes if report.mode == name), None)


def report_runs(folders: Sequence[Path]) -> tuple[RunReport, ...]:
    """Read and report several runs. Raises AutoToolError for a folder that holds no usable run."""
    reports: list[RunReport] = []
    for folder in folders:
        run = read_run(folder)
        label = _distinct(run.label, [report.label for report in reports])
        reports.append(report_run(run, label))
    return tuple(reports)


def _distinct(label: str, taken: Sequence[str]) -> str:
    names = [label, *(f"{label} #{number}" for number in range(2, len(taken) + 2))]
    return next(name for name in names if name not in taken)


def report_run(run: StoredRun, label: str) -> RunReport:
    """Return all figures of a run. Raises AutoToolError if its official figures differ from those of its rows."""
    by_mode = regrets(run.items)
    modes = tuple(_report_mode(run, mode, by_mode.get(mode)) for mode in run.items.modes)
    ids = run.items.ids
    return RunReport(
        folder=str(run.folder),
        label=label,
        about=run.about,
        items=len(ids),
        item_set=hashlib.sha256(json.dumps(sorted(ids)).encode()).hexdigest()[:16],
        modes=modes,
        categories=run.items.categories,
        reliability=reliability(run.items),
    )


def _report_mode(run: StoredRun, mode: str, regret: Regret | None) -> ModeReport:
    figures, categories = figures_of(run.items, mode, run.about.get("parameters"))
    official_figures = official.checked_figures(run, mode, categories)
    planned = run.about.get("items", len(run.items.ids))
    return ModeReport(
        mode,
        figures,
        categories,
        regret,
        official_figures,
        _errors(run.items, mode),
        untried=planned - figures.items,
        warning=_cut_thoughts(figures, run.about.get("request") or {}),
    )


def _cut_thoughts(figures: Figures, request: Mapping[str, Any]) -> str | None:
    """Return the warning that limits of tokens, and not the model, ended thoughts."""
    if not figures.cut_thoughts:
        return None
    option = "--max-reasoning-tokens" if _has_own_limit(figures.cut_limit, request) else "--max-tokens"
    return f"{figures.cut_thoughts} of {figures.thoughts} thoughts were cut: raise {option}."


def _has_own_limit(limit: int | None, request: Mapping[str, Any]) -> bool:
    """Return whether thoughts had a limit of their own: the run's, or one of the server below what --max-tokens leaves them."""
    whole = request.get("max_completion_tokens")
    if request.get("max_reasoning_tokens") is not None or limit is None or whole is None:
        return request.get("max_reasoning_tokens") is not None
    whole -= 1  # the decision token
    return limit < whole - answer_reserve(whole)


def _errors(items: Items, mode: str) -> tuple[ErrorCount, ...]:
    codes = items.codes("message")[items.rows_of(mode)]
    counts = Counter(int(code) for code in codes if code >= 0)
    return tuple(ErrorCount(items.messages[code], count) for code, count in counts.most_common(SHOWN_ERRORS))


def report_json(runs: Sequence[RunReport]) -> dict[str, Any]:
    """Return the content of report.json: the dataclasses, with null for an infinite number."""
    return {"method": METHOD, "runs": [finite(asdict(run)) for run in runs]}


def finite(value: Any) -> Any:
    """Replace numbers that are not finite by None, since JSON has no infinity."""
    if isinstance(value, dict):
        return {key: finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
