"""The queue before the engine: a bounded number of requests and tokens run, and the others wait to be admitted.

The order is that of `conversation.fair_order`; a share is the client's key, or the address of a client without one.
"""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import TracebackType

from autotool_server.api.expected import Throughput, TypicalUse
from autotool_server.api.metrics import Metrics
from autotool_server.conversation.fair_order import FairOrder, Waiter
from autotool_server.conversation.fair_semaphore import CURRENT_CLIENT
from autotool_server.conversation.job import Job
from autotool_server.engines.base import Capacity
from autotool_server.errors import OverloadedError
from autotool_server.settings import Settings

MAX_RETRY_SECONDS = 60
"""The longest time that clients are told to wait: the official ones of OpenAI and Anthropic take no more at its word."""


class Ticket(Waiter):
    """A request's place in the queue, and then among those that run. Leaving it as a context manager gives back what it holds.

    A tool loop holds its place while its tools run, and the turns after its first, whose tokens nobody knows before, run
    without waiting again: what its conversation grows by is counted then, whether there is room for it or not.
    """

    def __init__(self, queue: "AdmissionQueue", job: Job, share: str, cost: float, due: float, *, is_long: bool) -> None:
        super().__init__(share, job.priority, cost, due, is_long=is_long)
        self.job = job
        self.tokens = self.tokens_at_start = cost
        """What it holds of the engine's tokens."""
        self.is_express = False
        self.is_running = False
        self.admitted: asyncio.Event | None = None
        """What its admission is awaited by, for as long as it waits."""
        self._queue = queue

    def __enter__(self) -> "Ticket":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._queue.leave(self)

    @property
    def is_waiting(self) -> bool:
        """Whether it is not admitted yet."""
        return self.admitted is not None

    async def admission(self, *, is_limited: bool = True) -> None:
        """Wait to be admitted. Raises OverloadedError after `max_queue_seconds`, unless the wait is not limited."""
        if self.admitted is not None:
            await self._queue.wait(self, self.admitted, is_limited=is_limited)


