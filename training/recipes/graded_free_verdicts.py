"""Decides the hypotheses of docs/experiments/2026-11-29-collapse.md by the rules that the page fixes.

`graded_free_report.py` prints the verdicts on the test split, and `graded_free_gate.py` those of the precondition on dev.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from graded_free_points import BONUS, COUPLED, DOSES, METHOD, PLAIN, SEEDS, SLOW, Gap, Point, Run, arm_of, gap

Outcome = Literal["holds", "fails", "diverged", "more seeds"]
MAX_ENTROPY, MAX_LENGTH = 0.5, 0.7
"""Largest shares of H_long and of the think tokens that a collapse leaves."""
OFF_TARGET, MIN_LENGTH = 0.2, 0.9
"""Largest distance from H_l, as a share, and the smallest share of the think tokens that the constraint leaves."""
MIN_GAIN = 3.0
"""Points of a per cent."""
CAP_STEPS = 10
"""Steps with β_l at its cap that make the cap the cause of a failure."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a hypothesis, with the figures that decide it."""

    hypothesis: str
    outcome: Outcome
    figures: str


def verdicts(runs: Mapping[str, Run]) -> list[Verdict]:
    """Return the verdict on each hypothesis, of complete runs by name (`graded_free_points.read_runs`)."""
    plain, method = ([runs[f"{arm}-{seed}"] for seed in SEEDS] for arm in (PLAIN, METHOD))
    return [
        *collapse(plain),
        kept(method),
        worth(method, plain),
        dose([plain[0], *(runs[f"{arm}-0"] for arm in DOSES)], plain),
        better("5 coupling harms the short mode", method, _arm(runs, COUPLED), "easy_short", plain),
        better("6 length is not it", method, _arm(runs, BONUS), "hard_long", plain),
        better(f"control: plain GRPO at {SLOW.removeprefix('grpo-')}", method, _arm(runs, SLOW), "hard_auto", plain),
    ]


def table(held: Sequence[Verdict]) -> list[str]:
    """Return verdicts as rows of Markdown."""
    rows = [f"| {verdict.hypothesis} | {verdict.outcome} | {verdict.figures} |" for verdict in held]
    return ["| hypothesis | outcome | figures |", "|---|---|---|", *rows]


def collapse(plain: Sequence[Run]) -> list[Verdict]:
    """Return the verdicts on the parts of the precondition, and on all of them together: each has to hold in every run."""
    entropy, length = _shares(plain, "entropy_long"), _shares(plain, "think_tokens")
    gains = [gap([run.end], [run.start], "hard_long") for run in plain]
    parts = [
        _verdict(
            "1a H_long falls",
            plain,
            f"kept {_percent(entropy)}; in the think block {_percent(_shares(plain, 'entropy_think'))}",
            holds=all(share <= MAX_ENTROPY for share in entropy),
        ),
        _verdict(
            "1b thoughts get short",
            plain,
            f"think tokens kept {_percent(length)}",
            holds=all(share <= MAX_LENGTH for share in length),
        ),
        _verdict(
            "1c no gain at hard levels",
            plain,
            f"forced long, end less start: {', '.join(map(str, gains))}",
            holds=all(gain.low <= 0 for gain in gains),
        ),
    ]
    whole = all(part.outcome == "holds" for part in parts)
    return [*parts, _verdict("1 collapse (the precondition)", plain, "1a, 1b and 1c together", holds=whole)]


def kept(method: Sequence[Run]) -> Verdict:
    """Return the verdict on what the constraint keeps: H at its target, and the length, in every run."""
    figures: list[str] = []
    holds = True
    for run in method:
        entropy, target, length = run.tail("entropy/long"), run.targets["long"], run.kept("think_tokens")
        run_holds = abs(entropy - target) <= OFF_TARGET * target and length >= MIN_LENGTH
        holds &= run_holds
        think = f"H of the think block kept {_percent([run.kept('entropy_think')])}"
        figures.append(f"{run.name}: H {entropy:.3f} of H_l {target:.3f}, think tokens kept {_percent([length])}, {think}")
        if not run_holds and run.steps_at_cap() >= CAP_STEPS:
            figures.append(f"cause: β_l at its cap for {run.steps_at_cap()} steps")
    return _verdict("2 the constraint keeps thoughts", method, "; ".join(figures), holds=holds)


