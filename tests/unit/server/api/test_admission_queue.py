"""The queue before the engine: what runs at once, what waits, and what is refused."""

import asyncio
import contextlib
import random
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from support.queues import Clock, FakeJob

from autotool_server.api.admission import Admission
from autotool_server.api.admission_queue import AdmissionQueue, Ticket
from autotool_server.api.metrics import Metrics
from autotool_server.conversation.fair_semaphore import CURRENT_CLIENT
from autotool_server.conversation.job import Job, TokenUsage
from autotool_server.engines.base import Capacity
from autotool_server.errors import OverloadedError
from autotool_server.settings import Settings


def make_queue(requests: int = 2, tokens: int | None = None, *, express: int = 0, **settings: Any) -> AdmissionQueue:
    queue = AdmissionQueue(Settings(**settings), Metrics(), Clock())
    queue.fit(Capacity(requests, tokens, express))
    return queue


def join(queue: AdmissionQueue, share: str = "a", **job: Any) -> Ticket:
    CURRENT_CLIENT.set(share)
    return queue.join(cast("Job", FakeJob(**job)))


def metric(queue: AdmissionQueue, name: str, **labels: str) -> float:
    return queue._metrics.registry.get_sample_value(name, labels) or 0.0


def running(*tickets: Ticket) -> list[bool]:
    return [ticket.is_running for ticket in tickets]


def test_more_requests_than_the_engine_has_room_for_wait() -> None:
    queue = make_queue(2)
    first, second, third = (join(queue) for _ in range(3))
    assert running(first, second, third) == [True, True, False]
    assert (metric(queue, "autotool_queue_requests"), metric(queue, "autotool_queue_tokens")) == (1, 100)
    queue.leave(first)
    assert third.is_running
    assert metric(queue, "autotool_queue_requests") == 0


def test_more_tokens_than_the_engine_has_room_for_wait() -> None:
    queue = make_queue(9, tokens=250)
    tickets = [join(queue) for _ in range(3)]
    assert (running(*tickets), queue.running_tokens) == ([True, True, False], 200)


def test_a_small_request_does_not_pass_a_large_one_for_ever() -> None:
    queue = make_queue(9, tokens=250)
    first, large, small = join(queue), join(queue, limit=190), join(queue, limit=10)
    assert running(first, large, small) == [True, False, False]
    queue.leave(first)
    assert running(large, small) == [True, True]


@pytest.mark.parametrize("job", [{"limit": 9000}, {"num_choices": 16}])
def test_what_is_larger_than_everything_runs_alone(job: dict[str, Any]) -> None:
    queue = make_queue(2, tokens=250)
    first, huge, last = join(queue), join(queue, **job), join(queue)
    assert running(first, huge, last) == [True, False, False]
    queue.leave(first)
    assert running(huge, last) == [True, False]
    queue.leave(huge)
    assert last.is_running


def test_each_choice_is_a_request_of_the_engine() -> None:
    queue = make_queue(4)
    assert running(join(queue, num_choices=3), join(queue, num_choices=2), join(queue)) == [True, False, False]
    assert queue.running_requests == 3


def test_settings_win_over_what_the_engine_says() -> None:
    queue = make_queue(9, tokens=9999, max_running_requests=1, max_running_tokens=150)
    first, second = join(queue), join(queue)
    assert running(first, second) == [True, False]


def idle_seat(queue: AdmissionQueue, beside: int = 0) -> bool:
    return queue.has_idle_seat(cast("Job", FakeJob()), beside)


def test_a_seat_is_idle_where_the_engine_would_decode_one_more_at_once() -> None:
    queue = make_queue()
    queue.fit(Capacity(3, seats=2))
    tickets = [join(queue)]
    assert (idle_seat(queue), idle_seat(queue, beside=1)) == (True, False)
    tickets.append(join(queue))
    assert running(*tickets, join(queue)) == [True] * 3
    assert not idle_seat(queue)
    for ticket in tickets:
        queue.leave(ticket)
    assert idle_seat(queue)


