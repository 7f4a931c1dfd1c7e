"""An accepted request: its choices, run side by side, and what they used."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Literal

from autotool_core.modes import Mode, ResolvedMode
from autotool_core.record import DecisionRecord, Timings
from autotool_server.conversation.choice import Choice, Generation, Output
from autotool_server.conversation.ledger import Ledger
from autotool_server.engines.base import Sampling

ChoiceOutput = tuple[Choice[Generation], Output]


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens of a whole request: of every turn of every choice. The prompt is charged once, whatever the number of choices."""

    prompt: int
    """Reused and new tokens of the prompt, the injected ones included."""
    completion: int
    """Every decoded token."""
    cached: int
    """Those of the prompt that the engine's prefix cache held."""
    reasoning: int
    """Those decoded inside a think block."""


@dataclass(slots=True)
class QueueTimes:
    """When a request waited in the queue to be admitted, as `time.perf_counter`."""

    began: float | None = None
    ended: float | None = None
    """None for one that has not been admitted."""

    @property
    def seconds(self) -> float:
        """How long it waited to be admitted; 0 if it has not been."""
        return self.ended - self.began if self.ended is not None and self.began is not None else 0.0


@dataclass(frozen=True, slots=True)
class Job:
    """A request that was accepted: one `Choice` per answer. All of a conversation have the same prompt."""

    id: str
    model: str
    mode: Mode | None
    """None for plain text."""
    choices: Sequence[Choice[Generation]]
    ignored: tuple[str, ...] = ()
    """Parts of the request that were left out."""
    effort: str | None = None
    """The reasoning effort that the request named."""
    num_prompts: int = 1
    """Number of prompts; the choices of a prompt follow each other."""
    sampling: Sampling = field(default_factory=Sampling)
    """How tokens are drawn: what the request asked for, and the server's defaults for what it left out."""
    priority: int = 0
    """Lower is run earlier."""
    kind_without_mode: Literal["plain", "decision", "quote"] = "plain"
    """What a job without a mode is: plain text, a decision, or a quote."""
    at_once: int | None = None
    """Choices that it has in the engine at once; None for all of them."""
    queued: QueueTimes = field(default_factory=QueueTimes)
    arrived_at: float = field(default_factory=time.perf_counter)
    """When the request arrived, as `time.perf_counter`."""

    @property
    def turns(self) -> list[Generation]:
        """Every turn of every choice."""
        return [turn for choice in self.choices for turn in choice.turns]

    @property
    def charged_turns(self) -> list[Generation]:
        """The turns whose prompt is charged: those of one choice of each prompt."""
        return [turn for choice in self.choices[:: len(self.choices) // self.num_prompts] for turn in choice.turns]

    @property
    def num_choices(self) -> int:
        """Number of choices that the engine decodes side by side."""
        return len(self.choices) if self.at_once is None else min(self.at_once, len(self.choices))

    @property
    def kind(self) -> str:
        """What it counts as where requests are told apart: its mode, else what it is without one."""
        return self.mode.value if self.mode is not None else self.kind_without_mode

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompts, each once."""
        return sum(turn.prompt_tokens for turn in self.charged_turns)

    @property
    def reserved_tokens(self) -> int:
        """Tokens that the request may use in its first turns: the prompt and the limits of what is decoded."""
        return self.prompt_tokens + sum(turn.max_new_tokens for turn in self.turns)

    @property
    def may_think(self) -> bool:
        """Whether an answer thinks or may decide to: in `long`, and in `auto` unless its latest turn was decided short."""
        latest = [choice.turns[-1] for choice in self.choices]
        undecided = self.mode is Mode.AUTO and any(turn.p_long is None for turn in latest)
        return undecided or any(turn.resolved is ResolvedMode.LONG for turn in latest)

    @property
    def decodes_one_token(self) -> bool:
        """Whether the request is over with one token, besides that of a decision."""
        return len(self.choices) == 1 and self.choices[0].transcript is None and self.turns[0].max_decoded_tokens <= 1

    def usage(self) -> TokenUsage:
        """Return the tokens used so far."""
        return TokenUsage(
            prompt=sum(turn.prompt_tokens for turn in self.charged_turns),
            completion=sum(turn.ledger.completion_tokens for turn in self.turns),
            cached=sum(turn.ledger.cached_tokens for turn in self.charged_turns),
            reasoning=sum(turn.ledger.reasoning_tokens for turn in self.turns),
        )

    def timings(self) -> Timings:
        """Return where the time has gone so far."""
        first = [turn.ledger.first_token_at for turn in self.turns if turn.ledger.first_token_at is not None]
        return Timings(
            queue=self.queued.seconds if self.queued.ended is not None else None,
            decide=self._longest(lambda ledger: ledger.decide_seconds),
            first_token=min(first) - self.arrived_at if first else None,
            reasoning=self._longest(lambda ledger: ledger.reasoning_seconds),
            total=time.perf_counter() - self.arrived_at,
        )

    def _longest(self, seconds: Callable[[Ledger], float | None]) -> float | None:
        """Return the sum of the turns of that choice whose sum is largest; None where no turn has any."""
        of_choices = [[seconds(turn.ledger) for turn in choice.turns] for choice in self.choices]
        sums = [sum(filter(None, of_turns)) for of_turns in of_choices if any(of_turns)]
        return max(sums, default=None)

    def record(self, *, shows_reasoning: bool = True) -> dict[str, Any]:
        """Return the decision record as JSON values; without the transcript's reasoning where the client wants none."""
        first = self.choices[0]
        turns = [record for choice in self.choices for record in choice.records()]
        record = DecisionRecord(
            mode=self.mode,
            turns=turns,
            stop_reason=first.stop_reason,
            transcript=_transcript(first.transcript, shows_reasoning),
            effort=self.effort,
            ignored=[*self.ignored],
            pending_calls=first.pending_calls,
            timings=self.timings(),
        )
        loop_only = set[str]() if first.transcript is not None else {"stop_reason", "transcript"}
        absent = {name for name in ("effort", "ignored", "pending_calls") if not getattr(record, name)}
        dumped = record.model_dump(mode="json", exclude=loop_only | absent)
        return dumped | {"timings": {name: round(value, 6) for name, value in dumped["timings"].items() if value is not None}}

    async def run(self) -> AsyncGenerator[ChoiceOutput]:
        """Yield the outputs of all choices in the order in which they come. Closing the generator ends all of them."""
        if len(self.choices) == 1:
            async with aclosing(self.choices[0].run()) as outputs:
                async for output in outputs:
                    yield self.choices[0], output
            return
        async with aclosing(_merged(self.choices)) as merged:
            async for choice, output in merged:
                yield choice, output


def _transcript(messages: list[dict[str, Any]] | None, shows_reasoning: bool) -> list[dict[str, Any]] | None:
    if messages is None or shows_reasoning:
        return messages
    return [{name: value for name, value in message.items() if name != "reasoning"} for message in messages]


async def _merged(choices: Sequence[Choice[Generation]]) -> AsyncGenerator[ChoiceOutput]:
    queue = asyncio.Queue[ChoiceOutput | Exception | None](maxsize=len(choices))
    tasks = [asyncio.create_task(_relay(choice, queue)) for choice in choices]
    try:
        running = len(choices)
        while running:
            item = await queue.get()
            if isinstance(item, Exception):
                raise item
            if item is None:
                running -= 1
            else:
                yield item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _relay(choice: Choice[Generation], queue: asyncio.Queue[ChoiceOutput | Exception | None]) -> None:
    try:
        async with aclosing(choice.run()) as outputs:
            async for output in outputs:
                await queue.put((choice, output))
    except Exception as error:
        await queue.put(error)
    else:
        await queue.put(None)
