"""A controller on made-up traffic: how close it holds a target, how soon after a change, and that it keeps its bounds."""

import itertools
import math
import random
from collections import deque
from collections.abc import Iterator, Sequence

import pytest

from autotool_core.target import Target
from autotool_server.targets.controller import GAIN, MAX_STEP, Controller, Decided

BOUNDS = (-8.0, 8.0)
EASY, HARD = (-4.0, 1.5), (2.0, 1.5)
"""Mean and standard deviation of the log-odds of requests."""


def traffic(mix: Sequence[tuple[float, float]], count: int, seed: int) -> Iterator[float]:
    rng = random.Random(seed)  # noqa: S311 not a secret
    for _ in range(count):
        yield rng.gauss(*rng.choice(mix))


def run(
    controller: Controller, log_odds: Iterator[float], *, temperature: float = 1.0, in_flight: int = 1, seed: int = 0
) -> list[bool]:
    """Return whether each request thought. So many are decided with the bias that held before any of them had its decision."""
    rng = random.Random(seed)  # noqa: S311 not a secret
    thought: list[bool] = []
    waiting = deque[tuple[float, float]]()
    for odds in log_odds:
        waiting.append((odds, controller.bias))
        if len(waiting) < in_flight:
            continue
        first, bias = waiting.popleft()
        biased = first + bias
        is_long = biased > 0 if temperature == 0 else rng.random() < 1 / (1 + math.exp(-biased / temperature))
        controller.decided(Decided(first, temperature, is_long))
        controller.ended(is_long=is_long, tokens=150 if is_long else 50)
        thought.append(is_long)
        assert BOUNDS[0] <= controller.bias <= BOUNDS[1]
    return thought


def rate(thought: Sequence[bool]) -> float:
    return sum(thought) / len(thought)


def controller(text: str, bias: float = 0.0) -> Controller:
    return Controller(Target.parse(text), bias, BOUNDS)


@pytest.mark.parametrize("in_flight", [1, 32])
@pytest.mark.parametrize("temperature", [1.0, 0.0])
@pytest.mark.parametrize("wanted", [0.1, 0.7])
def test_a_shift_of_the_traffic_is_followed_within_200_requests(wanted: float, temperature: float, in_flight: int) -> None:
    """The mean of six seeds: one stretch of 200 draws alone differs by 3 points from its probability."""
    before, after = [], []
    for seed in range(6):
        held = controller(f"thinking-rate={wanted}")
        mixes = (*traffic([EASY, EASY, HARD], 400, seed), *traffic([EASY, HARD, HARD, HARD], 400, seed + 100))
        thought = run(held, iter(mixes), temperature=temperature, in_flight=in_flight, seed=seed)
        before.append(rate(thought[200:400]))
        after.append(rate(thought[600:800]))
    assert sum(before) / 6 == pytest.approx(wanted, abs=0.05)
    assert sum(after) / 6 == pytest.approx(wanted, abs=0.05)
    assert all(abs(value - wanted) < 0.12 for value in (*before, *after))


def test_without_a_controller_the_shift_is_seen() -> None:
    """The traffic of the test above does change."""
    assert rate([odds > 0 for odds in traffic([EASY, EASY, HARD], 2000, 0)]) < 0.35
    assert rate([odds > 0 for odds in traffic([EASY, HARD, HARD, HARD], 2000, 0)]) > 0.65


def test_greedy_decisions_that_are_all_alike() -> None:
    """No bias gives a rate of 0.3 there: the trim goes to and fro around the threshold."""
    held = controller("thinking-rate=0.3")
    assert rate(run(held, iter([-3.0] * 800), temperature=0)[200:]) == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize(("wanted", "end"), [("thinking-rate=1", BOUNDS[1]), ("thinking-rate=0", BOUNDS[0])])
def test_what_cannot_be_had_ends_at_a_bound(wanted: str, end: float) -> None:
    held = controller(wanted)
    run(held, traffic([EASY, HARD], 400, 0))
    assert held.bias == pytest.approx(end, abs=0.1)


def test_mean_tokens() -> None:
    held = controller("tokens=80")
    thought = run(held, traffic([EASY, HARD], 1000, 3))
    assert 50 + 100 * rate(thought[400:]) == pytest.approx(80, abs=4)


@pytest.mark.parametrize(("wanted", "moves"), [(30, -1), (80, 1)])
def test_tokens_are_steered_before_both_lengths_are_known(wanted: int, moves: int) -> None:
    """Short answers alone have been seen: more thinking is tried where they are too short, and less where they are too long."""
    held = controller(f"tokens={wanted}")
    for _ in range(50):
        held.decided(Decided(-1.0, 1.0, is_long=False))
        held.ended(is_long=False, tokens=50)
    assert held.bias * moves > 0.9


def test_tokens_do_not_freeze_where_the_lengths_cross() -> None:
    held = controller("tokens=60")
    for _ in range(50):
        held.decided(Decided(0.0, 1.0, is_long=True))
        held.ended(is_long=True, tokens=40)
    assert held.bias > 2
    for _ in range(200):
        held.decided(Decided(-9.0, 1.0, is_long=False))
        held.ended(is_long=False, tokens=45)
    assert held.bias > 7


@pytest.mark.parametrize("log_odds", [math.inf, -math.inf])
def test_an_overflow_of_the_model_moves_little(log_odds: float) -> None:
    held, other = controller("thinking-rate=0.5"), controller("thinking-rate=0.5")
    for odds in traffic([EASY, HARD], 100, 0):
        for each in (held, other):
            each.decided(Decided(odds, 1.0, is_long=odds > 0))
    held.decided(Decided(log_odds, 1.0, is_long=False))
    run(held, traffic([EASY, HARD], 20, 1))
    run(other, traffic([EASY, HARD], 20, 1))
    assert held.bias == pytest.approx(other.bias, abs=1)


def test_a_regret_keeps_the_bias_of_the_dial() -> None:
    held = controller("regret=2%", bias=-1.5)
    run(held, traffic([HARD], 200, 0))
    assert held.bias == -1.5
    assert held.thinking_rate is not None


def test_the_first_turns_have_the_bias_of_the_dial() -> None:
    held = controller("thinking-rate=0.3", bias=-1.5)
    assert (held.bias, held.thinking_rate) == (-1.5, None)


def test_the_bias_moves_slowly() -> None:
    held = controller("thinking-rate=0.9")
    biases = [held.bias]
    for odds in traffic([EASY], 200, 0):
        held.decided(Decided(odds, 1.0, is_long=False))
        biases.append(held.bias)
    largest = max(abs(later - earlier) for earlier, later in itertools.pairwise(biases))
    assert largest <= MAX_STEP + GAIN * 1.5
    assert biases[-1] > 3
