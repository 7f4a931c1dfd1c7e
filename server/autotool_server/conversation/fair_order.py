"""The order in which those who wait get what they wait for: by priority, fairly between shares, and in the order of a share.

Between shares it is the Virtual Token Counter of Sheng et al., "Fairness in Serving Large Language Models" (OSDI 2024,
https://arxiv.org/abs/2401.00588), which is start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996) in tokens: each share
counts what it was given, and the one with the least is next. A share that comes anew counts from where the others are, so that
nobody saves up by not asking. What is given is counted as expected, and corrected when it is known.

Within a share it is first come, first served, or by the times at which they are due, if they have any: a time that lies a
bounded delay after the arrival lets short ones pass long ones, but none that comes later than by that delay.

Where long ones cannot be served, as their places are taken, short ones can be taken from the same order without them.

Lower priorities do not starve: every eighth that is served is chosen by fairness alone, whatever the priorities.
"""

import itertools
from bisect import bisect_left, insort
from collections import Counter
from typing import Generic, TypeVar

SERVED_PER_EQUAL = 8
"""How many are served for each one that is chosen without regard to priorities, that one included."""
MAX_KNOWN_SHARES = 4096
"""Shares that are remembered beside those that wait, before those that got no more than the others are forgotten."""


class Waiter:
    """One that waits. `cost`: what it is expected to take, in any unit. Of priorities the lowest number is the best.

    `due`: the time by which those of a share are ordered; 0 for all of them is first come, first served. `is_long`: whether
    those that are not may be served before it.
    """

    def __init__(self, share: str, priority: int = 0, cost: float = 1, due: float = 0.0, *, is_long: bool = False) -> None:
        self.share = share
        self.is_long = is_long
        self.priority = priority
        self.cost = cost
        self.due = due
        self.number = 0
        """The place in the order of arrival."""
        self.period: int | None = None
        """The period in which its cost was counted; None if it never was."""


WaiterT = TypeVar("WaiterT", bound=Waiter)


def _place(waiter: Waiter) -> tuple[float, int]:
    return waiter.due, waiter.number


class _Line(Generic[WaiterT]):
    """Those of one share and priority, in their order."""

    def __init__(self) -> None:
        self._long, self._short = _Queue[WaiterT](), _Queue[WaiterT]()

    def __bool__(self) -> bool:
        return bool(self._long.waiters or self._short.waiters)

    def queues(self, *, without_long: bool) -> "list[_Queue[WaiterT]]":
        return [self._short] if without_long else [self._short, self._long]

    def queue_of(self, waiter: WaiterT) -> "_Queue[WaiterT]":
        return self._long if waiter.is_long else self._short

    def first(self, *, without_long: bool) -> WaiterT | None:
        heads = [queue.waiters[0] for queue in self.queues(without_long=without_long) if queue.waiters]
        return min(heads, key=_place, default=None)

    def cost(self, *, without_long: bool) -> float:
        return sum(queue.cost for queue in self.queues(without_long=without_long))

    def cost_before(self, due: float, *, without_long: bool) -> float:
        """Return the cost of those that would be served before one that came now."""
        return sum(queue.cost_before(due) for queue in self.queues(without_long=without_long))


class _Queue(Generic[WaiterT]):
    """The long ones of a line, or the others, in their order."""

    def __init__(self) -> None:
        self.cost = 0.0
        self.waiters: list[WaiterT] = []

    def add(self, waiter: WaiterT) -> None:
        insort(self.waiters, waiter, key=_place)
        self.cost += waiter.cost

    def remove(self, waiter: WaiterT) -> None:
        del self.waiters[bisect_left(self.waiters, _place(waiter), key=_place)]
        self.cost -= waiter.cost

    def cost_before(self, due: float) -> float:
        later = bisect_left(self.waiters, (due, float("inf")), key=_place)
        return self.cost - sum(waiter.cost for waiter in self.waiters[later:])


