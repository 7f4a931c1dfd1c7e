"""Which runs can be put side by side, and what they measured: the titles of a report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from autotool_bench.report import text
from autotool_bench.report.summary import RunReport

LIMITS = {"max_completion_tokens": "tokens per answer", "max_reasoning_tokens": "reasoning tokens"}


@dataclass(frozen=True, slots=True)
class Group:
    """Runs of the same items of a suite. Figures of other items say nothing about which run is better."""

    runs: tuple[RunReport, ...]

    @property
    def suite(self) -> str:
        return suite_of(self.runs[0])

    @property
    def items(self) -> int:
        return self.runs[0].items

    @property
    def title(self) -> str:
        """What was measured, such as "graded: 90 items of 6 categories"."""
        categories = len(self.runs[0].categories)
        items = text.counted(self.items, "item")
        return f"{self.suite}: {items}" + (f" of {categories} categories" if categories > 1 else "")


def group_runs(runs: Sequence[RunReport]) -> list[Group]:
    """Return the runs by suite and items, in the order of each group's first run."""
    groups: dict[tuple[str, str], list[RunReport]] = {}
    for run in runs:
        groups.setdefault((suite_of(run), run.item_set), []).append(run)
    return [Group(tuple(members)) for members in groups.values()]


def suite_of(run: RunReport) -> str:
    """Return the name of the suite."""
    return str(run.about.get("suite") or "unnamed suite")


def model_of(run: RunReport) -> str:
    """Return the model's name; of a local folder its own name, since a path says little in a title."""
    model = str(run.about.get("model") or "unknown model")
    return text.short(PurePath(model).name if model.startswith(("/", ".", "~")) else model)


def date_of(run: RunReport) -> str:
    """Return the day on which the run was started, in UTC."""
    return str(run.about.get("started") or "")[:10] or "unknown date"


def measured(run: RunReport) -> Mapping[str, str]:
    """Return what a run measured, by the names of the settings that a reader needs to judge its figures."""
    request = run.about.get("request") or {}
    limits = {title: request[name] for name, title in LIMITS.items() if name in request}
    return {
        "suite": suite_of(run),
        "model": model_of(run),
        "items": f"{run.items:,}{_sampled(run)}",
        "modes": ", ".join(mode.mode for mode in run.modes),
        "started": date_of(run),
        **{title: f"at most {value}" for title, value in limits.items()},
    }


def _sampled(run: RunReport) -> str:
    limit, seed = run.about.get("limit"), run.about.get("seed")
    return "" if limit is None else f" (at most {limit} per category, seed {seed})"


def page_title(groups: Sequence[Group]) -> str:
    """Return the title of a report: suite, items and model where there is one of each."""
    models = {model_of(run): None for group in groups for run in group.runs}
    what = groups[0].title if len(groups) == 1 else " and ".join({group.suite: None for group in groups})
    return f"{what}, {next(iter(models))}" if len(models) == 1 else f"{what}, {len(models)} models"
