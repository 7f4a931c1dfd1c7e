"""What the load spares turns: the rule step by step, and with a queue in made-up time."""

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import pytest
from support.queues import Clock, FakeJob

from autotool_core.errors import AutoToolError
from autotool_server.api.admission_queue import AdmissionQueue, Ticket
from autotool_server.api.metrics import Metrics
from autotool_server.conversation.job import Job, TokenUsage
from autotool_server.engines.base import Capacity
from autotool_server.errors import OverloadedError
from autotool_server.launch import checks
from autotool_server.settings import Settings, load_settings
from autotool_server.targets.load import NONE, LoadRelief, Relief

SLO = 10.0


def under(wait: float | None, max_bias: float = 4.0) -> LoadRelief:
    load = LoadRelief(max_bias, SLO)
    load.expected_wait = lambda _: wait
    return load


@pytest.mark.parametrize(
    ("wait", "bias", "share"),
    [
        (0.0, 0, 1),
        (2.5, 0, 1),
        (5.0, -2, 1),
        (7.5, -4, 1),
        (8.75, -4, 0.625),
        (10.0, -4, 0.25),
        (500.0, -4, 0.25),
    ],
)
def test_the_bias_goes_first_and_then_thoughts_get_shorter(wait: float, bias: float, share: float) -> None:
    assert under(wait).relief() == Relief(bias, share)


def test_nothing_is_spared_while_nobody_waits() -> None:
    load = under(None)
    load.ended(1.0, 50, 100.0)
    assert (load.pressure(), load.relief()) == (0.0, NONE)


def test_the_slowest_first_tokens_add_to_the_wait() -> None:
    load = under(1.0)
    for seconds in [0.1] * 98 + [4.0, 9.0]:
        load.ended(1.0, 0, seconds)
    assert load.pressure() == pytest.approx(0.5)
    for _ in range(100):
        load.ended(1.0, 0, 0.5)
    assert load.pressure() == pytest.approx(0.15)


def test_without_a_bound_the_pressure_is_told_and_nothing_is_spared() -> None:
    load = under(10.0, max_bias=0)
    load.ended(1.0, 50, 20.0)
    assert (load.pressure(), load.relief()) == (pytest.approx(3.0), NONE)


def test_those_of_a_better_priority_do_not_think_less_for_others() -> None:
    load = LoadRelief(4.0, SLO)
    load.expected_wait = lambda priority: 0.0 if priority == -1 else 100.0
    assert (load.relief(-1), load.relief(0), load.relief()) == (NONE, Relief(-4, 0.25), Relief(-4, 0.25))


def test_a_budget_is_a_part_of_the_usual_longest_thought() -> None:
    load = under(0.0)
    assert load.budget(800, 0.5) == 400  # no thought has been seen
    for tokens in range(1, 101):
        load.ended(1.0, tokens, 0.1)
    assert (load.budget(800, 0.5), load.budget(40, 0.5), load.budget(0, 0.25)) == (50, 20, 0)
    for _ in range(100):
        load.ended(0.5, 10, 0.1)  # what was made shorter is not what is usual
        load.ended(1.0, 0, 0.1)  # nor are answers without a thought
        load.ended(1.0, 10, None)  # nor those that came to nothing
    assert load.budget(800, 0.5) == 50


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_load_bias": -1}, "Setting max_load_bias"),
        ({"max_load_bias": 101}, "Setting max_load_bias"),
        ({"slo_first_token": 0}, "Setting slo_first_token"),
        ({"short_first_seconds": -1}, "Setting short_first_seconds"),
        (
            {"max_load_bias": 4, "slo_first_token": 61},
            "Setting slo_first_token: it is 61, and with a max_queue_seconds of 60 requests are refused before",
        ),
    ],
)
def test_what_settings_may_not_ask(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(AutoToolError, match=message):
        checks.check(load_settings(engine="transformers", **settings))


PLACES, LONG_SECONDS, SHORT_SECONDS = 8, 8.0, 2.0


@dataclass
class Simulated:
    """A queue in made-up time, before an engine in which a long answer takes four times as long as a short one."""

    max_load_bias: float
    refused: int = 0

    def __post_init__(self) -> None:
        self.clock, self.rng = Clock(), random.Random(0)  # noqa: S311 a test, not a secret
        self.queue = AdmissionQueue(Settings(max_queue_seconds=30), Metrics(), self.clock)
        self.queue.fit(Capacity(PLACES))
        self.load = LoadRelief(self.max_load_bias, 20.0)
        self.load.expected_wait = self.queue.expected_wait
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.waiting: list[Ticket] = []
        self.biases: list[float] = []
        self.long: list[bool] = []
        self.waits: list[float] = []

    def at(self, time: float, do: Callable[[], None]) -> None:
        heapq.heappush(self.events, (time, len(self.events) + self.rng.randrange(10**9), do))

    def arrive(self) -> None:
        try:
            self.waiting.append(self.queue.join(cast("Job", FakeJob(kind="auto"))))
        except OverloadedError:
            self.refused += 1

    def begin(self, ticket: Ticket) -> None:
        relief = self.load.relief(0)
        is_long = self.rng.random() < 1 / (1 + math.exp(-3.0 - relief.bias))
        self.biases.append(relief.bias)
        self.long.append(is_long)
        self.waits.append(ticket.job.queued.seconds)
        cast("FakeJob", ticket.job).used = TokenUsage(10, 80 if is_long else 20, 0, 0)
        self.at(self.clock.now + (LONG_SECONDS if is_long else SHORT_SECONDS), lambda: self.queue.leave(ticket))

    def run(self, rate: float, seconds: float) -> None:
        time = self.clock.now
        while time < 1000 + seconds:
            time += self.rng.expovariate(rate)
            self.at(time, self.arrive)
        while self.events:
            self.clock.now, _, do = heapq.heappop(self.events)
            do()
            for ticket in [ticket for ticket in self.waiting if ticket.is_running]:
                self.waiting.remove(ticket)
                self.begin(ticket)


def test_a_queue_under_one_and_a_half_times_the_load() -> None:
    """The rate is 1.5 times what ends if all answers are long: without relief some are refused, and with it none is."""
    without, relieved = Simulated(0), Simulated(8)
    for simulated in (without, relieved):
        simulated.run(1.5 * PLACES / LONG_SECONDS, 1500)
    assert without.refused > 100
    assert set(without.biases) == {0.0}
    assert relieved.refused == 0
    assert max(relieved.waits) < 20
    later = relieved.long[len(relieved.long) // 3 :]
    assert 0.3 < sum(later) / len(later) < 0.9  # it thinks as often as there is room for, and not least
    assert relieved.load.relief() == NONE  # and as always when nobody waits