class FairOrder(Generic[WaiterT]):
    """Those who wait, and what each share has been given since somebody began to wait."""

    def __init__(self) -> None:
        self.cost = 0.0
        """The sum of the costs of all that wait."""
        self._numbers = itertools.count()
        self._lines: dict[int, dict[str, _Line[WaiterT]]] = {}
        self._waiting = Counter[str]()
        self._given: dict[str, float] = {}
        self._floor = 0.0
        self._num_served = 0
        self._num_passed = 0
        """Those that were served while a long one was the first."""
        self._period = 0

    def __len__(self) -> int:
        return self._waiting.total() if self._lines else 0

    def __bool__(self) -> bool:
        return bool(self._lines)

    def add(self, waiter: WaiterT) -> None:
        """Let one wait."""
        share = waiter.share
        if share not in self._waiting:
            self._given[share] = max(self._given.get(share, 0.0), self._floor)
        waiter.number = next(self._numbers)
        self._lines.setdefault(waiter.priority, {}).setdefault(share, _Line()).queue_of(waiter).add(waiter)
        self.cost += waiter.cost
        self._waiting[share] += 1

    def first(self, *, without_long: bool = False) -> WaiterT | None:
        """Return the one that is served next, of all or of those that are not long; None if there is none."""
        firsts = [
            waiter
            for shares in self._lines.values()
            for line in shares.values()
            if (waiter := line.first(without_long=without_long)) is not None
        ]
        number = self._num_passed if without_long else self._num_served
        if number % SERVED_PER_EQUAL == SERVED_PER_EQUAL - 1:
            return min(firsts, key=lambda waiter: (self._given[waiter.share], waiter.number), default=None)
        return min(firsts, key=lambda waiter: (waiter.priority, self._given[waiter.share]), default=None)

    def take(self, waiter: WaiterT) -> None:
        """Serve the one that is next, of all or of those that are not long, and count its cost.

        One that passes a long one does not count as one of eight, so that the turn of a long one that waits for it comes.
        """
        if waiter is self.first():
            self._num_served += 1
        else:
            self._num_passed += 1
        self._floor = max(self._floor, self._given[waiter.share])
        self._given[waiter.share] += waiter.cost
        waiter.period = self._period
        self.remove(waiter)

    def remove(self, waiter: WaiterT) -> None:
        """Let one wait no longer."""
        shares = self._lines[waiter.priority]
        line = shares[waiter.share]
        line.queue_of(waiter).remove(waiter)
        self.cost -= waiter.cost
        self._waiting[waiter.share] -= 1
        if not self._waiting[waiter.share]:
            del self._waiting[waiter.share]
        if not line:
            del shares[waiter.share]
        if not shares:
            del self._lines[waiter.priority]
        self._forget()

    def correct(self, waiter: WaiterT, cost: float) -> None:
        """Count the true cost of one that was served in place of the expected one."""
        if waiter.period == self._period and waiter.share in self._given:
            self._given[waiter.share] += cost - waiter.cost

    def cost_of(self, priority: int, *, without_long: bool = False) -> float:
        """Return the cost of those that wait with a priority or a better one, of all or of those that are not long."""
        lines = (line for other, shares in self._lines.items() if other <= priority for line in shares.values())
        return sum(line.cost(without_long=without_long) for line in lines)

    def ahead(self, share: str, priority: int, due: float = 0.0, *, without_long: bool = False) -> float:
        """Return the cost of those, of all or of those that are not long, that would be served before one that came now."""
        before = self.cost_of(priority - 1, without_long=without_long)
        shares = self._lines.get(priority, {})
        own = shares[share].cost_before(due, without_long=without_long) if share in shares else 0.0
        level = max(self._given.get(share, 0.0), self._floor) + own
        costs = ((line.cost(without_long=without_long), other) for other, line in shares.items() if other != share)
        others = ((cost, level - self._given[other]) for cost, other in costs)
        return before + own + sum(min(cost, max(lead, 0.0)) for cost, lead in others)

    def _forget(self) -> None:
        """Forget what the order does not depend on any more: everything when nobody waits."""
        if not self._lines:
            self._given.clear()
            self._floor, self.cost = 0.0, 0.0
            self._period += 1
        elif len(self._given) > len(self._waiting) + MAX_KNOWN_SHARES:
            kept = {share: given for share, given in self._given.items() if share in self._waiting or given > self._floor}
            self._given = kept
