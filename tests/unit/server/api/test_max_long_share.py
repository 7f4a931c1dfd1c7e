"""Places of the engine that long answers leave to short ones."""

from typing import Any, cast

import pytest
from support.queues import Clock, FakeJob

from autotool_server.api.admission_queue import AdmissionQueue, Ticket
from autotool_server.api.metrics import Metrics
from autotool_server.conversation.job import Job, TokenUsage
from autotool_server.engines.base import Capacity
from autotool_server.settings import Settings

TOKENS = {"long": 100, "auto": 60, "short": 20}


def experienced_queue(places: int = 4, *, max_long_share: float = 0.5) -> AdmissionQueue:
    """A queue where nobody waits, which knows how long answers of each mode are."""
    queue = AdmissionQueue(Settings(max_long_share=max_long_share), Metrics(), Clock())
    queue.fit(Capacity(places))
    for kind, tokens in TOKENS.items():
        queue.leave(join(queue, kind, used=TokenUsage(10, tokens, 0, 0)))
    return queue


def join(queue: AdmissionQueue, kind: str, limit: int = 1000, **job: Any) -> Ticket:
    return queue.join(cast("Job", FakeJob(kind=kind, limit=limit, **job)))


def running(tickets: list[Ticket]) -> list[bool]:
    return [ticket.is_running for ticket in tickets]


def test_short_ones_find_a_place_beside_long_ones() -> None:
    queue = experienced_queue()
    long = [join(queue, kind) for kind in ("long", "auto", "long", "long")]
    assert running(long) == [True, True, False, False]
    short = [join(queue, "short"), join(queue, "long", limit=30), join(queue, "short")]
    assert running(short) == [True, True, False]
    queue.leave(short[0])
    assert running([*long, *short[1:]]) == [True, True, False, False, True, True]
    queue.leave(long[0])
    assert running(long[1:]) == [True, True, False]


def test_short_ones_alone_have_all_places() -> None:
    queue = experienced_queue()
    assert running([join(queue, "short") for _ in range(5)]) == [True] * 4 + [False]


def test_by_default_long_ones_may_have_all_places() -> None:
    queue = experienced_queue(max_long_share=1)
    assert running([join(queue, kind) for kind in ("long", "long", "long", "long", "short")]) == [True] * 4 + [False]


@pytest.mark.parametrize("job", [{}, {"num_choices": 3}])
def test_one_long_one_may_always_run(job: dict[str, Any]) -> None:
    queue = experienced_queue(max_long_share=0.1)
    tickets = [join(queue, kind, **of) for kind, of in (("short", {}), ("long", job), ("long", {}))]
    assert running(tickets) == [True, True, False]
    queue.leave(tickets[1])
    assert tickets[2].is_running


def test_a_long_one_that_fits_is_not_passed() -> None:
    """It waits for tokens, as anyone would."""
    queue = experienced_queue()
    queue.fit(Capacity(4, tokens=150))
    tickets = [join(queue, kind) for kind in ("long", "long", "short")]
    assert running(tickets) == [True, False, False]