@pytest.mark.parametrize(("settings", "seats"), [({}, 5), ({"max_running_requests": 3}, 3), ({"max_running_requests": 9}, 5)])
def test_the_seats_are_those_of_the_engine_or_of_the_settings_if_these_are_fewer(settings: dict[str, int], seats: int) -> None:
    queue = make_queue(**settings)
    queue.fit(Capacity(6, seats=5))
    assert [idle_seat(queue, beside) for beside in (seats - 1, seats)] == [True, False]


def test_a_seat_is_idle_only_with_the_tokens_that_it_takes() -> None:
    queue = make_queue(9, tokens=250)
    assert idle_seat(queue)
    join(queue)
    assert (idle_seat(queue), idle_seat(queue, beside=1)) == (True, False)
    join(queue)
    assert not idle_seat(queue)


def test_no_seat_is_idle_while_anybody_waits() -> None:
    queue = make_queue(9, tokens=250)
    first, large = join(queue), join(queue, limit=190)
    assert (running(first, large), queue.running_tokens) == ([True, False], 100)
    assert not idle_seat(queue)
    queue.leave(large)
    assert idle_seat(queue)


def test_an_engine_that_comes_later_with_more_room_lets_them_run() -> None:
    queue = make_queue(1)
    first, second = join(queue), join(queue)
    queue.fit(Capacity(2))
    assert running(first, second) == [True, True]


def test_a_better_priority_that_fits_starts_at_once() -> None:
    queue = make_queue(9, tokens=250)
    _, large = join(queue), join(queue, limit=190)
    urgent = join(queue, priority=-1)
    assert running(large, urgent) == [False, True]


def test_one_token_takes_a_place_that_is_kept_for_it() -> None:
    queue = make_queue(1, express=1)
    long, short, other = join(queue), join(queue, decodes_one_token=True), join(queue, decodes_one_token=True)
    assert running(long, short, other) == [True, True, False]
    queue.leave(short)
    assert running(other, join(queue, decodes_one_token=True)) == [False, True]
    queue.leave(long)
    assert other.is_running


def test_what_requests_usually_take_is_expected_of_the_next() -> None:
    queue = make_queue(99, tokens=100_000)
    first = join(queue, prompt_tokens=1000, limit=32_000)
    assert first.tokens == 33_000
    cast("FakeJob", first.job).used = TokenUsage(prompt=1000, completion=200, cached=900, reasoning=0)
    queue.leave(first)
    assert join(queue, prompt_tokens=1000, limit=32_000).tokens == 100 + 200
    assert join(queue, prompt_tokens=1000, limit=50, num_choices=2).tokens == 100 + 2 * 50
    # Other modes may be quite different, and a request that came to nothing says nothing.
    other = join(queue, prompt_tokens=1000, limit=32_000, kind="long")
    assert other.tokens == 33_000
    queue.leave(other)
    assert join(queue, prompt_tokens=1000, limit=32_000, kind="long").tokens == 33_000


def measured_queue(**settings: Any) -> tuple[AdmissionQueue, Clock]:
    """A queue of one place in which requests of 100 tokens have taken 10 seconds each."""
    queue = make_queue(1, max_queue_seconds=3600)
    clock = cast("Clock", queue._clock)
    tickets = [join(queue, used=TokenUsage(10, 90, 0, 0)) for _ in range(4)]
    for ticket in tickets:
        clock.now += 5
        queue.leave(join(queue))  # one that only looks in changes nothing
        clock.now += 5
        queue.leave(ticket)
    queue._settings = Settings(**settings)
    return queue, clock


