"""Whether a key may ask for more now, and what the client is told of its limits.

Headers: https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers.
"""

import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from autotool_core.errors import InvalidRequestError
from autotool_server.api.keys.file import Key
from autotool_server.api.metrics import CLIENT_GONE, Metrics
from autotool_server.conversation.choice import Generation
from autotool_server.conversation.job import Job
from autotool_server.errors import RateLimitedError
from autotool_server.settings import Settings
from autotool_server.state_store.use import Use, UseByMode
from autotool_server.state_store.windows import Limits, Standing, Verdict

if TYPE_CHECKING:
    from autotool_server.api.keys.bookkeeper import Bookkeeper

LIMIT_HEADERS = tuple(f"x-ratelimit-{what}-{of}" for of in ("requests", "tokens") for what in ("limit", "remaining", "reset"))
MAX_REMEMBERED = 2.0
"""Seconds for which a refusal by requests a minute is remembered."""
"""What stands for the mode of plain text."""

_UNITS = {
    "requests_per_minute": "requests a minute",
    "tokens_per_minute": "tokens a minute",
    "tokens_per_day": "tokens a day",
    "tokens_per_month": "tokens a month",
}


class Grant:
    """What a request was let in with. At its end, what it has used is noted, and the rest of what it reserved given back.

    A request that is refused before it runs is not counted at all.
    """

    def __init__(self, headers: Mapping[str, str] | None = None) -> None:
        self.headers = headers or {}
        self.status: int | None = None
        """The status of the answer, once it is known."""

    def __enter__(self) -> "Grant":
        return self

    def __exit__(self, *_: object) -> None:
        """Note the end."""


class KeyGrant(Grant):
    """The grant of a request with a key of the keys file."""

    def __init__(self, quotas: "Quotas", books: "Bookkeeper", key: Key, job: Job, *, verdict: Verdict, tokens: int) -> None:
        super().__init__(_headers(verdict))
        self._quotas = quotas
        self._books = books
        self._key = key
        self._job = job
        self._verdict = verdict
        self._tokens = tokens
        if key.has_budget:
            for choice in job.choices:
                choice.before_next_turn = self._reserve

    def __exit__(self, *_: object) -> None:
        if not self._has_run and self.status != CLIENT_GONE:
            self._books.withdraw(self._key, self._tokens, self._verdict.minute)
            self._quotas.forget_refusal(self._key)
            return
        self._books.end(self._key, self._tokens, self._job.kind, self._use())

    async def _reserve(self, turn: Generation, earlier: Sequence[Generation]) -> None:
        """Reserve what a tool loop may use with its next turn. Raises RateLimitedError if the budget of its key has no room."""
        used = sum(past.prompt_tokens + past.ledger.completion_tokens for past in earlier)
        missing = used + turn.prompt_tokens + turn.max_new_tokens - self._tokens
        if missing > 0:
            await self._quotas.reserve(self._books, self._key, missing, is_further=True)
            self._tokens += missing

    @property
    def _has_run(self) -> bool:
        """Whether it has begun to run, or else the prompt is known, and was not decoded."""
        return self._job.queued.ended is not None and self.status is not None

    def _use(self) -> Use:
        """Return what was used: nothing where the engine failed or refused before it decoded anything."""
        usage = self._job.usage()
        is_charged = usage.completion > 0 or (self._has_run and self.status in (200, CLIENT_GONE))
        return Use(1, usage.prompt, usage.completion) if is_charged else Use(1)


