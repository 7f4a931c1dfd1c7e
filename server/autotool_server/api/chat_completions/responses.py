"""From turn outputs to OpenAI's answers: one JSON object, or chunks. Both are made from the same events."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion
from openai.types.completion_usage import CompletionTokensDetails, PromptTokensDetails

from autotool_core.parsing.events import ContentDelta, Event, ReasoningDelta, ToolCallArguments, ToolCallEnd, ToolCallStart
from autotool_core.record import DecisionRecord
from autotool_core.tokenizer import Tokenizer
from autotool_server.api.token_bytes import token_bytes
from autotool_server.conversation.service import ChatJob
from autotool_server.conversation.tool_loop import Conversation, Notice, Output
from autotool_server.conversation.transcript import BETWEEN_TURNS
from autotool_server.conversation.turn import TurnOutput
from autotool_server.engines.base import TokenLogprob

REASONING_NAMES = {
    "both": ("reasoning", "reasoning_content"),
    "reasoning": ("reasoning",),
    "reasoning_content": ("reasoning_content",),
}


def usage(job: ChatJob) -> CompletionUsage:
    """Tokens of the whole request: of every turn; the prompt is charged once, whatever `n` is."""
    prompt = sum(turn.prompt_tokens for turn in job.charged_turns)
    completion = sum(turn.ledger.completion_tokens for turn in job.turns)
    cached = sum(turn.ledger.cached_tokens for turn in job.charged_turns)
    reasoning = sum(turn.ledger.reasoning_tokens for turn in job.turns)
    return CompletionUsage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=cached),
        completion_tokens_details=CompletionTokensDetails(reasoning_tokens=reasoning),
    )


def record(job: ChatJob) -> dict[str, Any]:
    """The `autotool` object of an answer."""
    turns = [turn for conversation in job.choices for turn in conversation.records()]
    first = job.choices[0]
    told = DecisionRecord(mode=job.mode, turns=turns, stop_reason=first.stop_reason, transcript=first.transcript)
    return told.model_dump(mode="json", exclude=set() if first.transcript is not None else {"stop_reason", "transcript"})


@dataclass(slots=True)
class _Choice:
    reasoning: list[str] = field(default_factory=list[str])
    content: list[str] = field(default_factory=list[str])
    calls: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    logprobs: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    kept: tuple[int, int] = (0, 0)
    """How much of `content` and `logprobs` is of earlier turns."""
    separated: bool = False
    """Whether the next text begins with a separator from a text that was dropped."""

    def end_turn(self, *, dropped: bool) -> None:
        """Go on to the next turn. One that is decoded again is dropped, since the transcript does not have it either."""
        if dropped:
            content, logprobs = self.kept
            self.separated |= len(self.content) > content == 0
            del self.content[content:], self.logprobs[logprobs:]
        self.kept = len(self.content), len(self.logprobs)

    def add(self, event: Event) -> None:
        match event:
            case ReasoningDelta(text):
                self.reasoning.append(text)
            case ContentDelta(text):
                self.content.append(text.removeprefix(BETWEEN_TURNS) if self.separated else text)
                self.separated = False
            case ToolCallStart(_, name, call_id):
                self.calls.append({"id": call_id, "type": "function", "function": {"name": name, "arguments": ""}})
            case ToolCallArguments(index, text):
                self.calls[index]["function"]["arguments"] += text
            case ToolCallEnd():
                pass


class CompletionBuilder:
    """Collects a job's outputs into one `chat.completion` object."""

    def __init__(self, job: ChatJob, tokenizer: Tokenizer, reasoning_fields: str) -> None:
        self._job = job
        self._names = REASONING_NAMES[reasoning_fields]
        self._tokenizer = tokenizer
        self._choices = [_Choice() for _ in job.choices]

    def add(self, choice: int, output: Output) -> None:
        """Take in what a choice's next tokens meant, or that its turn has ended."""
        collected = self._choices[choice]
        if isinstance(output, Notice):
            if output.event == "turn":
                collected.end_turn(dropped=output.data["escalated"] is not None)
            return
        for event in output.events:
            collected.add(event)
        collected.logprobs += logprob_entries(output.logprobs, self._tokenizer)

    def build(self) -> ChatCompletion:
        """The answer. Call when every turn has ended."""
        return ChatCompletion.model_validate(
            {
                "id": self._job.id,
                "object": "chat.completion",
                "created": int(time.time()),
                "model": self._job.model,
                "choices": [self._choice(conversation) for conversation in self._job.choices],
                "usage": usage(self._job),
                "autotool": record(self._job),
            }
        )

    def _choice(self, conversation: Conversation) -> dict[str, Any]:
        collected = self._choices[conversation.choice]
        reasoning = "".join(collected.reasoning) or None
        message: dict[str, Any] = {"role": "assistant", **dict.fromkeys(self._names, reasoning)}
        message["content"] = "".join(collected.content) or (None if collected.calls else "")
        if collected.calls:
            message["tool_calls"] = collected.calls
        logprobs = {"content": collected.logprobs} if conversation.turns[0].request.logprobs is not None else None
        finish = conversation.finish_reason
        return {"index": conversation.choice, "message": message, "finish_reason": finish, "logprobs": logprobs}


