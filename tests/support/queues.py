"""What the queue before the engine knows of a job, and its clock."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from autotool_server.conversation.job import QueueTimes, TokenUsage


@dataclass
class FakeJob:
    """What the queue knows of a job."""

    prompt_tokens: int = 10
    limit: int = 90
    num_choices: int = 1
    priority: int = 0
    kind: str = "short"
    decodes_one_token: bool = False
    is_decided_short: bool = False
    used: TokenUsage = field(default_factory=lambda: TokenUsage(0, 0, 0, 0))
    queued: QueueTimes = field(default_factory=QueueTimes)

    def __post_init__(self) -> None:
        turn = SimpleNamespace(prompt_tokens=self.prompt_tokens, max_new_tokens=self.limit)
        self.choices = [SimpleNamespace(turns=[turn], on_next_turn=None) for _ in range(self.num_choices)]

    @property
    def may_think(self) -> bool:
        return self.kind == "long" or (self.kind == "auto" and not self.is_decided_short)

    @property
    def turns(self) -> list[Any]:
        return [turn for choice in self.choices for turn in choice.turns]

    def usage(self) -> TokenUsage:
        return self.used


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now
