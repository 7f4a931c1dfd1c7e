"""The server under test: any server with OpenAI's chat completions API."""

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import openai
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletion

from autotool_bench.rows import TurnStats
from autotool_bench.suites.base import Message, Reply, Tool, ToolCall
from autotool_client import reasoning, record
from autotool_client.errors import BUSY_STATUSES, MALFORMED_BODY, PERMANENT_ERRORS, UnreachableError
from autotool_core.errors import AutoToolError
from autotool_core.modes import Mode, ModeSwitch
from autotool_core.record import DecisionRecord

DEFAULT = "default"
"""The mode that sets no field: the server's own default applies."""
PAUSES = (1.0, 5.0, 25.0)
"""Seconds to wait before each retry if the server is busy."""
NO_RECORD = (
    "The server returns no decision record, so it may ignore the field `mode`, and all modes would be the same. Set the mode "
    "by --switch enable_thinking or reasoning_effort, or request no mode by --modes default."
)


class UnansweredError(Exception):
    """The server did not answer this request; other requests may succeed. The text is the reason."""


def mode_fields(label: str, switch: ModeSwitch) -> dict[str, Any]:
    """Return the request fields of a mode: `auto`, `long`, `short`, `default`, or `auto@2`, where 2 is the reasoning bias.

    Raises AutoToolError for another label, and for a bias with a switch other than `mode`.
    """
    mode, separator, bias = label.partition("@")
    if mode == DEFAULT and not separator:
        return {}
    if mode not in list(Mode) or (separator and (mode != "auto" or switch is not ModeSwitch.MODE or not _is_finite(bias))):
        raise AutoToolError(f"mode {label}: use auto, long, short or default; auto@BIAS only with the switch `mode`.")
    if switch is ModeSwitch.NONE:
        raise AutoToolError(f"mode {label}: the switch `none` cannot set a mode. Use --modes default, or another --switch.")
    return switch.fields(Mode(mode)) | ({"reasoning_bias": float(bias)} if bias else {})


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Target:
    """A model of a server, and the fields that every request has."""

    client: AsyncOpenAI
    model: str
    switch: ModeSwitch
    fields: Mapping[str, Any]

    def attempt(self, mode: str) -> "ItemAttempt":
        """Return a new attempt at an item in a mode."""
        return ItemAttempt(self, {**self.fields, **mode_fields(mode, self.switch)})


@dataclass(slots=True)
class ItemAttempt:
    """A `ChatModel` that records the turns of one attempt at an item."""

    target: Target
    fields: Mapping[str, Any]
    turns: list[TurnStats] = field(default_factory=list[TurnStats])
    answers: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    async def __call__(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:
        """Request one turn. Raises UnansweredError if this request fails, AutoToolError if every other would fail too."""
        completion, latency = await self._complete(messages, tools)
        try:
            reply = reply_of(completion)
            decision = record(completion)
            turn = _turn(completion, reply, decision, latency)
        except MALFORMED_BODY as error:
            raise UnansweredError("the response is not a chat completion") from error
        if decision is None and "mode" in self.fields:
            raise AutoToolError(NO_RECORD)
        self.turns.append(turn)
        self.answers.append(reply.message() | ({"reasoning": reply.reasoning} if reply.reasoning else {}))
        return reply

    async def _complete(self, messages: Sequence[Message], tools: Sequence[Tool]) -> tuple[ChatCompletion, float]:
        """Return the completion and its seconds. A busy server is retried, and only the last try is timed."""
        for pause in (*PAUSES, None):
            start = perf_counter()
            try:
                return await self._try(messages, tools), perf_counter() - start
            except openai.APIStatusError as error:
                if error.status_code not in BUSY_STATUSES:
                    raise UnansweredError(f"{error.status_code}: {error.message[:300]}") from error
                if pause is None:
                    raise UnreachableError(f"The server keeps answering {error.status_code}; run again to resume.") from error
                await asyncio.sleep(pause)
        raise AssertionError("the last pause is None")

    async def _try(self, messages: Sequence[Message], tools: Sequence[Tool]) -> ChatCompletion:
        body = {**self.fields, "messages": messages, "model": self.target.model} | ({"tools": tools} if tools else {})
        try:
            # The official client takes fields that are not OpenAI's as `extra_body`; it sends all fields alike.
            return await self.target.client.chat.completions.create(messages=[], model="", extra_body=body)
        except PERMANENT_ERRORS as error:
            raise AutoToolError(f"The server refuses every request: {error.message}") from error
        except openai.APITimeoutError as error:
            raise UnansweredError("time-out") from error
        except openai.APIConnectionError as error:
            raise UnreachableError(f"The server at {self.target.client.base_url} is gone; run again to resume.") from error
        except (openai.APIResponseValidationError, *MALFORMED_BODY) as error:
            raise UnansweredError("the response is not a chat completion") from error


def reply_of(completion: ChatCompletion) -> Reply:
    """Return the model's answer. Raises UnansweredError without one."""
    if not completion.choices:
        raise UnansweredError("the response has no choices")
    message = completion.choices[0].message
    calls = tuple(
        ToolCall(call.function.name, call.function.arguments, call.id)
        for call in message.tool_calls or ()
        if call.type == "function"
    )
    return Reply(message.content, calls, reasoning(message))


def _turn(completion: ChatCompletion, reply: Reply, decision: DecisionRecord | None, latency: float) -> TurnStats:
    usage = completion.usage
    if usage is None:
        raise UnansweredError("the response has no usage")
    resolved, p_long, reasoning_tokens, content_tokens = _split(completion, reply, decision)
    cached = usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else None
    return TurnStats(
        resolved=resolved,
        p_long=p_long,
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=cached,
        generated_tokens=usage.completion_tokens,
        reasoning_tokens=reasoning_tokens,
        content_tokens=content_tokens,
        latency=latency,
        calls=tuple(call.name for call in reply.calls),
        finish_reason=completion.choices[0].finish_reason,
        reasoning_truncated=decision.turns[-1].reasoning_truncated if decision else None,
        max_reasoning_tokens=decision.turns[-1].max_reasoning_tokens if decision else None,
        load_bias=decision.turns[-1].load_bias if decision else 0.0,
        load_share=decision.turns[-1].load_share if decision else 1.0,
    )


def _split(
    completion: ChatCompletion, reply: Reply, decision: DecisionRecord | None
) -> tuple[str, float | None, int | None, int | None]:
    """Return resolved mode, p_long, reasoning tokens and content tokens; None for what the server does not report."""
    if decision:
        turn = decision.turns[-1]
        return str(turn.resolved), turn.p_long, turn.reasoning_tokens, turn.content_tokens
    details = completion.usage.completion_tokens_details if completion.usage else None
    reasoning_tokens = details.reasoning_tokens if details else None
    resolved = "long" if reasoning_tokens or (reply.reasoning or "").strip() else "short"
    if reasoning_tokens is None and resolved == "short":
        reasoning_tokens = 0
    total = completion.usage.completion_tokens if completion.usage else 0
    return resolved, None, reasoning_tokens, None if reasoning_tokens is None else total - reasoning_tokens