class ChunkWriter:
    """Writes a job's outputs as server-sent `chat.completion.chunk` events.

    Chunks are put together from JSON text, since validating one of OpenAI's types for every token would cost more than
    all else that the server does for it; the tests read every kind of chunk back as that type.
    """

    def __init__(self, job: ChatJob, tokenizer: Tokenizer, reasoning_fields: str) -> None:
        self._job = job
        self._names = REASONING_NAMES[reasoning_fields]
        self._tokenizer = tokenizer
        head = {"id": job.id, "object": "chat.completion.chunk", "created": int(time.time()), "model": job.model}
        self._head = f"data: {json.dumps(head)[:-1]}, "

    def start(self, choice: int) -> str:
        """The first chunk of a choice."""
        return self._chunk(choice, {"role": "assistant", "content": ""})

    def output(self, choice: int, output: TurnOutput) -> str:
        """The chunks of an output; its log-probabilities go with the first, or alone where the text is held back."""
        logprobs = logprob_entries(output.logprobs, self._tokenizer)
        chunks: list[str] = []
        for event in output.events:
            if delta := self._delta(event):
                chunks.append(self._chunk(choice, delta, logprobs=logprobs))
                logprobs = []
        if logprobs:
            chunks.append(self._chunk(choice, {"content": ""}, logprobs=logprobs))
        return "".join(chunks)

    def notice(self, notice: Notice) -> str:
        """A chunk without choices, which clients pass over that do not know its `autotool` event."""
        event = json.dumps({"event": notice.event, **notice.data})
        return f'{self._head}"choices": [], "autotool": {event}}}\n\n'

    def finish(self, conversation: Conversation, *, last: bool) -> str:
        """The chunk with a choice's finish reason; the last one of the job carries the decision record."""
        told = {"autotool": record(self._job)} if last else {}
        return self._chunk(conversation.choice, {}, finish=conversation.finish_reason, extra=told)

    def end(self) -> str:
        """The usage, if it was asked for, and the end of the stream."""
        done = "data: [DONE]\n\n"
        if not self._job.include_usage:
            return done
        counted = json.dumps(usage(self._job).model_dump(exclude_none=True))
        return f'{self._head}"choices": [], "usage": {counted}}}\n\n{done}'

    def _delta(self, event: Event) -> dict[str, Any]:
        match event:
            case ContentDelta(text):
                return {"content": text}
            case ReasoningDelta(text):
                return dict.fromkeys(self._names, text)
            case ToolCallStart(index, name, call_id):
                function = {"name": name, "arguments": ""}
                return {"tool_calls": [{"index": index, "id": call_id, "type": "function", "function": function}]}
            case ToolCallArguments(index, text):
                return {"tool_calls": [{"index": index, "function": {"arguments": text}}]}
            case ToolCallEnd():
                return {}

    def _chunk(
        self,
        choice: int,
        delta: dict[str, Any],
        *,
        finish: str | None = None,
        logprobs: Sequence[dict[str, Any]] = (),
        extra: dict[str, Any] | None = None,
    ) -> str:
        rest = {"logprobs": {"content": logprobs} if logprobs else None, "finish_reason": finish}
        tail = f", {json.dumps(extra)[1:-1]}" if extra else ""
        return f'{self._head}"choices": [{{"index": {choice}, "delta": {json.dumps(delta)}, {json.dumps(rest)[1:]}]{tail}}}\n\n'


def logprob_entries(logprobs: Sequence[TokenLogprob], tokenizer: Tokenizer) -> list[dict[str, Any]]:
    """Log-probabilities in OpenAI's form: `token` is the token's text by itself, `bytes` what it adds to the UTF-8."""
    return [
        {**_token(entry.token_id, entry.logprob, tokenizer), "top_logprobs": [_token(*top, tokenizer) for top in entry.top]}
        for entry in logprobs
    ]


def _token(token_id: int, logprob: float, tokenizer: Tokenizer) -> dict[str, Any]:
    # By the backend, as the content is decoded: the tokenizer itself may drop spaces.
    text = tokenizer.backend_tokenizer.decode([token_id], skip_special_tokens=False)
    return {"token": text, "logprob": max(logprob, -9999.0), "bytes": token_bytes(token_id, text, tokenizer)}