class AdmissionQueue:
    """Lets requests run, as many at once as the engine holds (docs/guides/serve.md)."""

    def __init__(self, settings: Settings, metrics: Metrics, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._settings = settings
        self._metrics = metrics
        self._capacity = Capacity(settings.max_concurrent_requests)
        self._waiting = FairOrder[Ticket]()
        self._throughput = Throughput(clock)
        self._typical = TypicalUse()
        self._num_running = 0
        self._num_express = 0
        self._long = set[Ticket]()
        """Those that run and may have been thoughts when they began (`max_long_share`)."""
        self.running_requests = 0
        """Choices that run, and so what the engine has at once."""
        self.running_tokens = 0.0
        """Tokens that these are expected to need."""
        metrics.queue_requests.set_function(lambda: len(self._waiting))
        metrics.queue_tokens.set_function(lambda: self._waiting.cost)

    def fit(self, engine: Capacity) -> None:
        """Let as much run at once as an engine holds, where the settings say nothing else."""
        requests, tokens = self._settings.max_running_requests, self._settings.max_running_tokens
        self._capacity = replace(
            engine,
            requests=engine.requests if requests is None else requests,
            tokens=engine.tokens if tokens is None else tokens,
        )
        self._start_waiting()

    def join(self, job: Job) -> Ticket:
        """Return the job's place, which counts for the `CURRENT_CLIENT`.

        Raises OverloadedError if it is not expected to be admitted within `max_queue_seconds`.
        """
        cost, due = self._typical.expected_tokens(job), self._due(job)
        is_long = self._settings.max_long_share < 1 and job.may_think
        ticket = Ticket(self, job, CURRENT_CLIENT.get(), cost, due, is_long=is_long)
        for choice in job.choices:
            choice.on_next_turn = partial(self._grow, ticket)
        job.queued.began = self._clock()
        if self._is_express(job):
            ticket.is_express = True
            self._start(ticket)
        elif self._passes_none_that_may_start(ticket) and self._fits(ticket):
            if self._waiting:  # it counts among what its share was given
                self._waiting.add(ticket)
                self._waiting.take(ticket)
            self._start(ticket)
        else:
            self._wait_in_order(ticket)
        return ticket

    def _due(self, job: Job) -> float:
        """Return the time by which a job is ordered: later than now by what shorter ones may pass it for, 0 where none may."""
        longest = self._settings.short_first_seconds
        return self._clock() + longest * self._typical.relative_length(job) if longest else 0.0

    def _is_express(self, job: Job) -> bool:
        """Whether a job takes one of the places that the engine keeps for requests of one token."""
        return self._num_express < self._capacity.express and job.decodes_one_token

    def _wait_in_order(self, ticket: Ticket) -> None:
        expected = self._expected_wait(ticket)
        limit = self._settings.max_queue_seconds
        # The first in the line is not refused by what was measured: it would be measured no more if nobody waited.
        is_first = self._passes_none_that_may_start(ticket)
        if limit == 0 or (not is_first and expected is not None and expected > limit):
            self._refuse("expected_wait", ticket)
        if not self._waiting:
            self._throughput.begin()
        ticket.admitted = asyncio.Event()
        self._waiting.add(ticket)
        self._start_waiting()  # a better priority than that of the first may fit where the first does not

    async def wait(self, ticket: Ticket, admitted: asyncio.Event, *, is_limited: bool) -> None:
        """Wait for the admission of a ticket."""
        left = self._settings.max_queue_seconds - self._waited(ticket)
        try:
            async with asyncio.timeout(left if is_limited else None):
                await admitted.wait()
        except TimeoutError:
            if ticket.is_running:  # it was admitted at the last moment
                return
            self._metrics.queue_seconds.observe(self._waited(ticket))
            self._refuse("queue_seconds", ticket)

    def _waited(self, ticket: Ticket) -> float:
        """Return the seconds since a ticket was taken."""
        began = ticket.job.queued.began
        return self._clock() - began if began is not None else 0.0

    def has_idle_seat(self, job: Job, beside: int) -> bool:
        """Whether nothing waits, and the engine has a seat and the tokens that a job like this takes.

        `beside`: those like it that the engine has already and that have not come through the queue.
        """
        tokens = self._capacity.tokens
        if self._waiting or self.running_requests + beside >= self._seats:
            return False
        if tokens is None or self._num_running + beside == 0:
            return True
        return self.running_tokens + (beside + 1) * self._typical.expected_tokens(job) <= tokens

    @property
    def _seats(self) -> int:
        """Answers that are decoded at once."""
        seats, requests = self._capacity.seats, self._capacity.requests
        return requests if seats is None else min(seats, requests)

    def leave(self, ticket: Ticket) -> None:
        """Take back what a ticket holds, and let those run that then fit."""
        if ticket.is_running:
            self._end(ticket)
        elif ticket.is_waiting:
            ticket.admitted = None
            self._waiting.remove(ticket)
            self._note_if_nobody_waits()
        self._start_waiting()

    def _grow(self, ticket: Ticket) -> None:
        """Count what the conversation of a tool loop has grown by."""
        turns = ticket.job.turns
        grown = max(ticket.tokens_at_start + turns[-1].prompt_tokens - turns[0].prompt_tokens, ticket.tokens)
        self.running_tokens += grown - ticket.tokens
        ticket.tokens = grown

    def _fits(self, ticket: Ticket) -> bool:
        """Whether a ticket may run now: beside the others, or alone if it is larger than all that may run at once."""
        if self._num_running == self._num_express:
            return True
        if self.running_requests + ticket.job.num_choices > self._capacity.requests or not self._has_place(ticket):
            return False
        tokens = self._capacity.tokens
        return tokens is None or self.running_tokens + ticket.tokens <= tokens

    def _has_place(self, ticket: Ticket) -> bool:
        """Whether one is not long, or the long ones do not have all of their places yet. One of them may always run."""
        if not ticket.is_long:
            return True
        taken = sum(running.job.num_choices for running in self._long if running.job.may_think)
        places = math.floor(self._settings.max_long_share * self._seats + 1e-9)  # 0.29 of 100 are 29
        return not taken or taken + ticket.job.num_choices <= places

    def _next(self) -> Ticket | None:
        """Return the one that is admitted next: where the first is long and has no place, the first that is not long."""
        first = self._waiting.first()
        return first if first is None or self._has_place(first) else self._waiting.first(without_long=True)

    def _passes_none_that_may_start(self, ticket: Ticket) -> bool:
        """Whether one that comes now may start before those that wait, who all wait for a place of long ones."""
        return not self._waiting if ticket.is_long else self._next() is None

    def _start(self, ticket: Ticket) -> None:
        ticket.admitted, ticket.is_running = None, True
        self._num_running += 1
        self._num_express += ticket.is_express
        if ticket.is_long:
            self._long.add(ticket)
        self.running_requests += 0 if ticket.is_express else ticket.job.num_choices
        self.running_tokens += ticket.tokens
        ticket.tokens_at_start = ticket.tokens
        queued = ticket.job.queued
        queued.ended = self._clock()
        if ticket.due:
            # Not before now: those that waited here did so by shares, of which the engine knows nothing.
            for turn in ticket.job.turns:
                turn.due = max(ticket.due, queued.ended)
        self._metrics.queue_seconds.observe(queued.seconds)

    def _start_waiting(self) -> None:
        """Admit those that fit, in their order: none passes the first, or large ones would wait for ever.

        Those that wait for a place of long ones are passed by those that are not long.
        """
        while (ticket := self._next()) is not None:
            # More may be known of its mode than when it came.
            ticket.tokens = min(ticket.tokens, self._typical.expected_tokens(ticket.job))
            if not self._fits(ticket):
                return
            self._waiting.take(ticket)
            if ticket.admitted is not None:
                ticket.admitted.set()
            self._start(ticket)
            self._note_if_nobody_waits()

    def _end(self, ticket: Ticket) -> None:
        ticket.is_running = False
        self._num_running -= 1
        self._num_express -= ticket.is_express
        self._long.discard(ticket)
        self.running_requests -= 0 if ticket.is_express else ticket.job.num_choices
        self.running_tokens -= ticket.tokens
        usage = ticket.job.usage()
        self._typical.note(ticket.job, usage)
        if usage.completion:  # one that failed or left before was not served
            self._throughput.note(ticket.cost)
        self._waiting.correct(ticket, usage.prompt - usage.cached + usage.completion)

    def _note_if_nobody_waits(self) -> None:
        if not self._waiting:
            self._throughput.end()

    def _expected_wait(self, ticket: Ticket) -> float | None:
        """Return the seconds until the admission of one that comes now; None before there is anything to tell it from.

        What is ahead of it, and it itself, need as many tokens of those that run.
        """
        rate = self._throughput.rate(self._num_running)
        if rate is None:
            return None
        first = self._waiting.first()
        passes_long = not ticket.is_long and first is not None and not self._has_place(first)
        ahead = self._waiting.ahead(ticket.share, ticket.priority, ticket.due, without_long=passes_long)
        return (ahead + ticket.cost) / rate

    def expected_wait(self, priority: int | None = None) -> float | None:
        """Return the seconds until all are admitted that wait with a priority or a better one; None if nobody waits.

        None for the priority is the worst. Before the throughput is measured it is the time that the next one has waited.
        """
        first = self._waiting.first()
        cost = self._waiting.cost if priority is None else self._waiting.cost_of(priority)
        if first is None or not cost:
            return None
        rate = self._throughput.rate(self._num_running)
        return self._waited(first) if rate is None else cost / rate

    def _refuse(self, reason: str, ticket: Ticket) -> None:
        """Raise OverloadedError, with the seconds until the expected wait is as long as it may be."""
        limit = self._settings.max_queue_seconds
        wait = (self._expected_wait(ticket) or 0.0) - limit
        seconds = min(max(math.ceil(wait), 1), MAX_RETRY_SECONDS)
        raise OverloadedError(
            f"The server has more requests than it can answer soon enough. Try again in {seconds} second{'s' * (seconds > 1)}.",
            reason,
            retry_after=seconds,
        )
