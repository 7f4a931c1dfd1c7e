"""Thinks less before it refuses: under load `auto` chooses long less often, and then thoughts get shorter.

The *pressure* is the time to the first token that is expected of a request that comes now, in parts of the time that the
operator wants to keep (`slo_first_token`, seconds). What is expected is the sum of two times: the wait in the queue, which is
the tokens that wait divided by the tokens a second of the requests that ended lately, and the 99th percentile of the time from
a turn's beginning to its first token, over the latest turns. While nobody waits the pressure is 0, since no one's first token
would come sooner if others thought less. The use of the engine's cache counts through the queue: no more is admitted than the
cache is expected to hold, and the rest waits. The pressure is told without a `max_load_bias` too, so that an operator can look
at it before setting one.

The *relief* is none without a `max_load_bias`, and depends on the pressure alone with one. Up to `BEGINS` there is none. From
there to `BIAS_SPENT` the load bias falls in proportion to `-max_load_bias` log-odds. From there to 1 the part of the usual
longest thought that a think block may take falls in proportion to `LEAST_SHARE`. Beyond that requests are refused as they are
without it, by `max_queue_seconds`.

It is stable because it remembers nothing and is monotonic: the longer the queue, the less each answer takes, so that there is
one length of the queue at which as much ends as comes, and everything is undone when nobody waits. What delays the loop is
that a decision frees its place when its answer ends. If requests come at the rate c and end at the rate e, which the bias moves
from e_long to e_short, the wait changes by c / e - 1 seconds a second, with a slope of -2 (e_short - e_long) / (c slo) where
they balance. A delay of d seconds makes it swing where d times the slope exceeds a half of pi: where answers in short end three
times as fast as in long and 1.5 times as many come as end in long, from answers of 0.6 slo on. A swing stays between no relief
and all of it.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from autotool_core.errors import AutoToolError
from autotool_server.settings import Settings

BEGINS = 0.25
"""The pressure up to which nothing changes."""
BIAS_SPENT = 0.75
"""The pressure from which on the whole load bias is added, and thoughts begin to get shorter."""
LEAST_SHARE = 0.25
"""The least part of the usual longest thought that is left, at a pressure of 1 and more."""
LATEST = 100
"""Turns over which first tokens and thoughts are looked at."""
QUANTILE = 0.99


@dataclass(frozen=True, slots=True)
class Relief:
    """What a turn is spared."""

    bias: float = 0.0
    """Log-odds to add to the long decision token, 0 or less."""
    share: float = 1.0
    """The part of the usual longest thought that a think block may take."""


NONE = Relief()


def _nobody_waits(_: int | None) -> float | None:
    return None


class LoadRelief:
    """What turns are spared while requests wait. It is used from one thread.

    `max_bias`: log-odds by which long is made less likely at most; 0 spares nothing. `slo_seconds`: the time to the first token
    that is to be kept.
    """

    def __init__(self, max_bias: float, slo_seconds: float) -> None:
        self._max_bias = max_bias
        self._slo_seconds = slo_seconds
        self._first_tokens = deque[float](maxlen=LATEST)
        self._thoughts = deque[int](maxlen=LATEST)
        self.expected_wait: Callable[[int | None], float | None] = _nobody_waits
        """Returns the seconds that a request of a priority would wait if it came now, None for the worst priority; None if
        nobody waits."""

    @classmethod
    def of(cls, settings: Settings) -> "LoadRelief":
        """Return the relief of the settings. Raises AutoToolError where requests would be refused before it has any effect."""
        if settings.max_load_bias and settings.slo_first_token > settings.max_queue_seconds:
            raise AutoToolError(
                f"Setting slo_first_token: it is {settings.slo_first_token:g}, and with a max_queue_seconds of "
                f"{settings.max_queue_seconds:g} requests are refused before thoughts are at their shortest. Set it no higher."
            )
        return cls(settings.max_load_bias, settings.slo_first_token)

    def pressure(self, priority: int | None = None) -> float:
        """Return the expected time to the first token of a request of a priority, in parts of the one that is to be kept."""
        wait = self.expected_wait(priority)
        if wait is None:
            return 0.0
        return (wait + (_high(self._first_tokens) or 0.0)) / self._slo_seconds

    def relief(self, priority: int | None = None) -> Relief:
        """Return what a turn is spared that begins now; for all priorities, what those of the worst are spared."""
        pressure = self.pressure(priority) if self._max_bias else 0.0
        if pressure <= BEGINS:
            return NONE
        bias = -self._max_bias * min((pressure - BEGINS) / (BIAS_SPENT - BEGINS), 1.0)
        shortened = min(max((pressure - BIAS_SPENT) / (1 - BIAS_SPENT), 0.0), 1.0)
        return Relief(bias, 1 - shortened * (1 - LEAST_SHARE))

    def budget(self, limit: int, share: float) -> int:
        """Return the limit of a think block that may take a share of the usual longest thought, or of its own lower limit."""
        usual = _high(self._thoughts)
        return math.ceil(share * (limit if usual is None else min(limit, usual)))

    def ended(self, share: float, thought: int, first_token_seconds: float | None) -> None:
        """Follow the end of a turn, with the tokens of its thought, to which a share of the usual longest one was left."""
        if first_token_seconds is None:
            return
        self._first_tokens.append(first_token_seconds)
        if thought and share == 1:  # else what is usual would shrink with what is left of it
            self._thoughts.append(thought)


UNRELIEVED = LoadRelief(0, 1)
"""Spares nothing, and what it is told has no effect on others: for turns that are nobody's."""


def _high(values: "deque[float] | deque[int]") -> float | None:
    """Return the 99th percentile, by the nearest rank; None without values."""
    return sorted(values)[math.ceil(QUANTILE * len(values)) - 1] if values else None
