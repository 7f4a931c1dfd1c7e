"""The order of those who wait: priorities, shares, and what is told of it beforehand."""

import random

import pytest

from autotool_server.conversation.fair_order import MAX_KNOWN_SHARES, SERVED_PER_EQUAL, FairOrder, Waiter


def order_of(*waiters: Waiter) -> FairOrder[Waiter]:
    order = FairOrder[Waiter]()
    for waiter in waiters:
        order.add(waiter)
    return order


def taken(order: FairOrder[Waiter], number: int | None = None) -> list[Waiter]:
    """Give so many turns, or all."""
    found: list[Waiter] = []
    while (waiter := order.first()) is not None and len(found) != number:
        order.take(waiter)
        found.append(waiter)
    return found


def test_few_requests_are_not_held_up_by_many_of_another_share() -> None:
    order = order_of(*(Waiter("many", cost=100) for _ in range(200)))
    taken(order, 10)
    few = [Waiter("few", cost=100) for _ in range(4)]
    for waiter in few:
        order.add(waiter)
    assert [waiter.share for waiter in taken(order, 8)].count("few") == 4


def test_shares_get_the_same_tokens_whatever_the_size_of_their_requests() -> None:
    order = order_of(*(Waiter("large", cost=900) for _ in range(50)), *(Waiter("small", cost=100) for _ in range(450)))
    first = taken(order, 100)
    tokens = {share: sum(waiter.cost for waiter in first if waiter.share == share) for share in ("large", "small")}
    assert abs(tokens["large"] - tokens["small"]) <= 900


def test_a_share_is_served_first_come_first() -> None:
    waiters = [Waiter("a", cost=cost) for cost in (5, 1, 3, 2)]
    assert taken(order_of(*waiters)) == waiters


def test_a_share_that_did_not_ask_has_no_credit_for_it() -> None:
    order = order_of(*(Waiter("a") for _ in range(100)))
    order.add(Waiter("late"))
    taken(order, 60)
    for _ in range(30):
        order.add(Waiter("late"))
    assert 9 <= [waiter.share for waiter in taken(order, 20)].count("late") <= 11


def test_priorities_go_first_and_do_not_let_others_starve() -> None:
    order = order_of(*(Waiter("low", priority=5) for _ in range(9)), *(Waiter("high", priority=-1) for _ in range(80)))
    shares = [waiter.share for waiter in taken(order, 7 * SERVED_PER_EQUAL)]
    assert shares == (["high"] * (SERVED_PER_EQUAL - 1) + ["low"]) * 7


def test_a_low_priority_of_the_same_share_does_not_starve_either() -> None:
    low = Waiter("a", priority=9)
    order = order_of(low, *(Waiter("a") for _ in range(50)))
    assert taken(order, SERVED_PER_EQUAL)[-1] is low


def test_what_was_not_used_is_given_back_to_the_share() -> None:
    order = order_of(*(Waiter(share, cost=100) for _ in range(20) for share in ("a", "b")))
    first = next(waiter for waiter in taken(order, 2) if waiter.share == "a")
    order.correct(first, 0)
    assert [waiter.share for waiter in taken(order, 3)].count("a") == 2


def test_a_correction_after_everything_was_forgotten_changes_nothing() -> None:
    order = order_of(Waiter("a", cost=100))
    (late,) = taken(order)
    order.add(Waiter("b", cost=1))
    order.add(Waiter("a", cost=1))
    order.correct(late, 0)
    assert [waiter.share for waiter in taken(order)] == ["b", "a"]


def test_shares_that_come_once_are_forgotten() -> None:
    order = order_of(*(Waiter("busy") for _ in range(4 * MAX_KNOWN_SHARES)))
    for number in range(2 * MAX_KNOWN_SHARES):
        order.add(Waiter(f"address {number}"))
        taken(order, 1)
        taken(order, 1)
    assert len(order._given) <= MAX_KNOWN_SHARES + 2


@pytest.mark.parametrize("seed", range(40))
def test_what_is_ahead_is_known_beforehand(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 a test, not a secret
    order = FairOrder[Waiter]()
    for _ in range(rng.randrange(120)):
        order.add(Waiter(rng.choice("abcde"), cost=rng.randint(1, 50)))
        taken(order, rng.random() < 0.3)
    newcomer = Waiter(rng.choice("abcdef"), cost=1)
    told = order.ahead(newcomer.share, 0)
    order.add(newcomer)
    before = 0.0
    while (waiter := order.first()) is not newcomer:
        assert waiter is not None
        order.take(waiter)
        before += waiter.cost
    # Each share may be one request further, or less far, than the tokens say.
    assert abs(before - told) <= 50 * 6


def test_those_that_pass_long_ones_do_not_take_their_turn_among_eight() -> None:
    """A long one of a bad priority would else wait for ever, if its place were never free when the eighth is served."""
    long, low = Waiter("a", -1, is_long=True), Waiter("a", 5, is_long=True)
    order = order_of(long, low, *(Waiter("b") for _ in range(2 * SERVED_PER_EQUAL)))
    for _ in range(SERVED_PER_EQUAL):
        passing = order.first(without_long=True)
        assert passing is not None
        assert passing.share == "b"
        order.take(passing)
    assert taken(order, 1) == [long]
    assert taken(order, SERVED_PER_EQUAL - 1)[-1] is low


def test_long_ones_are_left_out_of_what_is_ahead() -> None:
    order = order_of(Waiter("a", cost=100, is_long=True), Waiter("b", cost=10), Waiter("a", 1, cost=7))
    assert (order.cost_of(0), order.cost_of(0, without_long=True)) == (110, 10)
    assert (order.ahead("a", 1), order.ahead("a", 1, without_long=True)) == (117, 17)


def test_those_of_a_share_are_served_when_they_are_due() -> None:
    late, soon, same, sooner = (Waiter("a", due=due) for due in (30.0, 10.0, 10.0, 1.0))
    assert taken(order_of(late, soon, same, sooner)) == [sooner, soon, same, late]


def test_what_is_due_later_is_not_ahead() -> None:
    order = order_of(*(Waiter("a", cost=cost, due=due) for cost, due in ((7, 5.0), (100, 50.0), (20, 9.0))))
    assert [order.ahead("a", 0, due) for due in (1.0, 5.0, 10.0, 60.0)] == [0, 7, 27, 127]


def test_the_cost_of_priorities() -> None:
    order = order_of(Waiter("a", priority=-1, cost=7), Waiter("b", cost=100), Waiter("c", priority=3, cost=1000))
    assert [order.cost_of(priority) for priority in (-2, -1, 0, 3, 9)] == [0, 7, 107, 1107, 1107]


def test_better_priorities_are_ahead() -> None:
    order = order_of(Waiter("a", priority=-1, cost=7), Waiter("b", cost=100), Waiter("c", priority=3, cost=1000))
    assert order.ahead("d", 0) == 7
    assert order.ahead("b", 0) == 107


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_left_of_those_that_left(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 a test, not a secret
    order = FairOrder[Waiter]()
    waiting: list[Waiter] = []
    for _ in range(300):
        if waiting and rng.random() < 0.5:
            order.remove(waiting.pop(rng.randrange(len(waiting))))
        else:
            waiting.append(Waiter(rng.choice("abc"), rng.randrange(-2, 3), rng.randint(1, 9), float(rng.randrange(3))))
            order.add(waiting[-1])
        assert (len(order), order.cost) == (len(waiting), sum(waiter.cost for waiter in waiting))
    for waiter in waiting:
        order.remove(waiter)
    assert (len(order), order.cost, order.first(), order._given) == (0, 0, None, {})