@pytest.mark.parametrize(("waiting", "seconds"), [(5, None), (6, 10), (11, 60), (99, 60)])
def test_a_wait_that_would_be_too_long_is_refused_at_once(waiting: int, seconds: int | None) -> None:
    queue, _ = measured_queue(max_queue_seconds=3600)
    tickets = [join(queue) for _ in range(1 + waiting)]
    assert tickets[0].is_running
    queue._settings = Settings(max_queue_seconds=60)
    if seconds is None:
        assert not join(queue).is_running
        return
    with pytest.raises(OverloadedError) as raised:
        join(queue)
    # It would have to wait for those before it and for a place of its own, 10 seconds each.
    assert seconds - 5 <= raised.value.retry_after <= seconds
    assert raised.value.reason == "expected_wait"
    # Another share is admitted after one of them, and nobody's urgent request waits behind them.
    assert not join(queue, "b").is_running


def test_nothing_is_refused_early_before_it_is_measured() -> None:
    queue = make_queue(1, max_queue_seconds=1)
    assert running(*(join(queue) for _ in range(100))) == [True] + [False] * 99


def test_the_time_in_which_nobody_waits_says_nothing_of_the_throughput() -> None:
    queue, clock = measured_queue(max_queue_seconds=15)
    clock.now += 100_000
    tickets = [join(queue), join(queue)]
    assert running(*tickets) == [True, False]
    # 200 tokens at 10 a second, whatever was in between.
    with pytest.raises(OverloadedError):
        join(queue)


def test_the_first_in_the_line_waits_whatever_was_measured() -> None:
    """Or else a rate that was once low would stay so: it is measured while somebody waits."""
    queue, _ = measured_queue(max_queue_seconds=1)
    assert running(join(queue), join(queue)) == [True, False]
    with pytest.raises(OverloadedError):
        join(queue)


def test_failures_say_nothing_of_the_throughput() -> None:
    queue = make_queue(1)
    first, second, _ = join(queue), join(queue), join(queue)
    cast("Clock", queue._clock).now += 10
    for ticket in (first, second):
        queue.leave(ticket)
    assert queue._throughput.rate(1) is None


def test_those_who_wait_need_no_more_than_is_usual_once_that_is_known() -> None:
    queue = make_queue(9, tokens=1000)
    first, *others = (join(queue, limit=890) for _ in range(9))
    assert running(first, *others) == [True] + [False] * 8
    cast("FakeJob", first.job).used = TokenUsage(10, 40, 0, 0)
    queue.leave(first)
    assert running(*others) == [True] * 8
    assert queue.running_tokens == 8 * 50


async def test_one_that_has_been_accepted_waits_without_a_limit() -> None:
    queue = make_queue(1, max_queue_seconds=0.01)
    first, accepted = join(queue), join(queue)
    waiting = asyncio.create_task(accepted.admission(is_limited=False))
    await asyncio.sleep(0.05)
    queue.leave(first)
    await waiting
    assert accepted.is_running


def test_no_waiting_at_all() -> None:
    queue = make_queue(1, max_queue_seconds=0)
    first = join(queue)
    with pytest.raises(OverloadedError) as raised:
        join(queue)
    assert raised.value.retry_after == 1
    queue.leave(first)
    assert join(queue).is_running


async def test_one_that_has_waited_for_too_long_is_refused() -> None:
    queue = make_queue(1, max_queue_seconds=0.02)
    with join(queue):
        with join(queue) as late, pytest.raises(OverloadedError) as raised:
            await late.admission()
        assert (raised.value.retry_after, raised.value.reason) == (1, "queue_seconds")
        assert metric(queue, "autotool_queue_requests") == 0


def test_a_loop_that_needs_more_takes_it_without_waiting() -> None:
    queue = make_queue(9, tokens=250)
    loop = join(queue)
    choice: Any = loop.job.choices[0]
    for prompt_tokens in (150, 20):
        choice.turns.append(SimpleNamespace(prompt_tokens=prompt_tokens, max_new_tokens=50))
        choice.on_next_turn()
    assert (queue.running_tokens, join(queue).is_running) == (240, False)
    queue.leave(loop)
    assert queue.running_tokens == 100


