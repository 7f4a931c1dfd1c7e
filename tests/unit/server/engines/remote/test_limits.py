"""Servers that send more tokens than allowed."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
from fastapi.responses import Response, StreamingResponse
from support.remote import ASK, Fleet, Json, choice, chunk, collect, sse

from autotool_server.engines.remote import RemoteEngine


def endless(*first: Json, then: Json) -> Response:
    async def lines() -> AsyncIterator[str]:
        for event in first:
            yield f"data: {json.dumps(event)}\n\n"
        while True:
            yield f"data: {json.dumps(then)}\n\n"
            await asyncio.sleep(0)

    return StreamingResponse(lines(), media_type="text/event-stream")


@pytest.mark.parametrize(
    ("answer", "stops", "expected"),
    [
        (lambda: endless(then=chunk(7)), (), ([7] * 4, "length")),
        (lambda: endless(then=chunk(7, 8, 9)), (), ([7, 8, 9, 7], "length")),
        (lambda: endless(then=chunk(7, 8)), (8,), ([7, 8, 7, 8], "stop")),
        (lambda: sse(chunk(1, 2, 3, 4, 5, 6, finish_reason="stop")), (6,), ([1, 2, 3, 4], "length")),
        (lambda: endless(chunk(7, 8, 9, 7, finish_reason="length"), then=chunk(5)), (), ([7, 8, 9, 7], "length")),
        (lambda: endless(chunk(7, finish_reason="stop"), then={"choices": []}), (7,), ([7], "stop")),
    ],
)
async def test_a_stream_without_end_ends_with_the_last_token_that_is_allowed(
    fleet: Fleet, engine: RemoteEngine, answer: Callable[[], Response], stops: tuple[int, ...], expected: tuple[list[int], str]
) -> None:
    fleet.stream = answer
    deltas = await collect(engine, replace(ASK, stop_token_ids=stops))
    assert ([token for delta in deltas for token in delta.token_ids], deltas[-1].finish_reason) == expected
    assert {delta.finish_reason for delta in deltas[:-1]} <= {None}


async def test_log_probabilities_are_cut_with_their_tokens(fleet: Fleet, engine: RemoteEngine) -> None:
    tops = [{f"token_id:{token}": -1.0} for token in (1, 2, 3, 4, 5)]
    reported = {"token_logprobs": [-1.0] * 5, "top_logprobs": tops}
    fleet.stream = lambda: sse(choice(token_ids=[1, 2, 3, 4, 5], finish_reason=None, logprobs=reported))
    [delta] = await collect(engine, replace(ASK, logprobs=1))
    assert [entry.token_id for entry in delta.logprobs or ()] == [1, 2, 3, 4]
