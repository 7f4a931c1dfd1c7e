"""Server tools with a real model over every engine: every call gets a result, streamed or not."""

import asyncio
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest
from support.serving import MODEL, Running
from support.tools import named

QUESTION = [{"role": "user", "content": "What is the weather in Rome, and what time is it in Oslo?"}]
# One set-up waits for all of the answers.
pytestmark = pytest.mark.timeout(600)
ENDS = {"answer", "length", "context", "max_turns", "max_calls"}
MODES = ("short", "auto")


@dataclass(frozen=True)
class Answers:
    """What the requests of all tests came to. They are sent at once, since one batch takes little longer than one request."""

    whole: dict[tuple[str, bool], Any]
    """The answers, by mode and by whether parallel calls are allowed."""
    chunks: list[Any]
    """The chunks of a stream in the mode short, with parallel calls."""


def body(mode: str, *, parallel: bool) -> dict[str, Any]:
    # A required call, since this small model makes few of its own accord.
    budget = {"max_turns": 2, "max_calls": 4}
    extra = {"mode": mode, "max_reasoning_tokens": 8, "tool_budget": budget}
    choice = {"tool_choice": "required", "parallel_tool_calls": parallel}
    return {
        **choice,
        "model": MODEL,
        "messages": QUESTION,
        "tools": named("town.*"),
        "temperature": 0,
        "max_completion_tokens": 72,  # room for two calls
        "extra_body": extra,
    }


@pytest.fixture(scope="module")
async def answers(server: Running) -> Answers:
    create: Any = server.client.chat.completions.create
    cases = list(product(MODES, (True, False)))

    async def stream() -> list[Any]:
        return [chunk async for chunk in await create(**body("short", parallel=True), stream=True)]

    chunks, *whole = await asyncio.gather(stream(), *(create(**body(mode, parallel=parallel)) for mode, parallel in cases))
    return Answers(dict(zip(cases, whole, strict=True)), chunks)


def check(record: dict[str, Any]) -> None:
    """Check that every call has one result and one execution of its name."""
    transcript = record["transcript"]
    calls = [call["id"] for message in transcript for call in message.get("tool_calls", [])]
    assert calls
    assert [message["tool_call_id"] for message in transcript if message["role"] == "tool"] == calls
    executions = [execution for turn in record["turns"] for execution in turn["executions"]]
    assert [execution["id"] for execution in executions] == calls
    # A server that is far behind sends the end of the calls and the cut of the answer at once, so that none of them is run.
    outcomes = {execution["outcome"] for execution in executions}
    assert "ok" in outcomes or outcomes == {"not_run"}
    assert record["stop_reason"] in ENDS


@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_whatever_is_called_is_run_and_closed(answers: Answers, mode: str, parallel: bool) -> None:
    answer = answers.whole[mode, parallel]
    check(answer.autotool)
    # Asked for one call at a time, it comes to an end by itself and reads the result.
    assert parallel or len(answer.autotool["turns"]) >= 2
    assert answer.choices[0].message.tool_calls is None
    assert answer.usage.prompt_tokens == sum(turn["prompt_tokens"] for turn in answer.autotool["turns"])


def test_the_same_streamed(answers: Answers) -> None:
    chunks = answers.chunks
    check(chunks[-1].autotool)
    events = [chunk.autotool["event"] for chunk in chunks[:-1] if hasattr(chunk, "autotool")]
    executions = [execution for turn in chunks[-1].autotool["turns"] for execution in turn["executions"]]
    assert events.count("tool_result") == len(executions)
    # The cut of an answer ends calls that have started, and of those some may not have made their attempt.
    attempted = sum(execution["attempts"] > 0 for execution in executions)
    assert attempted <= events.count("tool_started") <= len(executions)
    assert events.count("turn") == len(chunks[-1].autotool["turns"]) - 1
