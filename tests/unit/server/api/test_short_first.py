"""Short requests that pass long ones in the queue: by how much, and what the engine is told."""

from typing import Any, cast

import pytest
from support.queues import Clock, FakeJob

from autotool_server.api.admission_queue import AdmissionQueue, Ticket
from autotool_server.api.metrics import Metrics
from autotool_server.conversation.job import Job, TokenUsage
from autotool_server.engines.base import Capacity
from autotool_server.engines.create import _vllm_args
from autotool_server.settings import Settings

TOKENS = {"long": 100, "auto": 60, "short": 20}


def experienced_queue(**settings: Any) -> AdmissionQueue:
    """A full queue of one place, which knows how long answers of each mode are."""
    queue = AdmissionQueue(Settings(**settings), Metrics(), Clock())
    queue.fit(Capacity(1))
    for kind, tokens in TOKENS.items():
        queue.leave(join(queue, kind, used=TokenUsage(10, tokens, 0, 0)))
    join(queue, "long")
    return queue


def join(queue: AdmissionQueue, kind: str, limit: int = 1000, **job: Any) -> Ticket:
    return queue.join(cast("Job", FakeJob(kind=kind, limit=limit, **job)))


def order(queue: AdmissionQueue) -> list[Ticket]:
    found: list[Ticket] = []
    while (ticket := queue._waiting.first()) is not None:
        queue._waiting.take(ticket)
        found.append(ticket)
    return found


def pass_time(queue: AdmissionQueue, seconds: float) -> None:
    cast("Clock", queue._clock).now += seconds


def test_short_ones_pass_long_ones() -> None:
    queue = experienced_queue(short_first_seconds=30)
    tickets = {kind: join(queue, kind) for kind in TOKENS}
    limited = join(queue, "long", limit=5)
    assert order(queue) == [limited, tickets["short"], tickets["auto"], tickets["long"]]


def test_without_the_option_the_first_comes_first() -> None:
    queue = experienced_queue()
    tickets = [join(queue, kind) for kind in TOKENS]
    assert order(queue) == tickets
    assert {ticket.due for ticket in tickets} == {0.0}


@pytest.mark.parametrize(("seconds", "passes"), [(23, True), (25, False)])
def test_a_long_one_is_passed_for_a_bounded_time(seconds: float, passes: bool) -> None:
    """A short answer has a fifth of the long one's tokens: it is due after 6 seconds, and the long one after 30."""
    queue = experienced_queue(short_first_seconds=30)
    long = join(queue, "long")
    pass_time(queue, seconds)
    short = join(queue, "short")
    assert order(queue) == ([short, long] if passes else [long, short])


def test_a_better_priority_still_goes_first() -> None:
    queue = experienced_queue(short_first_seconds=30)
    short, urgent = join(queue, "short"), join(queue, "long", priority=-1)
    assert order(queue) == [urgent, short]


def test_nobody_passes_before_anything_is_known() -> None:
    queue = AdmissionQueue(Settings(short_first_seconds=30), Metrics(), Clock())
    queue.fit(Capacity(1))
    tickets = [join(queue, kind) for kind in ("long", "long", "short")]
    assert order(queue) == tickets[1:]


def test_the_engine_is_told_when_turns_are_due() -> None:
    """Some time after they came, but not before they were admitted: the order in which they were has regard to shares too."""
    queue = experienced_queue(short_first_seconds=30)
    running, waiting, last = join(queue, "long", priority=-1), join(queue, "long"), join(queue, "long")
    pass_time(queue, 12)
    queue.fit(Capacity(3))
    assert [turn.due for ticket in (running, waiting) for turn in ticket.job.turns] == [1030, 1030]
    pass_time(queue, 28)
    queue.leave(running)
    assert [turn.due for turn in last.job.turns] == [1040]
    queue.leave(waiting)
    short = join(queue, "short")
    assert [turn.due for turn in short.job.turns] == [pytest.approx(1046)]


def test_a_short_one_is_not_refused_for_what_it_passes() -> None:
    queue = experienced_queue(short_first_seconds=30)
    share = {join(queue, "long").share for _ in range(5)}.pop()
    costs = [queue._waiting.ahead(share, 0, queue._due(cast("Job", FakeJob(kind=kind, limit=1000)))) for kind in TOKENS]
    assert costs == [550, 0, 0]


def test_vllm_orders_by_arrival_then() -> None:
    assert _vllm_args(Settings(short_first_seconds=1)) == {"scheduling_policy": "priority"}
    own = Settings(short_first_seconds=1, engine_arg={"scheduling_policy": "fcfs"})
    assert _vllm_args(own) == {"scheduling_policy": "fcfs"}
