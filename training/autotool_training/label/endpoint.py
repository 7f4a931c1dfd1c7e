"""Attempts by a server that speaks OpenAI's chat completions."""

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import openai
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessage
from openai.types.chat.chat_completion import Choice

from autotool_client.discovery import find_model
from autotool_client.errors import PERMANENT_ERRORS
from autotool_core.calls import Call
from autotool_core.errors import AutoToolError
from autotool_core.modes import Mode, ModeSwitch, ResolvedMode
from autotool_training.label.attempt import Answer, Attempt, Task

TRANSIENT = (408, 409, 429)
"""Refusals that another try may not meet, beside all from 500 on."""
THOUGHT = "the no-thinking model has thought: tell its server the mode by --short-switch"


@dataclass(frozen=True, slots=True)
class Sampling:
    """How answers are drawn."""

    temperature: float
    max_tokens: int
    seed: int
    """Of a record's first attempt; the next ones count up."""


class Endpoint:
    """A server's model. `model`: its name, None for the server's only one; the key is OPENAI_API_KEY, where it asks for one."""

    def __init__(
        self, url: str, mode: ResolvedMode, sampling: Sampling, *, switch: ModeSwitch, model: str | None, concurrency: int
    ) -> None:
        self._url, self._model, self._mode = url, model, mode
        self._sampling, self._concurrency = sampling, concurrency
        self._fields: Mapping[str, Any] = switch.fields(Mode(mode))

    @property
    def most(self) -> None:
        return None

    async def attempt(self, tasks: Iterator[Task], done: Callable[[Attempt], None]) -> None:
        async with AsyncOpenAI(base_url=self._url, api_key=os.environ.get("OPENAI_API_KEY", "none")) as client:
            model = self._model or await find_model(client, model_option="--short-model or --long-model")
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(self._concurrency):
                        group.create_task(self._work(client, model, tasks, done))
            except ExceptionGroup as failed:
                # Not `except*`: before Python 3.11.4 what is raised there comes out in a group again.
                known = failed.subgroup(AutoToolError)
                raise failed if known is None else known.exceptions[0] from None

    def close(self) -> None:
        return

    async def _work(self, client: AsyncOpenAI, model: str, tasks: Iterator[Task], done: Callable[[Attempt], None]) -> None:
        # The workers share one iterator: none holds more than the task that it is at.
        for task in tasks:
            done(await self._one(client, model, task))

    async def _one(self, client: AsyncOpenAI, model: str, task: Task) -> Attempt:
        record, sampling = task.record, self._sampling
        body = {
            **self._fields,
            "model": model,
            "messages": record.messages,
            "temperature": sampling.temperature,
            "max_completion_tokens": sampling.max_tokens,
            "seed": sampling.seed + task.at,
        }
        try:
            # What is no field of OpenAI's, the official client takes as `extra_body`; it sends both alike.
            completion = await client.chat.completions.create(
                messages=[], model="", extra_body=body | ({"tools": record.tools} if record.tools else {})
            )
        except PERMANENT_ERRORS as error:
            raise AutoToolError(f"{self._url} refuses every request: {error.message}") from error
        except openai.APITimeoutError:
            return Attempt(record.id, task.at, None, "time-out", again=True)
        except openai.APIConnectionError as error:
            raise AutoToolError(f"{self._url} is gone; run again to go on.") from error
        except openai.APIStatusError as error:
            again = error.status_code in TRANSIENT or error.status_code >= 500
            return Attempt(record.id, task.at, None, f"{error.status_code}: {error.message[:300]}", again=again)
        if not completion.choices:
            return Attempt(record.id, task.at, None, "an answer without choices")
        answer = _answer(completion.choices[0])
        if self._mode is ResolvedMode.SHORT and answer.reasoning:
            return Attempt(record.id, task.at, None, THOUGHT)
        return Attempt(record.id, task.at, answer)


def _answer(choice: Choice) -> Answer:
    message = choice.message
    reasoning = getattr(message, "reasoning", None) or getattr(message, "reasoning_content", None)
    return Answer(message.content or "", _calls(message), reasoning, choice.finish_reason != "length")


def _calls(message: ChatCompletionMessage) -> tuple[Call, ...] | None:
    try:
        return tuple(
            Call.parse(call.function.name, call.function.arguments)
            for call in message.tool_calls or ()
            if call.type == "function"
        )
    except (ValueError, RecursionError):
        return None
