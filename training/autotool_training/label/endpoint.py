"""Attempts by a server that speaks OpenAI's chat completions."""

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import openai
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletion, ChatCompletionMessage
from openai.types.chat.chat_completion import Choice

from autotool_client import reasoning
from autotool_client.discovery import find_model
from autotool_client.errors import PERMANENT_ERRORS
from autotool_core.calls import Call
from autotool_core.errors import AutoToolError
from autotool_core.modes import Mode, ModeSwitch, ResolvedMode
from autotool_training.label.attempt import LabelAnswer, LabelAttempt, LabelTask

TRANSIENT_STATUSES = (408, 409, 429)
"""Error statuses that a later request may not get, as may not all from 500 on."""
THINKING_LEAK = "the no-thinking model wrote reasoning: name the field that turns it off by --short-switch"

PLAIN_SAMPLING: Mapping[str, float] = {"top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
"""Fields against the sampling of a checkpoint's generation config, which vLLM and this project's server apply by default. Some
servers refuse fields of it, such as OpenAI's own all but `top_p`."""
REFUSALS = (openai.BadRequestError, openai.UnprocessableEntityError)


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """How answers are sampled."""

    temperature: float
    max_tokens: int
    seed: int
    """Seed of a record's first attempt; each next attempt has the next number."""


class Endpoint:
    """A model of a server. `model` is its name, or None for the server's only one; the key is read from OPENAI_API_KEY."""

    def __init__(
        self,
        url: str,
        mode: ResolvedMode,
        sampling: SamplingSettings,
        *,
        switch: ModeSwitch,
        model: str | None,
        concurrency: int,
    ) -> None:
        self._url, self._model, self._mode = url, model, mode
        self._sampling, self._concurrency = sampling, concurrency
        self._fields: Mapping[str, Any] = switch.fields(Mode(mode))
        self._plain = PLAIN_SAMPLING
        """What of it the server has not refused."""

    @property
    def max_attempts(self) -> None:
        return None

    async def attempt(self, tasks: Iterator[LabelTask], done: Callable[[LabelAttempt], None]) -> None:
        async with AsyncOpenAI(base_url=self._url, api_key=os.environ.get("OPENAI_API_KEY", "none")) as client:
            model = self._model or await find_model(client, model_option="--short-model or --long-model")
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(self._concurrency):
                        group.create_task(self._work(client, model, tasks, done))
            except ExceptionGroup as failed:
                # Before Python 3.11.4 an error raised within `except*` is wrapped in a group again.
                known = failed.subgroup(AutoToolError)
                raise failed if known is None else known.exceptions[0] from None

    def close(self) -> None:
        return

    async def _work(
        self, client: AsyncOpenAI, model: str, tasks: Iterator[LabelTask], done: Callable[[LabelAttempt], None]
    ) -> None:
        # The workers share one iterator, so that each holds only its current task.
        for task in tasks:
            done(await self._answer(client, model, task))

    async def _answer(self, client: AsyncOpenAI, model: str, task: LabelTask) -> LabelAttempt:
        record = task.record
        try:
            completion = await self._ask(client, model, task)
        except PERMANENT_ERRORS as error:
            raise AutoToolError(f"{self._url} refuses every request: {error.message}") from error
        except openai.APITimeoutError:
            return LabelAttempt(record.id, task.index, None, "time-out", retryable=True)
        except openai.APIConnectionError as error:
            raise AutoToolError(f"{self._url} cannot be reached any more; run again to go on.") from error
        except openai.APIStatusError as error:
            retryable = error.status_code in TRANSIENT_STATUSES or error.status_code >= 500
            return LabelAttempt(record.id, task.index, None, f"{error.status_code}: {error.message[:300]}", retryable=retryable)
        if not completion.choices:
            return LabelAttempt(record.id, task.index, None, "an answer without choices")
        answer = _parse_answer(completion.choices[0])
        if self._mode is ResolvedMode.SHORT and answer.reasoning:
            return LabelAttempt(record.id, task.index, None, THINKING_LEAK)
        return LabelAttempt(record.id, task.index, answer)

    async def _ask(self, client: AsyncOpenAI, model: str, task: LabelTask) -> ChatCompletion:
        """Return the server's answer, asked again without those fields of plain sampling that it refuses.

        They are left out of later requests once an answer has come without them: an error about something else may quote them.
        """
        plain = self._plain
        while True:
            try:
                completion = await self._send(client, model, task, plain)
            except REFUSALS as error:
                kept = {name: value for name, value in plain.items() if name not in error.message}
                if kept == plain:
                    raise
                plain = kept
            else:
                self._plain = {name: value for name, value in self._plain.items() if name in plain}
                return completion

    async def _send(self, client: AsyncOpenAI, model: str, task: LabelTask, plain: Mapping[str, float]) -> ChatCompletion:
        body = {
            **self._fields,
            **plain,
            "model": model,
            "messages": task.record.messages,
            **({"tools": task.record.tools} if task.record.tools else {}),
            "temperature": self._sampling.temperature,
            "max_completion_tokens": self._sampling.max_tokens,
            "seed": self._sampling.seed + task.index,
        }
        # The official client takes fields that OpenAI does not have only in `extra_body`, and sends all of it.
        return await client.chat.completions.create(messages=[], model="", extra_body=body)


def _parse_answer(choice: Choice) -> LabelAnswer:
    message = choice.message
    return LabelAnswer(message.content or "", _calls(message), reasoning(message) or None, choice.finish_reason != "length")


def _calls(message: ChatCompletionMessage) -> tuple[Call, ...] | None:
    try:
        return tuple(
            Call.parse(call.function.name, call.function.arguments)
            for call in message.tool_calls or ()
            if call.type == "function"
        )
    except (ValueError, RecursionError):
        return None
