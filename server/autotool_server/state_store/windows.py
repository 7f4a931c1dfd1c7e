"""Whether a request fits into the limits of its key, and how long it must wait if not.

A minute is a sliding window: what was used in the minute before counts by the part of it that is not yet 60 seconds ago
(https://blog.cloudflare.com/counting-things-a-lot-of-different-things/). Days and months are those of UTC.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

MINUTE = 60.0
IN_FLIGHT_WAIT = 5.0
"""Seconds to wait, where the limit is only reached by what other requests may still use."""

Period = Literal["minute", "day", "month"]
Budget = Literal["day", "month"]
Limit = Literal["requests_per_minute", "tokens_per_minute", "tokens_per_day", "tokens_per_month"]


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a key; none where a value is None or a period is missing."""

    requests_per_minute: int | None = None
    tokens: Mapping[Period, int] = field(default_factory=dict[Period, int])

    @property
    def budgets(self) -> "Limits":
        """The limits of a day and a month alone."""
        return Limits(tokens={period: limit for period, limit in self.tokens.items() if period != "minute"})


@dataclass(frozen=True, slots=True)
class Window:
    """What was used in this minute and in the one before."""

    current: int = 0
    previous: int = 0

    def used(self, elapsed: float) -> float:
        """Return what was used in the last 60 seconds, `elapsed` seconds after the minute began."""
        return self.current + self.previous * (1 - elapsed / MINUTE)

    def wait(self, elapsed: float, most: float) -> float:
        """Return the seconds until no more than `most`, 0 or more, is used."""
        if self.used(elapsed) <= most:
            return 0.0
        if self.current <= most:
            return (1 - (most - self.current) / self.previous) * MINUTE - elapsed
        return MINUTE - elapsed + (1 - most / self.current) * MINUTE


@dataclass(frozen=True, slots=True)
class Spent:
    """What a key has used, on all servers that share the store."""

    requests: Window = Window()
    minute: Window = Window()
    """Tokens."""
    day: int = 0
    month: int = 0
    reserved: int = 0
    """Tokens that requests in flight may still use."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How much of a limit is left, and the seconds until all of it is."""

    limit: int
    remaining: int
    reset: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request may go on."""

    refused_by: Limit | None = None
    wait: float = 0.0
    """Seconds until it may be sent again."""
    requests: Standing | None = None
    tokens: Standing | None = None
    """The standing in the shortest period that has a limit."""
    minute: int = 0
    """The minute, from the Unix epoch, whose requests this one is counted among if it goes on."""
    exhausted_for: float = 0.0
    """Seconds for which the limit that refuses would refuse the smallest request too, even if those in flight use nothing."""


def decide(limits: Limits, spent: Spent, tokens: int, now: float, requests: int = 1) -> tuple[Verdict, Spent]:
    """Return whether what may use `tokens` fits, and what is spent with it. `now`: Unix time.

    `requests`: 1 for a request, 0 for a further turn of one that goes on.
    """
    waits: dict[Limit, float] = {limit: wait for limit, wait in _waits(limits, spent, tokens, now) if wait > 0}
    if waits:
        limit: Limit = max(waits, key=lambda name: waits[name])
        exhausted_for = dict(_waits(limits, replace(spent, reserved=0), 1, now)).get(limit, 0.0)
        return replace(_verdict(limits, spent, now), refused_by=limit, wait=waits[limit], exhausted_for=exhausted_for), spent
    window = replace(spent.requests, current=spent.requests.current + requests)
    spent = replace(spent, requests=window, reserved=spent.reserved + tokens)
    return _verdict(limits, spent, now), spent


def _waits(limits: Limits, spent: Spent, tokens: int, now: float) -> Iterator[tuple[Limit, float]]:
    """Yield the seconds to wait for each limit."""
    elapsed = now % MINUTE
    if limits.requests_per_minute is not None:
        yield "requests_per_minute", spent.requests.wait(elapsed, limits.requests_per_minute - 1)
    if (minute := limits.tokens.get("minute")) is not None:
        most = max(minute - tokens, 0)
        window = replace(spent.minute, current=spent.minute.current + spent.reserved)
        # What requests in flight may use is free again as soon as they end without it.
        yield "tokens_per_minute", min(window.wait(elapsed, most), max(spent.minute.wait(elapsed, most), IN_FLIGHT_WAIT))
    for period, name, used in _budgets(spent):
        limit = limits.tokens.get(period)
        if limit is not None and used + spent.reserved + tokens > limit:
            fits_later = used + tokens <= limit
            yield name, IN_FLIGHT_WAIT if fits_later else _end(period, now) - now


def _budgets(spent: Spent) -> tuple[tuple[Budget, Limit, int], ...]:
    """Return the periods of budgets, each with the name of its limit and the tokens used in it."""
    return ("day", "tokens_per_day", spent.day), ("month", "tokens_per_month", spent.month)


def _verdict(limits: Limits, spent: Spent, now: float) -> Verdict:
    """Return the verdict on a request that fits."""
    requests = limits.requests_per_minute
    standing = None if requests is None else _of_window(requests, spent.requests, now)
    return Verdict(requests=standing, tokens=_tokens(limits, spent, now), minute=int(now // MINUTE))


def _tokens(limits: Limits, spent: Spent, now: float) -> Standing | None:
    if (minute := limits.tokens.get("minute")) is not None:
        return _of_window(minute, replace(spent.minute, current=spent.minute.current + spent.reserved), now)
    for period, _, used in _budgets(spent):
        if (limit := limits.tokens.get(period)) is not None:
            return Standing(limit, max(limit - used - spent.reserved, 0), _end(period, now) - now)
    return None


def _of_window(limit: int, window: Window, now: float) -> Standing:
    elapsed = now % MINUTE
    return Standing(limit, max(int(limit - window.used(elapsed)), 0), window.wait(elapsed, 0))


def day_of(now: float) -> datetime:
    """Return the beginning of a moment's day."""
    return datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _end(period: Budget, now: float) -> float:
    """Return the Unix time of the end of the day or the month."""
    day = day_of(now)
    following = day + timedelta(days=1) if period == "day" else (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    return following.timestamp()
