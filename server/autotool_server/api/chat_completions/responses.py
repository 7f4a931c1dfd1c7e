"""The way out: from a job's outputs to OpenAI's answers, one JSON object or chunks. Both are made from the same events."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion
from openai.types.completion_usage import CompletionTokensDetails, PromptTokensDetails

from autotool_core.parsing.events import ContentDelta, Event, ReasoningDelta, ToolCallArguments, ToolCallEnd, ToolCallStart
from autotool_core.tokenizer import Tokenizer
from autotool_server.api.protocol import ResponseBuilder, StreamWriter
from autotool_server.api.token_bytes import token_bytes
from autotool_server.conversation.choice import Choice, ChoiceEnd, Output, StreamEvent
from autotool_server.conversation.job import Job
from autotool_server.conversation.token_reader import TurnOutput
from autotool_server.conversation.transcript import TURN_SEPARATOR
from autotool_server.engines.base import TokenLogprob

REASONING_NAMES = {
    "both": ("reasoning", "reasoning_content"),
    "reasoning": ("reasoning",),
    "reasoning_content": ("reasoning_content",),
}


def usage(job: Job) -> CompletionUsage:
    """Return the tokens of the whole request as OpenAI's object."""
    used = job.usage()
    return CompletionUsage(
        prompt_tokens=used.prompt,
        completion_tokens=used.completion,
        total_tokens=used.prompt + used.completion,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=used.cached),
        completion_tokens_details=CompletionTokensDetails(reasoning_tokens=used.reasoning),
    )


@dataclass(slots=True)
class _Message:
    """The message of one choice, as far as it has come."""

    reasoning: list[str] = field(default_factory=list[str])
    content: list[str] = field(default_factory=list[str])
    calls: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    logprobs: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    kept: tuple[int, int] = (0, 0)
    """Lengths of `content` and `logprobs` at the end of the last turn."""
    drops_separator: bool = False
    """Whether the next text loses its separator, because the text before it was dropped."""

    def end_turn(self, *, dropped: bool) -> None:
        """Go on to the next turn. A turn that is decoded again is dropped, since the transcript does not have it either."""
        if dropped:
            content, logprobs = self.kept
            self.drops_separator |= len(self.content) > content == 0
            del self.content[content:], self.logprobs[logprobs:]
        self.kept = len(self.content), len(self.logprobs)

    def add(self, event: Event) -> None:
        match event:
            case ReasoningDelta(text):
                self.reasoning.append(text)
            case ContentDelta(text):
                self.content.append(text.removeprefix(TURN_SEPARATOR) if self.drops_separator else text)
                self.drops_separator = False
            case ToolCallStart(_, name, call_id):
                self.calls.append({"id": call_id, "type": "function", "function": {"name": name, "arguments": ""}})
            case ToolCallArguments(index, text):
                self.calls[index]["function"]["arguments"] += text
            case ToolCallEnd():
                pass


class CompletionBuilder(ResponseBuilder):
    """Collects a job's outputs into one `chat.completion` object."""

    def __init__(self, job: Job, tokenizer: Tokenizer, reasoning_fields: str, *, logprobs: bool) -> None:
        self._job = job
        self._names = REASONING_NAMES[reasoning_fields]
        self._tokenizer = tokenizer
        self._logprobs = logprobs
        self._messages = [_Message() for _ in job.choices]

    def add(self, choice: Choice, output: Output) -> None:
        message = self._messages[choice.index]
        match output:
            case StreamEvent("turn", data):
                message.end_turn(dropped=data["escalated"] is not None)
            case TurnOutput():
                for event in output.events:
                    message.add(event)
                message.logprobs += logprob_entries(output.logprobs, self._tokenizer)
            case _:
                pass

    def build(self) -> dict[str, Any]:
        completion = ChatCompletion.model_validate(
            {
                "id": self._job.id,
                "object": "chat.completion",
                "created": int(time.time()),
                "model": self._job.model,
                "choices": [self._choice(choice) for choice in self._job.choices],
                "usage": usage(self._job),
                "autotool": self._job.record(),
            }
        )
        return completion.model_dump(mode="json", exclude_unset=True)

    def _choice(self, choice: Choice) -> dict[str, Any]:
        collected = self._messages[choice.index]
        reasoning = "".join(collected.reasoning) or None
        message: dict[str, Any] = {"role": "assistant", **dict.fromkeys(self._names, reasoning)}
        message["content"] = "".join(collected.content) or (None if collected.calls else "")
        if collected.calls:
            message["tool_calls"] = collected.calls
        logprobs = {"content": collected.logprobs} if self._logprobs else None
        return {"index": choice.index, "message": message, "finish_reason": choice.finish_reason, "logprobs": logprobs}