def test_when_it_waited_is_known() -> None:
    queue = make_queue(1)
    first, second = join(queue), join(queue)
    cast("Clock", queue._clock).now += 3
    queue.leave(first)
    assert (first.job.queued.seconds, second.job.queued.seconds) == (0, 3)
    assert metric(queue, "autotool_queue_seconds_sum") == 3
    assert metric(queue, "autotool_queue_seconds_count") == 2


@pytest.mark.parametrize("seed", range(200))
async def test_whatever_comes_and_leaves_nothing_is_lost(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 a test, not a secret
    queue = make_queue(rng.randint(1, 5), tokens=rng.choice([None, 300, 1000]), express=rng.choice([0, 0, 2]))
    ended: list[bool] = []

    async def live() -> None:
        is_short = rng.random() < 0.2
        size = {"limit": 1} if is_short else {"limit": rng.randrange(400), "num_choices": rng.choice([1, 1, 1, 3])}
        with join(queue, rng.choice("abc"), priority=rng.choice([0, 0, 1]), decodes_one_token=is_short, **size) as ticket:
            await ticket.admission()
            assert ticket.is_running
            check(queue)
            for _ in range(rng.randrange(4)):
                await asyncio.sleep(0)
            ended.append(True)

    tasks = [asyncio.create_task(live()) for _ in range(40)]
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0)
        if rng.random() < 0.3:
            rng.choice(tasks).cancel()
        check(queue)
    gone = [task for task in tasks if task.cancelled()]
    assert [task.exception() for task in tasks if not task.cancelled()] == [None] * (40 - len(gone))
    assert len(ended) == 40 - len(gone)
    assert (queue.running_requests, queue.running_tokens, queue._num_running, queue._num_express) == (0, 0, 0, 0)
    assert (len(queue._waiting), queue._waiting.cost, queue._waiting.first()) == (0, 0, None)


def check(queue: AdmissionQueue) -> None:
    """The limits hold but for one that runs alone, and nobody waits for whom there is room."""
    capacity, is_alone = queue._capacity, queue._num_running - queue._num_express <= 1
    assert is_alone or queue.running_requests <= capacity.requests
    assert is_alone or capacity.tokens is None or queue.running_tokens <= capacity.tokens + 11 * queue._num_express
    first = queue._waiting.first()
    assert first is None or not queue._fits(first)


@contextlib.contextmanager
def slots(admission: Admission, number: int, key: str | None) -> Iterator[int]:
    """Take up to so many slots; yield how many there were."""
    with contextlib.ExitStack() as stack:
        taken = 0
        with contextlib.suppress(OverloadedError):
            for _ in range(number):
                stack.enter_context(admission.slot(key))
                taken += 1
        yield taken


def test_one_key_does_not_take_all_the_slots() -> None:
    admission = Admission(100, 2**20)
    with slots(admission, 1000, "many") as many, slots(admission, 1000, "few") as few:
        assert (many, few) == (80, 16)
        with slots(admission, 1000, "third") as third:
            assert third > 0
    with slots(admission, 1000, None) as anybody:
        assert anybody == 100


@pytest.mark.parametrize("limit", [1, 2, 4])
def test_a_few_slots_are_all_for_one_key(limit: int) -> None:
    with slots(Admission(limit, 2**20), 1000, "a") as taken:
        assert taken == limit


async def test_one_that_is_admitted_at_the_last_moment_runs() -> None:
    """Its event and the end of its wait may come in one turn of the event loop."""
    queue = make_queue(requests=1, max_queue_seconds=0.01)
    with queue.join(cast("Job", FakeJob())), queue.join(cast("Job", FakeJob())) as second:
        second.is_running = True
        await queue.wait(second, asyncio.Event(), is_limited=True)
        second.is_running = False
