"""Answers of the chat completions API, whole and streamed, as the same parts."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from support.serving import Running


@dataclass
class Answer:
    """The parts of an answer, streamed or not."""

    reasoning: str = ""
    content: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    finish_reason: str | None = None
    turn: dict[str, Any] = field(default_factory=dict[str, Any])
    usage: dict[str, Any] = field(default_factory=dict[str, Any])


async def whole(server: Running, body: dict[str, Any]) -> Answer:
    completion = await server.client.chat.completions.create(**body)
    choice: Any = completion.choices[0]
    assert completion.usage is not None
    return Answer(
        (choice.message.model_extra or {}).get("reasoning", ""),
        choice.message.content or "",
        [(call.function.name, call.function.arguments) for call in choice.message.tool_calls or []],
        choice.finish_reason,
        (completion.model_extra or {})["autotool"]["turns"][0],
        completion.usage.model_dump(exclude={"prompt_tokens_details"}, exclude_none=True),
    )


async def streamed(server: Running, body: dict[str, Any]) -> Answer:
    answer = Answer()
    async for chunk in await server.client.chat.completions.create(**body, stream=True, stream_options={"include_usage": True}):
        if chunk.usage is not None:
            answer.usage = chunk.usage.model_dump(exclude={"prompt_tokens_details"}, exclude_none=True)
        extra = chunk.model_extra or {}
        if "autotool" in extra:
            answer.turn = extra["autotool"]["turns"][0]
        for choice in chunk.choices:
            delta: Any = choice.delta
            answer.content += delta.content or ""
            answer.reasoning += delta.model_extra.get("reasoning") or ""
            answer.finish_reason = choice.finish_reason or answer.finish_reason
            for call in delta.tool_calls or []:
                if call.id:
                    answer.calls.append((call.function.name, ""))
                name, arguments = answer.calls[call.index]
                answer.calls[call.index] = (name, arguments + (call.function.arguments or ""))
    return answer


def assert_equal(first: Answer, second: Answer, case: str) -> None:
    """Check that a stream has what the whole answer has."""
    # Batched differently, the same logits differ in their last digits.
    assert first.turn.pop("p_long") == pytest.approx(second.turn.pop("p_long"), abs=1e-3)
    # What is cached is what the other one has brought there by then.
    for answer in (first, second):
        answer.turn.pop("cached_tokens")
    assert first == second, case
