"""The server under test: any that speaks OpenAI's chat completions over HTTP."""

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from time import perf_counter
from types import MappingProxyType
from typing import Any, cast

import openai
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletion

from autotool_bench.rows import TurnStats
from autotool_bench.suites.base import Message, Reply, Tool, ToolCall
from autotool_client import reasoning, record
from autotool_core.errors import AutoToolError
from autotool_core.record import DecisionRecord


class Switch(StrEnum):
    """How a server is told the mode."""

    MODE = "mode"
    """By this project's field."""
    ENABLE_THINKING = "enable_thinking"
    """By the chat template's variable, as vLLM and SGLang pass it on; `auto` leaves it undefined."""
    REASONING_EFFORT = "reasoning_effort"
    """By OpenAI's field: none, medium, high for short, auto, long."""


EFFORTS = MappingProxyType({"short": "none", "auto": "medium", "long": "high"})
DEFAULT = "default"
"""The mode that asks for none: the server's own default."""
PAUSES = (1.0, 5.0, 25.0)
"""Seconds before another try where the server was busy."""
BUSY = (429, 502, 503)
"""Answers that say nothing of the item: the server has no room, or is not there behind its proxy."""
HINTS = {
    401: " Give the key by --api-key or OPENAI_API_KEY.",
    403: " Give another key by --api-key or OPENAI_API_KEY.",
    404: " A base URL ends in /v1.",
}
MALFORMED = (AttributeError, LookupError, TypeError, ValueError)
"""What reading a body raises that is no chat completion; the official client does not check it."""
STOPPING = (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError)
"""Errors that every further request would meet too."""


NO_RECORD = (
    "The server gives no decision record, so it may not know `mode`, and all modes would be the same. Tell it the mode "
    "by --switch enable_thinking or reasoning_effort, or ask for none by --modes default."
)
LOOK_UP_SECONDS = 20.0
"""For the list of models."""
LOADING_SECONDS = 300.0
"""How long a server may say that it is busy before there is anything to ask it."""


class UnansweredError(Exception):
    """The server did not answer this request; another one may fare better. Its text says why."""


def mode_fields(label: str, switch: Switch) -> dict[str, Any]:
    """Request fields that ask for a mode: `auto`, `long`, `short`, `default`, or `auto@2`, where 2 is the reasoning bias.

    Raises AutoToolError for another label, and for a bias where the server is not told the mode by our field.
    """
    mode, at, bias = label.partition("@")
    if mode == DEFAULT and not at:
        return {}
    if mode not in EFFORTS or (at and (mode != "auto" or switch is not Switch.MODE or not _is_finite(bias))):
        raise AutoToolError(f"mode {label}: use auto, long, short or default; auto@BIAS only with the switch `mode`.")
    if switch is Switch.MODE:
        return {"mode": mode} | ({"reasoning_bias": float(bias)} if bias else {})
    if switch is Switch.REASONING_EFFORT:
        return {"reasoning_effort": EFFORTS[mode]}
    return {} if mode == "auto" else {"chat_template_kwargs": {"enable_thinking": mode == "long"}}


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Target:
    """A model of a server, and the fields that every request to it has."""

    client: AsyncOpenAI
    model: str
    switch: Switch
    fields: Mapping[str, Any]

    def attempt(self, mode: str) -> "ItemAttempt":
        """A new attempt at an item, in a mode."""
        return ItemAttempt(self, {**self.fields, **mode_fields(mode, self.switch)})


