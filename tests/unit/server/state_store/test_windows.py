"""Limits of a minute, a day and a month, and the time until a request fits."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotool_server.state_store.windows import Limits, Spent, Window, decide

NOW = datetime(2026, 12, 31, 23, 59, 15, tzinfo=UTC).timestamp()
"""A quarter into the last minute of a month."""
SPENT = Spent()


def refusal(tokens: int = 1, requests: int | None = None, spent: Spent = SPENT, **limits: Any) -> tuple[str | None, float]:
    by_period: Any = limits
    verdict, _ = decide(Limits(requests, by_period), spent, tokens, NOW)
    return verdict.refused_by, round(verdict.wait, 3)


def test_what_was_used_in_the_minute_before_counts_less_and_less() -> None:
    # A quarter of the minute is over: 75 % of what was used before still counts.
    assert refusal(requests=10, spent=Spent(requests=Window(1, 8))) == (None, 0)
    assert refusal(requests=7, spent=Spent(requests=Window(1, 8))) == ("requests_per_minute", 7.5)
    assert refusal(requests=7, spent=Spent(requests=Window(7, 0)))[1] == pytest.approx(45 + 60 / 7, abs=0.001)
    assert refusal(100, minute=1000, spent=Spent(minute=Window(300, 800), reserved=1)) == ("tokens_per_minute", 0.075)


def test_a_day_and_a_month_end_at_midnight_of_utc() -> None:
    assert refusal(10, day=100, spent=Spent(day=91)) == ("tokens_per_day", 45)
    assert refusal(10, day=100, spent=Spent(day=90)) == (None, 0)
    assert refusal(10, month=100, spent=Spent(month=95)) == ("tokens_per_month", 45)


def test_what_requests_in_flight_may_use_counts_and_may_be_free_soon() -> None:
    assert refusal(10, day=100, spent=Spent(day=50, reserved=41)) == ("tokens_per_day", 5)


def test_what_requests_in_flight_may_use_of_a_minute_is_not_waited_for_as_if_it_was_used() -> None:
    assert refusal(100, minute=1000, spent=Spent(reserved=1000)) == ("tokens_per_minute", 5)
    # What was used has to be waited for longer.
    assert refusal(100, minute=1000, spent=Spent(minute=Window(1000), reserved=9)) == ("tokens_per_minute", 51)


@pytest.mark.parametrize(
    ("limits", "spent", "tokens", "seconds"),
    [
        (Limits(tokens={"day": 100}), Spent(day=10, reserved=90), 95, 0),  # those in flight may use nothing
        (Limits(tokens={"day": 100}), Spent(day=99), 2, 0),  # a smaller request fits
        (Limits(tokens={"day": 100}), Spent(day=100), 2, 45),
        (Limits(tokens={"minute": 50, "month": 100}), Spent(month=90, reserved=50), 20, 0),  # another limit has nothing left
        (Limits(tokens={"minute": 1000}), Spent(minute=Window(1000)), 900, 45.06),  # a smaller one fits earlier
        (Limits(4), Spent(Window(4), reserved=9), 1, 60),
    ],
)
def test_a_refusal_holds_for_every_request_only_where_its_limit_is_used_up(
    limits: Limits, spent: Spent, tokens: int, seconds: float
) -> None:
    verdict, _ = decide(limits, spent, tokens, NOW)
    assert verdict.refused_by is not None
    assert round(verdict.exhausted_for, 3) == seconds


def test_the_limit_with_the_longest_wait_is_named() -> None:
    spent = Spent(requests=Window(9, 0), day=100)
    assert refusal(1, requests=1, day=100, spent=spent)[0] == "requests_per_minute"
    assert refusal(1, requests=9, day=1, spent=Spent(requests=Window(0, 12), day=1))[0] == "tokens_per_day"


def test_a_request_that_fits_is_reserved_and_the_rest_is_told() -> None:
    verdict, spent = decide(Limits(2, {"minute": 100}), Spent(), 30, NOW)
    assert (spent.reserved, spent.requests.current) == (30, 1)
    assert verdict.requests is not None
    assert verdict.tokens is not None
    assert (verdict.requests.limit, verdict.requests.remaining, verdict.requests.reset) == (2, 1, 105)
    assert (verdict.tokens.limit, verdict.tokens.remaining) == (100, 70)
    refused, after = decide(Limits(2, {"minute": 100}), spent, 71, NOW)
    assert (refused.refused_by, after) == ("tokens_per_minute", spent)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 40), st.floats(0, 59.9))
def test_a_request_fits_after_its_wait_and_not_before(current: int, previous: int, most: int, elapsed: float) -> None:
    window = Window(current, previous)
    wait = window.wait(elapsed, most)
    for moment, fits in ((elapsed + wait + 1e-6, True), (elapsed + wait - 1e-3, False)):
        later = window if moment < 60 else Window(0, current) if moment < 120 else Window()
        if fits or wait > 1e-3:
            assert (later.used(moment % 60) <= most + 1e-6) == fits
