"""Places of the engine that long answers leave to others."""

from typing import Any, cast

import pytest
from support.queues import Clock, FakeJob

from autotool_server.api.admission_queue import AdmissionQueue, Ticket
from autotool_server.api.metrics import Metrics
from autotool_server.conversation.fair_semaphore import CURRENT_CLIENT
from autotool_server.conversation.job import Job, TokenUsage
from autotool_server.engines.base import Capacity
from autotool_server.errors import OverloadedError
from autotool_server.settings import Settings

USED = TokenUsage(10, 90, 0, 0)


def make_queue(capacity: Capacity | None = None, **settings: Any) -> AdmissionQueue:
    queue = AdmissionQueue(Settings(**{"max_long_share": 0.5, **settings}), Metrics(), Clock())
    queue.fit(capacity or Capacity(4))
    return queue


def join(queue: AdmissionQueue, kind: str, share: str = "a", **job: Any) -> Ticket:
    CURRENT_CLIENT.set(share)
    return queue.join(cast("Job", FakeJob(kind=kind, **job)))


def joined(queue: AdmissionQueue, *kinds: str) -> list[Ticket]:
    return [join(queue, kind) for kind in kinds]


def running(tickets: list[Ticket]) -> list[bool]:
    return [ticket.is_running for ticket in tickets]


def test_short_ones_find_a_place_beside_long_ones() -> None:
    queue = make_queue()
    long = joined(queue, "long", "auto", "long", "auto")
    assert running(long) == [True, True, False, False]
    short = joined(queue, "short", "decision", "plain")
    assert running(short) == [True, True, False]
    queue.leave(short[0])
    assert running([*long, *short[1:]]) == [True, True, False, False, True, True]
    queue.leave(long[0])
    assert running(long[1:]) == [True, True, False]


def test_short_ones_alone_have_all_places() -> None:
    assert running(joined(make_queue(), *["short"] * 5)) == [True] * 4 + [False]


def test_by_default_long_ones_may_have_all_places_and_wait_for_the_next_one() -> None:
    queue = make_queue(Capacity(9, seats=8), max_long_share=1)
    assert running(joined(queue, *["long"] * 10)) == [True] * 9 + [False]


@pytest.mark.parametrize(("share", "places"), [(0.29, 29), (0.5, 50), (0.999, 99)])
def test_the_share_is_of_what_the_engine_decodes_at_once(share: float, places: int) -> None:
    queue = make_queue(Capacity(112, seats=100), max_long_share=share)
    assert running(joined(queue, *["long"] * 112)).count(True) == places


def test_what_has_decided_to_be_short_leaves_its_place() -> None:
    queue = make_queue()
    first, _, third = joined(queue, "auto", "long", "long")
    cast("FakeJob", first.job).is_decided_short = True
    join(queue, "short")
    assert third.is_running


@pytest.mark.parametrize("job", [{}, {"num_choices": 3}])
def test_one_long_one_may_always_run(job: dict[str, Any]) -> None:
    queue = make_queue(max_long_share=0.1)
    tickets = [join(queue, "short"), join(queue, "long", **job), join(queue, "long")]
    assert running(tickets) == [True, True, False]
    queue.leave(tickets[1])
    assert tickets[2].is_running


def test_no_long_one_passes_another() -> None:
    """One of two choices would wait for ever behind those of one that come."""
    queue = make_queue()
    first, second, two, late = (join(queue, "long", num_choices=number) for number in (1, 1, 2, 1))
    queue.leave(first)
    assert running([two, late]) == [False, False]
    queue.leave(second)
    assert running([two, late]) == [True, False]


def test_one_that_waits_for_tokens_is_not_passed() -> None:
    queue = make_queue(Capacity(4, tokens=150))
    assert running(joined(queue, "long", "long", "short")) == [True, False, False]


def test_a_short_one_is_not_refused_for_the_long_ones_that_it_passes() -> None:
    queue = make_queue(max_queue_seconds=10)
    clock = cast("Clock", queue._clock)
    running_now, waiting = joined(queue, "long", "long", "short", "short"), joined(queue, *["long"] * 20)
    for ticket in running_now:  # one second for each
        clock.now += 1
        cast("FakeJob", ticket.job).used = USED
        queue.leave(ticket)
    assert [ticket.is_running for ticket in waiting].count(True) == 2
    joined(queue, "short", "short")
    assert join(queue, "short").is_waiting
    assert join(queue, "short").is_waiting
    with pytest.raises(OverloadedError):
        join(queue, "long")


def test_what_passes_counts_for_its_share() -> None:
    """Else a share that always finds a place would get as much of the rest as one that waits."""
    queue = make_queue(Capacity(2))
    join(queue, "long", "a")
    for share in ("a", "b", "a"):
        join(queue, "long", share)
    for _ in range(3):
        queue.leave(join(queue, "short", "a", used=USED))
    assert queue._waiting._given["a"] > queue._waiting._given["b"]