class ChunkWriter(StreamWriter):
    """Writes a job's outputs as server-sent `chat.completion.chunk` events.

    Chunks are put together from JSON text, since validating one of OpenAI's types for every token would cost more than
    everything else that the server does for it; the tests read every kind of chunk back as that type.
    """

    def __init__(self, job: Job, tokenizer: Tokenizer, reasoning_fields: str, *, include_usage: bool) -> None:
        self._job = job
        self._names = REASONING_NAMES[reasoning_fields]
        self._tokenizer = tokenizer
        self._include_usage = include_usage
        self._started = set[int]()
        self._running = len(job.choices)
        head = {"id": job.id, "object": "chat.completion.chunk", "created": int(time.time()), "model": job.model}
        self._head = f"data: {json.dumps(head)[:-1]}, "

    def write(self, choice: Choice, output: Output) -> str:
        start = "" if choice.index in self._started else self._chunk(choice.index, {"role": "assistant", "content": ""})
        self._started.add(choice.index)
        match output:
            case TurnOutput():
                return start + self._turn_output(choice.index, output)
            case StreamEvent("tool_called"):
                return start
            case StreamEvent():
                return start + self._stream_event(output)
            case ChoiceEnd():
                return start + self._choice_end(choice.index, output.finish_reason)

    def end(self) -> str:
        done = "data: [DONE]\n\n"
        if not self._include_usage:
            return done
        counted = json.dumps(usage(self._job).model_dump(exclude_none=True))
        return f'{self._head}"choices": [], "usage": {counted}}}\n\n{done}'

    def _turn_output(self, index: int, output: TurnOutput) -> str:
        """Return the chunks of an output; its log-probabilities go with the first, or alone where the text is held back."""
        logprobs = logprob_entries(output.logprobs, self._tokenizer)
        chunks: list[str] = []
        for event in output.events:
            if delta := self._delta(event):
                chunks.append(self._chunk(index, delta, logprobs=logprobs))
                logprobs = []
        if logprobs:
            chunks.append(self._chunk(index, {"content": ""}, logprobs=logprobs))
        return "".join(chunks)

    def _stream_event(self, event: StreamEvent) -> str:
        """Return a chunk without choices, which clients ignore that do not know its `autotool` event."""
        data = json.dumps({"event": event.event, **event.data})
        return f'{self._head}"choices": [], "autotool": {data}}}\n\n'

    def _choice_end(self, index: int, finish_reason: str) -> str:
        """Return the chunk with a choice's finish reason; the job's last one carries the decision record."""
        self._running -= 1
        extra = {"autotool": self._job.record()} if self._running == 0 else None
        return self._chunk(index, {}, finish=finish_reason, extra=extra)

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
    """Return log-probabilities (nats) in OpenAI's form: `token` is the token's text, `bytes` its part of the UTF-8."""
    return [
        {**_token(entry.token_id, entry.logprob, tokenizer), "top_logprobs": [_token(*top, tokenizer) for top in entry.top]}
        for entry in logprobs
    ]


def _token(token_id: int, logprob: float, tokenizer: Tokenizer) -> dict[str, Any]:
    # By the backend, as the content is decoded: the tokenizer itself may drop spaces.
    text = tokenizer.backend_tokenizer.decode([token_id], skip_special_tokens=False)
    return {"token": text, "logprob": max(logprob, -9999.0), "bytes": token_bytes(token_id, text, tokenizer)}