@dataclass(slots=True)
class ItemAttempt:
    """The turns of one attempt at an item; an `ChatModel`."""

    target: Target
    fields: Mapping[str, Any]
    turns: list[TurnStats] = field(default_factory=list[TurnStats])
    answers: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    async def __call__(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:
        """One turn. Raises UnansweredError if the server refuses or fails it, AutoToolError if it would every other too."""
        completion, latency = await self._complete(messages, tools)
        try:
            answer = _answer(completion)
            ours = record(completion)
            turn = _turn(completion, answer, ours, latency)
        except MALFORMED as error:
            raise UnansweredError("an answer that is no chat completion") from error
        if ours is None and "mode" in self.fields:
            raise AutoToolError(NO_RECORD)
        self.turns.append(turn)
        self.answers.append(answer.message() | ({"reasoning": answer.reasoning} if answer.reasoning else {}))
        return answer

    async def _complete(self, messages: Sequence[Message], tools: Sequence[Tool]) -> tuple[ChatCompletion, float]:
        """The answer and its seconds. A busy server is asked again, and only the last try is timed."""
        for pause in (*PAUSES, None):
            start = perf_counter()
            try:
                return await self._try(messages, tools), perf_counter() - start
            except openai.APIStatusError as error:
                if error.status_code not in BUSY:
                    raise UnansweredError(f"{error.status_code}: {error.message[:300]}") from error
                if pause is None:
                    raise AutoToolError(f"The server keeps answering {error.status_code}; run again to go on.") from error
                await asyncio.sleep(pause)
        raise AssertionError("the last pause is None")

    async def _try(self, messages: Sequence[Message], tools: Sequence[Tool]) -> ChatCompletion:
        body = {**self.fields, "messages": messages, "model": self.target.model} | ({"tools": tools} if tools else {})
        try:
            # What is no field of OpenAI's, the official client takes as `extra_body`; it sends both alike.
            return await self.target.client.chat.completions.create(messages=[], model="", extra_body=body)
        except STOPPING as error:
            raise AutoToolError(f"The server refuses every request: {error.message}") from error
        except openai.APITimeoutError as error:
            raise UnansweredError("time-out") from error
        except openai.APIConnectionError as error:
            raise AutoToolError(f"The server at {self.target.client.base_url} is gone; run again to go on.") from error
        except (openai.APIResponseValidationError, *MALFORMED) as error:
            raise UnansweredError("an answer that is no chat completion") from error


def _answer(completion: ChatCompletion) -> Reply:
    if not completion.choices:
        raise UnansweredError("an answer without choices")
    message = completion.choices[0].message
    calls = tuple(
        ToolCall(call.function.name, call.function.arguments, call.id)
        for call in message.tool_calls or ()
        if call.type == "function"
    )
    return Reply(message.content, calls, reasoning(message))


def _turn(completion: ChatCompletion, answer: Reply, ours: DecisionRecord | None, latency: float) -> TurnStats:
    usage = completion.usage
    if usage is None:
        raise UnansweredError("an answer without usage")
    resolved, p_long, thought, content = _split(completion, answer, ours)
    cached = usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else None
    return TurnStats(
        resolved=resolved,
        p_long=p_long,
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=cached,
        generated_tokens=usage.completion_tokens,
        reasoning_tokens=thought,
        content_tokens=content,
        latency=latency,
        calls=tuple(call.name for call in answer.calls),
        finish_reason=completion.choices[0].finish_reason,
    )


def _split(
    completion: ChatCompletion, answer: Reply, ours: DecisionRecord | None
) -> tuple[str, float | None, int | None, int | None]:
    """Resolved mode, p_long, tokens of reasoning and of content; None for what the server does not tell."""
    if ours:
        turn = ours.turns[-1]
        return turn.resolved.value, turn.p_long, turn.reasoning_tokens, turn.content_tokens
    details = completion.usage.completion_tokens_details if completion.usage else None
    thought = details.reasoning_tokens if details else None
    resolved = "long" if thought or (answer.reasoning or "").strip() else "short"
    if thought is None and resolved == "short":
        thought = 0
    total = completion.usage.completion_tokens if completion.usage else 0
    return resolved, None, thought, None if thought is None else total - thought


async def _names(client: AsyncOpenAI) -> list[str]:
    """Of the models, once a server that is still loading has loaded them."""
    until = perf_counter() + LOADING_SECONDS
    while True:
        try:
            return [model.id for model in (await client.models.list(timeout=LOOK_UP_SECONDS)).data]
        except openai.APIStatusError as error:
            if error.status_code not in BUSY or perf_counter() > until:
                raise
        await asyncio.sleep(PAUSES[0])


async def find_model(client: AsyncOpenAI, wanted: str | None) -> str:
    """The model to ask for: the one wanted, else the server's only one (aliases of it, `name:long`, left aside).

    Raises AutoToolError if the server cannot be reached, has no such model, or has several.
    """
    try:
        names = await _names(client)
    except openai.APIStatusError as error:
        hint = HINTS.get(error.status_code, "")
        raise AutoToolError(f"{client.base_url}models answers {error.status_code}: {error.message[:300]}{hint}") from error
    except MALFORMED as error:
        raise AutoToolError(f"{client.base_url} does not speak OpenAI's API: name the URL that ends in /v1.") from error
    except openai.OpenAIError as error:
        raise AutoToolError(f"No answer from {client.base_url}models: {type(error).__name__}. Is the server up?") from error
    if wanted in names:
        return cast("str", wanted)
    own = [name for name in names if name.rpartition(":")[0] not in names]
    if wanted is not None or len(own) != 1:
        raise AutoToolError(f"--model: name one of {', '.join(names) or 'none'}.")
    return own[0]
