from pathlib import Path

import pytest
from support.bench_runs import row, turn

from autotool_bench.report.columns import Items, collect
from autotool_bench.report.oracle import Regret, regrets, reliability


def attempt(item: str, mode: str, tokens: int, *, solved: bool, p_long: float | None = None) -> dict:
    return row(item, mode, solved=solved, turns=[turn(tokens, p_long=p_long)])


def of(rows: list[dict]) -> Items:
    return collect(rows, Path("run"))


def test_the_oracle_takes_the_solved_attempt_then_the_one_of_fewer_tokens() -> None:
    rows = [
        *(attempt("a", "long", 100, solved=True), attempt("a", "short", 10, solved=True)),  # short: cheaper
        *(attempt("b", "long", 100, solved=True), attempt("b", "short", 10, solved=False)),  # long: solves
        *(attempt("c", "long", 40, solved=False), attempt("c", "short", 50, solved=False)),  # long: cheaper
        *(attempt("d", "long", 90, solved=False), attempt("d", "short", 20, solved=True)),  # short: solves
    ]
    by_mode = regrets(of(rows))
    oracle_tokens = 10 + 100 + 40 + 20
    assert by_mode["long"] == Regret(4, 0.5, 0.75, 0.25, 330 / oracle_tokens)
    assert by_mode["short"] == Regret(4, 0.5, 0.75, 0.25, 90 / oracle_tokens)


def test_regret_is_over_the_items_that_all_three_attempted() -> None:
    rows = [
        *(
            attempt("a", "long", 100, solved=False),
            attempt("a", "short", 10, solved=False),
            attempt("a", "auto", 20, solved=True),
        ),
        *(attempt("b", "long", 100, solved=True), attempt("b", "auto", 20, solved=False)),
        *(attempt("c", "long", 60, solved=True), attempt("c", "short", 10, solved=False)),
    ]
    by_mode = regrets(of(rows))
    assert by_mode["auto"] == Regret(1, 1.0, 0.0, -1.0, 2.0)  # solves what neither forced mode does
    assert by_mode["long"].items == 2


def test_the_oracle_ignores_items_that_a_forced_mode_did_not_answer() -> None:
    rows = [
        *(attempt("a", "long", 100, solved=True), attempt("a", "short", 10, solved=False)),
        *({**attempt("b", "long", 0, solved=False), "error": "time-out"}, attempt("b", "short", 10, solved=False)),
    ]
    assert regrets(of(rows))["short"] == Regret(1, 0.0, 1.0, 1.0, 0.1)


def test_without_both_forced_modes_there_is_no_oracle() -> None:
    assert regrets(of([attempt("a", "long", 1, solved=True), attempt("a", "auto", 1, solved=True)])) == {}


def three(item: str, p_long: float | None, *, long: bool, short: bool) -> list[dict]:
    auto = attempt(item, "auto", 1, solved=True, p_long=p_long)
    return [attempt(item, "long", 1, solved=long), attempt(item, "short", 1, solved=short), auto]


def test_reliability_is_over_the_items_that_exactly_one_forced_mode_solves() -> None:
    rows = [
        *three("a", 0.05, long=False, short=True),
        *three("b", 0.07, long=True, short=False),
        *three("c", 1.0, long=True, short=False),
        *three("d", 0.5, long=True, short=True),
        *three("e", 0.5, long=False, short=False),
        *three("f", None, long=True, short=False),
    ]
    curve = reliability(of(rows))
    assert curve is not None
    assert curve.items == 3
    assert [(part.low, part.high, part.items, part.long_share) for part in curve.bins] == [
        (0.0, 0.1, 2, 0.5),
        (0.9, 1.0, 1, 1.0),
    ]
    assert curve.bins[0].p_long == pytest.approx(0.06)
    assert curve.bins[0].interval.low < 0.5 < curve.bins[0].interval.high
    # 2/3 · |0.06 - 0.5| + 1/3 · |1 - 1|
    assert curve.calibration_error == pytest.approx(2 / 3 * 0.44)


def test_without_a_suitable_item_there_is_no_curve() -> None:
    assert reliability(of(three("a", 0.5, long=True, short=True))) is None
    assert reliability(of([attempt("a", "auto", 1, solved=True, p_long=0.5)])) is None


def test_p_long_is_that_of_the_first_turn_and_of_any_bias() -> None:
    turns = [turn(1, p_long=0.95), turn(1, p_long=0.1)]
    rows = [row("a", "auto@-2", turns=turns), attempt("a", "long", 1, solved=True), attempt("a", "short", 1, solved=False)]
    curve = reliability(of(rows))
    assert curve is not None
    assert (curve.mode, curve.bins[0].p_long) == ("auto@-2", 0.95)
