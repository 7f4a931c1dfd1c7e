"""An answer as it is streamed: its texts, its calls and its decision record."""

import time
from dataclasses import dataclass, field
from typing import Any, cast

from openai.types import CompletionUsage
from openai.types.chat import ChatCompletionAssistantMessageParam, ChatCompletionChunk, ChatCompletionMessageParam

from autotool_client.chat.screen import CallEnd, CallStart, Screen
from autotool_client.record import DecisionRecord, PendingCall, TurnRecord, reasoning, record


class AssistantMessage(ChatCompletionAssistantMessageParam, total=False):
    """An answer in the history; its reasoning is sent back too, so that the server finds its prompt in the cache."""

    reasoning_content: str


@dataclass(slots=True)
class StreamedAnswer:
    """The part of an answer that one request has streamed."""

    reasoning: str = ""
    content: str = ""
    finish_reason: str | None = None
    usage: CompletionUsage | None = None
    record: DecisionRecord | None = None
    called: list[str] = field(default_factory=list[str])
    """Names of the server tools that have been called."""
    started: float = field(default_factory=time.monotonic)
    seconds: float = 0.0

    def read(self, chunk: ChatCompletionChunk, screen: Screen) -> None:
        """Read a chunk of the stream and show what is in it."""
        self.seconds = time.monotonic() - self.started
        self.usage = chunk.usage or self.usage
        self.record = record(chunk) or self.record
        for choice in chunk.choices:
            self.finish_reason = choice.finish_reason or self.finish_reason
            self._read_texts(reasoning(choice.delta) or "", choice.delta.content or "", screen)
        event = getattr(chunk, "autotool", None)
        if isinstance(event, dict) and "event" in event:
            self._read_event(cast("dict[str, Any]", event), screen)

    def _read_texts(self, reasoning_text: str, content: str, screen: Screen) -> None:
        self.reasoning += reasoning_text
        self.content += content
        screen.reasoning(reasoning_text)
        screen.content(content)

    def _read_event(self, event: dict[str, Any], screen: Screen) -> None:
        match event["event"]:
            case "tool_started":
                self.called.append(event["name"])
                screen.call_started(_call(event))
            case "tool_result":
                screen.call_ended(CallEnd(_call(event), event["outcome"], event["seconds"], event["content"]))
            case "turn":
                screen.turn_ended()
            case _:
                pass  # of a newer server

    @property
    def pending(self) -> list[PendingCall]:
        """The calls that wait for the user's approval."""
        return self.record.pending_calls if self.record else []

    def messages(self) -> list[ChatCompletionMessageParam]:
        """Return the answer as messages of the next request's history."""
        if self.record and self.record.transcript:
            return cast("list[ChatCompletionMessageParam]", self.record.transcript)
        message = AssistantMessage(role="assistant", content=self.content)
        if self.reasoning:
            message["reasoning_content"] = self.reasoning
        return [message]


def _call(event: dict[str, Any]) -> CallStart:
    return CallStart(event["id"], event["name"], event["arguments"])


def summary(answers: list[StreamedAnswer]) -> str:
    """Return the modes, who decided, tokens and seconds of an answer in one line; several requests may have made it."""
    turns = [turn for answer in answers if answer.record for turn in answer.record.turns]
    parts = _turns(turns) if turns else _tokens(answers[-1].usage)
    if answers[-1].finish_reason == "length":
        parts.append("cut off at the token limit")
    return " · ".join([*parts, f"{sum(answer.seconds for answer in answers):.1f} s"])


def _turns(turns: list[TurnRecord]) -> list[str]:
    probabilities = [f"p_long {turn.p_long:.2f}" for turn in turns if turn.p_long is not None]
    decided = ", ".join(dict.fromkeys(f"decided by {turn.decided_by}" for turn in turns))
    reasoning_tokens = sum(turn.reasoning_tokens for turn in turns)
    cut = " (cut)" if any(turn.reasoning_truncated for turn in turns) else ""
    content_tokens = sum(turn.content_tokens for turn in turns)
    return [
        ", ".join(str(turn.resolved) for turn in turns),
        decided,
        *probabilities,
        f"{reasoning_tokens} reasoning{cut} + {content_tokens} content tokens",
    ]


def _tokens(usage: CompletionUsage | None) -> list[str]:
    return [f"{usage.completion_tokens} tokens"] if usage else []