class Quotas:
    """The limits of all keys. Raises AutoToolError if the address of the spend store is none."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._books = _open_books(settings, metrics)
        self._metrics = metrics
        self._in_flight = Counter[str]()
        self._refused_until: dict[str, tuple[Key, float, Verdict]] = {}

    @contextmanager
    def place(self, key: Key | None) -> Iterator[None]:
        """Hold one of the places of a key. Raises RateLimitedError if none is free, or if the key has nothing left.

        It is cheap, since it comes before the body is read.
        """
        if key is None:
            yield
            return
        self._refuse_if_exhausted(key)
        if key.concurrent_requests is not None and self._in_flight[key.name] >= key.concurrent_requests:
            self._metrics.limited.labels("concurrent_requests").inc()
            raise _too_many_at_once(key.concurrent_requests)
        self._in_flight[key.name] += 1
        try:
            yield
        finally:
            self._in_flight[key.name] -= 1

    async def admit(self, key: Key | None, job: Job) -> Grant:
        """Reserve what a job may use, and return what to send with its answer.

        Raises RateLimitedError if it does not fit now, InvalidRequestError if it never will, and StoreLostError.
        """
        if key is None or self._books is None:
            return Grant()
        is_limited = key.limits != Limits()
        tokens = job.reserved_tokens if is_limited else 0
        _check_size(key.limits, tokens)
        verdict = await self.reserve(self._books, key, tokens) if is_limited else Verdict()
        return KeyGrant(self, self._books, key, job, verdict=verdict, tokens=tokens)

    async def reserve(self, books: "Bookkeeper", key: Key, tokens: int, *, is_further: bool = False) -> Verdict:
        """Reserve tokens of a key. `is_further`: for a further turn of a request that was let in.

        Raises RateLimitedError if they do not fit now, and StoreLostError.
        """
        verdict = await books.ask(key, tokens, is_further=is_further)
        if verdict.refused_by is None:
            return verdict
        if (seconds := _remembered(verdict)) > 0:
            self._refused_until[key.name] = (key, time.monotonic() + seconds, verdict)
        raise self._refusal(key, verdict, verdict.wait)

    def forget_refusal(self, key: Key) -> None:
        """Ask the store again at the next request of a key: what it was refused for has been given back."""
        self._refused_until.pop(key.name, None)

    async def use(self, key: Key) -> tuple[UseByMode, UseByMode]:
        """Return what a key has used today and this month, by mode. Raises StoreLostError."""
        return await self._books.use(key) if self._books is not None else ({}, {})

    async def close(self) -> None:
        """Write what is left."""
        if self._books is not None:
            await self._books.close()

    @property
    def is_at_work(self) -> bool:
        """Whether a thread may still wait for the store after `close`."""
        return self._books is not None and self._books.is_at_work

    def _refuse_if_exhausted(self, key: Key) -> None:
        if (found := self._refused_until.get(key.name)) is None:
            return
        refused, until, verdict = found
        left = until - time.monotonic()
        if left > 0 and refused is key:
            raise self._refusal(key, verdict, left)
        del self._refused_until[key.name]

    def _refusal(self, key: Key, verdict: Verdict, wait: float) -> RateLimitedError:
        limit = verdict.refused_by or ""
        self._metrics.limited.labels(limit).inc()
        is_budget = limit in ("tokens_per_day", "tokens_per_month")
        kind = "insufficient_quota" if is_budget else limit.partition("_")[0]
        code = "insufficient_quota" if is_budget else "rate_limit_exceeded"
        seconds = max(math.ceil(wait), 1)
        text = f"This key may use {getattr(key, limit):,} {_UNITS[limit]} ({limit}). Try again in {_duration(seconds)}."
        return RateLimitedError(text, kind, code, {"Retry-After": str(seconds), **_headers(verdict)})


def _open_books(settings: Settings, metrics: Metrics) -> "Bookkeeper | None":
    if settings.keys is None:
        return None
    from autotool_server.api.keys.bookkeeper import Bookkeeper  # noqa: PLC0415 only those who have keys need the library

    return Bookkeeper(settings.spend_store, metrics)


def _remembered(verdict: Verdict) -> float:
    """Return the seconds in which a refusal holds without asking the store.

    Of requests a minute they are few: another server may have its request taken back meanwhile.
    """
    limit = MAX_REMEMBERED if verdict.refused_by == "requests_per_minute" else math.inf
    return min(verdict.exhausted_for, limit)


def _check_size(limits: Limits, tokens: int) -> None:
    """Raise InvalidRequestError for a request that may use more than its key ever may."""
    for period, limit in limits.tokens.items():
        if tokens > limit:
            raise InvalidRequestError(
                f"With its prompt and its limit of new tokens this request may use {tokens:,} tokens, and its key {limit:,} a "
                f"{period} (tokens_per_{period}). Ask for fewer.",
                code="request_too_large_for_key",
            )


def _too_many_at_once(limit: int) -> RateLimitedError:
    text = f"This key may have {limit:,} requests at once (concurrent_requests). Wait for one of them to end."
    return RateLimitedError(text, "requests", "rate_limit_exceeded", {"Retry-After": "1"})


def _headers(verdict: Verdict) -> dict[str, str]:
    parts = {"requests": verdict.requests, "tokens": verdict.tokens}
    return {name: value for of, standing in parts.items() if standing for name, value in _of_limit(of, standing).items()}


def _of_limit(of: str, standing: Standing) -> dict[str, str]:
    values = {"limit": str(standing.limit), "remaining": str(standing.remaining), "reset": _duration(math.ceil(standing.reset))}
    return {f"x-ratelimit-{what}-{of}": value for what, value in values.items()}


def _duration(seconds: int) -> str:
    """Return a time as OpenAI's headers have it, such as `6m0s`."""
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{seconds}s" if hours else f"{minutes}m{seconds}s" if minutes else f"{seconds}s"
