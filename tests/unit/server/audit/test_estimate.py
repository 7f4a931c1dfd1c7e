"""The estimate of what `auto` saves: against what is true of all requests, and at its edges."""

import csv
import json
import random
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.examples import blocks

from autotool_core.modes import ResolvedMode
from autotool_server.api.ops.savings import Figures
from autotool_server.audit.estimate import Comparison, Estimate, savings
from autotool_server.audit.records import Pair

RECORDED = Path(__file__).with_name("recorded.csv")
"""600 tasks of `graded`, each answered by `graded-tiny` in the three modes at temperature 0: the mode that `auto` resolved to,
and the decoded tokens of each mode and whether it solved the task. The answers in auto are those of the mode, and one token."""
GUIDE = Path(__file__).parents[4] / "docs/guides/savings.md"
REQUESTS = 20_000
SHARE = 0.01
SEEDS = range(20)


def pair(is_long: bool, long: tuple[int, bool], short: tuple[int, bool]) -> Pair:
    mode = ResolvedMode.LONG if is_long else ResolvedMode.SHORT
    own, other = (long, short) if is_long else (short, long)
    return Pair(mode, own[0], own[1], other[0], other[1], "feedback")


def recorded() -> list[Pair]:
    with RECORDED.open() as lines:
        rows = [{name: int(value) for name, value in row.items()} for row in csv.DictReader(lines)]
    return [
        pair(
            bool(row["long"]),
            (row["long_tokens"], bool(row["long_solved"])),
            (row["short_tokens"], bool(row["short_solved"])),
        )
        for row in rows
    ]


def of_all(pairs: Sequence[Pair], mode: ResolvedMode) -> tuple[float, float]:
    """Return the true saving in per cent and the points lost, of requests that were all answered in both modes."""
    auto = sum(one.tokens + 1 for one in pairs)
    fixed = sum(one.tokens if one.resolved is mode else one.other_tokens for one in pairs)
    solved = sum(one.solved if one.resolved is mode else one.other_solved for one in pairs)
    return 100 * (1 - auto / fixed), 100 * (solved - sum(one.solved for one in pairs)) / len(pairs)


def covers(found: Comparison, truth: tuple[float, float]) -> tuple[bool, bool]:
    estimates = found.tokens_saved, found.points_lost
    saved, lost = (estimate.low <= true <= estimate.high for estimate, true in zip(estimates, truth, strict=True))
    return saved, lost


def test_the_interval_has_the_true_saving_in_19_of_20_seeds() -> None:
    tasks = recorded()
    covered = {mode: list[tuple[bool, bool]]() for mode in ResolvedMode}
    for seed in SEEDS:
        rng = random.Random(seed)  # noqa: S311 a sample, not a secret
        requests = rng.choices(tasks, k=REQUESTS)
        found = savings([one for one in requests if rng.random() < SHARE])
        assert found is not None
        assert 100 < found.requests < 300
        for mode, comparison in ((ResolvedMode.LONG, found.against_long), (ResolvedMode.SHORT, found.against_short)):
            covered[mode].append(covers(comparison, of_all(requests, mode)))
    for mode in ResolvedMode:
        saved, lost = (sum(kind) for kind in zip(*covered[mode], strict=True))
        assert (saved >= 19, lost >= 19) == (True, True), (mode, saved, lost)


def half_width(estimates: Sequence[Estimate]) -> str:
    """Return the mean half of the intervals' widths, as the guide writes it."""
    return f"{sum(one.high - one.low for one in estimates) / 2 / len(estimates):.1f}"


def test_the_guides_table_has_the_half_widths_of_simulated_audits() -> None:
    rows = re.findall(r"^\| ([\d,]+) \| ([\d.]+) \| ([\d.]+) \|$", GUIDE.read_text(), re.MULTILINE)
    assert [row[0] for row in rows] == ["200", "1,000", "4,000"]
    for audits, saved, lost in rows:
        size = int(audits.replace(",", ""))
        found = [savings(random.Random(seed).choices(recorded(), k=size)) for seed in range(5)]  # noqa: S311 a sample
        long = [one.against_long for one in found if one is not None]
        widths = half_width([one.tokens_saved for one in long]), half_width([one.points_lost for one in long])
        assert widths == (saved, lost)


def test_the_guides_answer_is_that_of_simulated_audits() -> None:
    (shown,) = (json.loads(block.text) for block in blocks(GUIDE) if block.language == "json")
    rng = random.Random(0)  # noqa: S311 a sample, not a secret
    found = savings([one for one in rng.choices(recorded(), k=40_000) if rng.random() < shown["share"]])
    assert found is not None
    figures = Figures.model_validate(shown["total"])
    assert (figures.requests, figures.settled_by, figures.summary) == (found.requests, found.settled_by, str(found))
    for stated, computed in ((figures.against_long, found.against_long), (figures.against_short, found.against_short)):
        for kind in ("tokens_saved", "points_lost"):
            bounds = [(one.value, one.low, one.high) for one in (getattr(stated, kind), getattr(computed, kind))]
            assert bounds[0] == pytest.approx(bounds[1], abs=0.05)


def test_what_is_saved_and_lost() -> None:
    pairs = [pair(False, (100, True), (19, True)), pair(False, (100, True), (29, False)), pair(True, (99, True), (19, False))]
    found = savings(pairs)
    assert found is not None
    assert found.requests == 3
    assert found.against_long.tokens_saved.value == pytest.approx(100 * (1 - 150 / 299))
    assert found.against_long.points_lost.value == pytest.approx(100 / 3)
    assert found.against_short.tokens_saved.value == pytest.approx(100 * (1 - 150 / 67))
    assert found.against_short.points_lost.value == pytest.approx(-100 / 3)
    assert str(found).startswith("auto saved 49.8 ± ")
    for comparison in (found.against_long, found.against_short):
        for estimate in (comparison.tokens_saved, comparison.points_lost):
            assert estimate.low <= estimate.value <= estimate.high


def test_nothing_is_known() -> None:
    assert savings([]) is None


def test_answers_without_a_token() -> None:
    found = savings([pair(True, (0, True), (0, True))])
    assert found is not None
    assert found.against_long.tokens_saved.value == 0
