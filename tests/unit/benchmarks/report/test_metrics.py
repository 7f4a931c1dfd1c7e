import math
from pathlib import Path

import pytest
from support.bench_runs import row, turn

from autotool_bench.report.columns import collect
from autotool_bench.report.metrics import Figures, acu, figures_of, pareto
from autotool_core.intervals import wilson


def figures(rows: list[dict], mode: str = "auto", parameters: float | None = None) -> Figures:
    return figures_of(collect(rows, Path("run")), mode, parameters)[0]


def test_errors_count_as_unsolved_and_their_tokens_as_spent() -> None:
    rows = [
        row("a", "auto", turns=[turn(10)]),
        row("b", "auto", turns=[turn(20)], solved=False),
        row("c", "auto", turns=[turn(30)], error="the second turn timed out", solved=False),
        row("d", "auto", turns=[], error="refused", solved=False),
    ]
    computed = figures(rows)
    assert (computed.items, computed.solved, computed.errors, computed.served) == (4, 1, 2, 3)
    assert computed.accuracy == 0.25
    assert computed.token_cost == 60
    assert computed.generated_tokens == 20  # of the three served items


def test_a_number_that_the_server_does_not_report_is_none_and_never_0() -> None:
    computed = figures([row("a", "auto", turns=[turn(10, resolved=None)])])
    assert (computed.reasoning_tokens, computed.content_tokens, computed.cached_tokens) == (None, None, None)
    assert computed.thinking_rate is None
    assert computed.prompt_tokens == 100
    known = figures([row("a", "auto", turns=[turn(10, reasoning_tokens=0, cached_tokens=0)])])
    assert (known.reasoning_tokens, known.cached_tokens) == (0, 0)


def test_a_run_that_serves_nothing_has_no_means() -> None:
    computed = figures([row("a", "auto", turns=[], error="refused", solved=False)])
    assert (computed.generated_tokens, computed.generated_interval, computed.latency) == (None, None, None)
    assert computed.token_cost == math.inf


def test_without_a_solved_task_the_cost_is_infinite() -> None:
    computed = figures([row("a", "auto", solved=False), row("b", "auto", solved=False)])
    assert computed.token_cost == math.inf
    assert computed.token_cost_interval.high == math.inf
    assert computed.accuracy_interval == wilson(0, 2)


def test_thinking_rate_is_the_share_of_turns() -> None:
    rows = [row("a", "auto", turns=[turn(), turn(resolved="short"), turn(resolved="short")]), row("b", "auto", turns=[turn()])]
    assert figures(rows).thinking_rate == 0.5


def test_latency_is_the_sum_of_an_items_turns() -> None:
    rows = [row(str(index), "auto", turns=[turn(latency=index), turn(latency=0.5)]) for index in range(101)]
    latency = figures(rows).latency
    assert latency is not None
    assert (latency.p50, latency.p90, latency.p99) == pytest.approx((50.5, 90.5, 99.5))


def test_the_bootstrap_is_stratified_by_category() -> None:
    # Each category is all or nothing, so that only resampling across categories could move the accuracy.
    rows = [row(str(index), "auto", category="easy" if index % 2 else "hard", solved=bool(index % 2)) for index in range(20)]
    computed, categories = figures_of(collect(rows, Path("run")), "auto", None)
    assert computed.accuracy_interval == wilson(10, 20)
    assert {name: (category.items, category.accuracy) for name, category in categories.items()} == {
        "hard": (10, 0.0),
        "easy": (10, 1.0),
    }


def test_intervals_hold_the_figures_and_narrow_with_items() -> None:
    def of(n: int) -> Figures:
        return figures([row(str(index), "auto", solved=index % 3 > 0, turns=[turn(10 + index % 7)]) for index in range(n)])

    few, many = of(30), of(3000)
    for computed in (few, many):
        assert computed.accuracy_interval.low < computed.accuracy < computed.accuracy_interval.high
        assert computed.generated_interval is not None
        assert computed.generated_interval.low < (computed.generated_tokens or 0) < computed.generated_interval.high
        assert computed.token_cost_interval.low < computed.token_cost < computed.token_cost_interval.high
    assert many.accuracy_interval.high - many.accuracy_interval.low == pytest.approx(
        2 * 1.96 * math.sqrt(2 / 9 / 3000), rel=0.1
    )
    assert few.accuracy_interval.high - few.accuracy_interval.low > 0.2


@pytest.mark.parametrize(
    ("accuracy", "billions", "tokens", "published"),
    [(0.951, 32, 741.1, 0.40), (0.926, 70, 235.4, 0.56), (0.949, 32, 225.5, 1.32)],
)
def test_acu_has_the_unit_of_the_published_tables(accuracy: float, billions: float, tokens: float, published: float) -> None:
    assert acu(accuracy, billions * 1e9, tokens) == pytest.approx(published, abs=0.005)


def test_acu_needs_to_know_the_parameters() -> None:
    assert acu(0.5, None, 100) is None
    assert figures([row("a", "auto", turns=[turn(10)])], parameters=2e9).acu == pytest.approx(100 * 100 / (2 * 10))


def test_the_pareto_frontier_leaves_out_what_another_point_beats() -> None:
    points = [(100.0, 50.0), (50.0, 40.0), (80.0, 40.0), (120.0, 50.0), (200.0, 70.0), (50.0, 30.0)]
    assert pareto(points) == [1, 0, 4]
