"""From turn outputs to OpenAI's answers: one JSON object, or chunks. Both are made from the same events."""

import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion
from openai.types.completion_usage import CompletionTokensDetails, PromptTokensDetails

from autotool_core.parsing.events import ContentDelta, Event, ReasoningDelta, ToolCallArguments, ToolCallEnd, ToolCallStart
from autotool_core.record import DecisionRecord
from autotool_core.tokenizer import Tokenizer
from autotool_server.chat import ChatJob
from autotool_server.engines.base import TokenLogprob
from autotool_server.generation import Turn, TurnOutput

REASONING_NAMES = {
    "both": ("reasoning", "reasoning_content"),
    "reasoning": ("reasoning",),
    "reasoning_content": ("reasoning_content",),
}


def usage(job: ChatJob) -> CompletionUsage:
    """Tokens of the whole request; the prompt is charged once, whatever `n` is."""
    ledgers = [turn.ledger for turn in job.turns]
    prompt = len(job.turns[0].request.prompt_ids) + max(ledger.injected_tokens for ledger in ledgers)
    completion = sum(ledger.completion_tokens for ledger in ledgers)
    return CompletionUsage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=ledgers[0].cached_tokens),
        completion_tokens_details=CompletionTokensDetails(reasoning_tokens=sum(ledger.reasoning_tokens for ledger in ledgers)),
    )


def record(job: ChatJob) -> dict[str, Any]:
    """The `autotool` object of an answer."""
    return DecisionRecord(mode=job.mode, turns=[turn.record() for turn in job.turns]).model_dump(mode="json")


def finish_reason(turn: Turn) -> str:
    """OpenAI's finish reason: calls end a turn with `tool_calls`, unless the bound on tokens cut it."""
    return "tool_calls" if turn.ledger.tool_calls and turn.finish_reason == "stop" else turn.finish_reason


@dataclass(slots=True)
class _Choice:
    reasoning: list[str] = field(default_factory=list[str])
    content: list[str] = field(default_factory=list[str])
    calls: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    logprobs: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def add(self, event: Event) -> None:
        match event:
            case ReasoningDelta(text):
                self.reasoning.append(text)
            case ContentDelta(text):
                self.content.append(text)
            case ToolCallStart(_, name):
                self.calls.append({"id": _call_id(), "type": "function", "function": {"name": name, "arguments": ""}})
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
        self._choices = [_Choice() for _ in job.turns]

    def add(self, choice: int, output: TurnOutput) -> None:
        """Take in what a choice's next tokens meant."""
        collected = self._choices[choice]
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
                "choices": [self._choice(turn) for turn in self._job.turns],
                "usage": usage(self._job),
                "autotool": record(self._job),
            }
        )

    def _choice(self, turn: Turn) -> dict[str, Any]:
        collected = self._choices[turn.request.choice]
        reasoning = "".join(collected.reasoning) or None
        message: dict[str, Any] = {"role": "assistant", **dict.fromkeys(self._names, reasoning)}
        message["content"] = "".join(collected.content) or (None if collected.calls else "")
        if collected.calls:
            message["tool_calls"] = collected.calls
        logprobs = {"content": collected.logprobs} if turn.request.logprobs is not None else None
        return {"index": turn.request.choice, "message": message, "finish_reason": finish_reason(turn), "logprobs": logprobs}


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

    def finish(self, turn: Turn, *, last: bool) -> str:
        """The chunk with a choice's finish reason; the last one of the job carries the decision record."""
        return self._chunk(
            turn.request.choice, {}, finish=finish_reason(turn), extra={"autotool": record(self._job)} if last else {}
        )

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
            case ToolCallStart(index, name):
                function = {"name": name, "arguments": ""}
                return {"tool_calls": [{"index": index, "id": _call_id(), "type": "function", "function": function}]}
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
    """Log-probabilities in OpenAI's form: `token` is the token's text by itself, `bytes` its UTF-8."""
    return [
        {**_token(entry.token_id, entry.logprob, tokenizer), "top_logprobs": [_token(*top, tokenizer) for top in entry.top]}
        for entry in logprobs
    ]


def _token(token_id: int, logprob: float, tokenizer: Tokenizer) -> dict[str, Any]:
    text = tokenizer.decode([token_id])
    return {"token": text, "logprob": max(logprob, -9999.0), "bytes": list(text.encode())}


def _call_id() -> str:
    return f"call_{uuid.uuid4().hex[:24]}"
