"""What is expected of requests, by what was seen of others before: how much they take, and how fast they end."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from autotool_server.conversation.job import Job, TokenUsage

WEIGHT = 1 / 16
"""Part of the newest request in the means."""
MEMORY_SECONDS = 120.0
"""Time in which what was measured of the throughput loses most of its weight."""
MIN_ENDS = 32
"""Requests that must have ended before the throughput counts as measured; fewer where fewer run at once."""


@dataclass(frozen=True, slots=True)
class _Typical:
    """Means over the requests of a mode, or of a kind without one."""

    decoded: float = math.inf
    """Tokens of a choice."""
    fresh: float = 1.0
    """Part of the prompt that was not in the engine's cache."""

    def with_one_more(self, decoded: float, fresh: float) -> "_Typical":
        if self.decoded == math.inf:
            return _Typical(decoded, fresh)
        return _Typical(self.decoded + WEIGHT * (decoded - self.decoded), self.fresh + WEIGHT * (fresh - self.fresh))


class TypicalUse:
    """What requests take of the engine, by moving means for each mode, and for plain text and decisions.

    Clients send limits that they hardly ever use up, 32,000 tokens and more, and prompts whose longest part they share: an
    engine that reserved it all would stand half empty. Of many requests at once the sum is close to the sum of the means; what
    does not fit after all waits in the engine's own queue.
    """

    def __init__(self) -> None:
        self._of_kind: dict[str, _Typical] = {}

    def expected_tokens(self, job: Job) -> int:
        """Return the tokens that a job is expected to take: `Job.reserved_tokens` until one of its kind has ended.

        Then the part of the prompt that is usually not in the cache, and for each choice what is usually decoded, or its limit
        if that is less.
        """
        usual = self._of_kind.get(job.kind, _Typical())
        decoded = sum(min(turn.max_new_tokens, usual.decoded) for turn in job.turns)
        return math.ceil(job.prompt_tokens * usual.fresh + decoded)

    def relative_length(self, job: Job) -> float:
        """Return the tokens that the longest answer of a job is expected to have, in parts of the usual longest: 0 to 1.

        The usual longest are those of the mode, or of plain text or decisions, that decodes most; 0 before any has ended.
        """
        longest = max((usual.decoded for usual in self._of_kind.values()), default=math.inf)
        usual = self._of_kind.get(job.kind, _Typical())
        decoded = max(min(turn.max_new_tokens, usual.decoded) for turn in job.turns)
        return min(decoded / longest, 1.0)

    def note(self, job: Job, usage: TokenUsage) -> None:
        """Note what a job has taken, unless it never came to it."""
        if usage.completion and usage.prompt:
            before = self._of_kind.get(job.kind, _Typical())
            fresh = 1 - usage.cached / usage.prompt
            self._of_kind[job.kind] = before.with_one_more(usage.completion / len(job.choices), fresh)


class Throughput:
    """Tokens a second of requests that end, measured while others wait, with the newest having the most weight."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._tokens = 0.0
        self._seconds = 0.0
        self._num_ends = 0
        self._since: float | None = None

    def begin(self) -> None:
        """Measure from now on: somebody waits."""
        self._since = self._clock()

    def end(self) -> None:
        """Measure no longer: nobody waits."""
        self._advance()
        self._since = None

    def note(self, tokens: float) -> None:
        """Note the end of a request that was expected to take so many tokens."""
        if self._since is not None:
            self._advance()
            self._tokens += tokens
            self._num_ends += 1

    def rate(self, num_running: int) -> float | None:
        """Return the tokens a second; None before enough requests have ended."""
        self._advance()
        if self._num_ends < min(num_running, MIN_ENDS) or not self._tokens or not self._seconds:
            return None
        return self._tokens / self._seconds

    def _advance(self) -> None:
        if self._since is None:
            return
        now = self._clock()
        kept = math.exp((self._since - now) / MEMORY_SECONDS)
        self._tokens *= kept
        self._seconds = self._seconds * kept + MEMORY_SECONDS * (1 - kept)
        self._since = now