def worth(method: Sequence[Run], plain: Sequence[Run]) -> Verdict:
    """Return the verdict on the confirmatory comparison: the method is better than plain GRPO at hard levels.

    Every seed has to agree, and so has forced long, without which the decision alone would be better. The method must be above
    its start and above plain GRPO at half of the steps too, so that it is not merely harmed less.
    """
    ends = [run.end for run in method]
    auto, long = (gap(ends, [run.end for run in plain], name) for name in ("hard_auto", "hard_long"))
    start = gap(ends, [run.start for run in method], "hard_auto")
    middle = gap(ends, [run.middle for run in plain], "hard_auto")
    holds = _is_better(auto) and min(auto.by_seed) > 0 and long.low > 0 and start.value > 0 and middle.value > 0
    figures = f"in auto {auto}; forced long {long}; less the start {start}; less plain GRPO at half of the steps {middle}"
    return _verdict("3 thoughts are worth it", [*method, *plain], figures, holds=holds)


def dose(doses: Sequence[Run], plain: Sequence[Run]) -> Verdict:
    """Return the verdict on rising H and lengths with rising doses, the first of which is none.

    A dose may be below the one before it by as much as the seeds of plain GRPO differ, and the last one has to be above the
    first by more. Diverged doses are named and left out.
    """
    sound = [run for run in doses if not run.has_diverged]
    figures = [f"{run.name} diverged" for run in doses if run.has_diverged]
    if sound[:1] != doses[:1] or len(sound) <= 1:
        return Verdict("4 dose", "diverged", "; ".join(figures))
    holds = True
    for name in ("entropy_long", "think_tokens"):
        values, noise = [run.end.mean(name) for run in sound], _spread([run.end for run in plain], name)
        rises = all(after >= before - noise for before, after in pairwise(values))
        holds &= rises and values[-1] - values[0] > noise
        figures.append(f"{name} {', '.join(f'{value:.3g}' for value in values)} (seeds differ by {noise:.2g})")
    think = ", ".join(f"{run.end.mean('entropy_think'):.3g}" for run in sound)
    return Verdict("4 dose", "holds" if holds else "fails", "; ".join([*figures, f"entropy_think {think}"]))


def better(title: str, method: Sequence[Run], other: Sequence[Run], name: str, plain: Sequence[Run]) -> Verdict:
    """Return the verdict on the method being better than an arm in a figure, over the seeds of that arm.

    One seed decides only if the difference is farther from the threshold than the seeds of plain GRPO differ.
    """
    method = method[: len(other)]
    found = gap([run.end for run in method], [run.end for run in other], name)
    noise = 100 * _spread([run.end for run in plain], name)
    figures = f"{METHOD} less {arm_of(other[0].name)}, {name}: {found}; seeds differ by {noise:.1f}"
    if name == "easy_short":
        figures += "; last steps of the coupled arm: " + ", ".join(
            f"β {run.tail('beta_long'):.3g} at a thinking rate of {run.tail('thinking_rate'):.2f}" for run in other
        )
    verdict = _verdict(title, [*method, *other], figures, holds=_is_better(found))
    if verdict.outcome != "diverged" and len(other) == 1 and abs(found.value - MIN_GAIN) < noise:
        return Verdict(title, "more seeds", figures)
    return verdict


def _verdict(title: str, runs: Sequence[Run], figures: str, *, holds: bool) -> Verdict:
    if diverged := [run.name for run in runs if run.has_diverged]:
        return Verdict(title, "diverged", f"{', '.join(diverged)} diverged; {figures}")
    return Verdict(title, "holds" if holds else "fails", figures)


def _arm(runs: Mapping[str, Run], arm: str) -> list[Run]:
    """Return the runs of an arm: of the seed 0, or of all seeds if all are there."""
    found = [runs[f"{arm}-{seed}"] for seed in SEEDS if f"{arm}-{seed}" in runs]
    return found if len(found) == len(SEEDS) else found[:1]


def _is_better(found: Gap) -> bool:
    return found.value >= MIN_GAIN and found.low > 0


def _spread(points: Sequence[Point], name: str) -> float:
    values = [point.mean(name) for point in points]
    return max(values) - min(values)


def _shares(runs: Sequence[Run], name: str) -> list[float]:
    return [run.kept(name) for run in runs]


def _percent(shares: Sequence[float]) -> str:
    return f"{', '.join(f'{100 * share:.0f}' for share in shares)} %"
