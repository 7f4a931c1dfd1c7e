"""Token counts and times of a turn."""

import time
from dataclasses import dataclass, field

from autotool_core.parsing.stream import Section
from autotool_core.record import TurnRecord


@dataclass(slots=True)
class Ledger:
    """Counts and times, kept while the turn runs, so that a turn that is cut short is accounted for too."""

    injected_tokens: int = 0
    decision_tokens: int = 0
    reasoning_tokens: int = 0
    content_tokens: int = 0
    cached_tokens: int = 0
    started_at: float = 0.0
    """As `time.perf_counter`, like the other times."""
    first_token_at: float | None = None
    first_content_at: float | None = None
    last_token_at: float | None = None
    tool_calls: list[str] = field(default_factory=list[str])
    """Names of the called tools, in order."""

    @property
    def completion_tokens(self) -> int:
        """Every decoded token."""
        return self.decision_tokens + self.reasoning_tokens + self.content_tokens

    @property
    def first_token_seconds(self) -> float | None:
        """Time until the first token, which may be the decision; None without one."""
        return self.first_token_at - self.started_at if self.first_token_at is not None else None

    @property
    def decide_seconds(self) -> float | None:
        """Time until the decision; None without one."""
        return self.first_token_seconds if self.decision_tokens else None

    @property
    def reasoning_seconds(self) -> float | None:
        """Time from the first token, which may be the decision, to the end of the think block; None without one."""
        end = self.first_content_at or self.last_token_at
        return end - self.first_token_at if self.reasoning_tokens and end and self.first_token_at else None

    def count(self, section: Section, tokens: int) -> None:
        """Charge decoded tokens to the section in which they were decoded."""
        if section is Section.REASONING:
            self.reasoning_tokens += tokens
        else:
            self.content_tokens += tokens

    def note_time(self, *, content: bool) -> None:
        """Note that tokens arrived."""
        now = self.last_token_at = time.perf_counter()
        self.first_token_at = self.first_token_at or now
        if content:
            self.first_content_at = self.first_content_at or now


def record_without_mode(choice: int, prompt_tokens: int, ledger: Ledger) -> TurnRecord:
    """Return the part of the decision record of a turn that has no mode, such as plain text."""
    return TurnRecord(
        choice=choice,
        resolved=None,
        decided_by="request",
        p_long=None,
        reasoning_bias=0.0,
        prefix_tokens=0,
        decision_tokens=0,
        reasoning_tokens=0,
        content_tokens=ledger.content_tokens,
        reasoning_truncated=False,
        tool_calls=[],
        prompt_tokens=prompt_tokens,
        cached_tokens=ledger.cached_tokens,
    )
