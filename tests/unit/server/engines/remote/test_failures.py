"""Requests that fail, and answers that are not vLLM's."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from fastapi.responses import JSONResponse, Response
from support.remote import ASK, Fleet, choice, chunk, collect, error, sse

from autotool_core.errors import EngineError, InvalidRequestError, UpstreamError
from autotool_server.engines.remote import RemoteEngine


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_refusal_names_the_field_and_not_the_value(fleet: Fleet, engine: RemoteEngine, status: int) -> None:
    fleet.stream = lambda: error(status, "top_p must be in (0, 1], got SECRET. (parameter=top_p, value=SECRET)", "top_p")
    with pytest.raises(InvalidRequestError, match=r"^The engine refused the request: top_p must be in \(0, 1\]\.$") as caught:
        await collect(engine)
    assert caught.value.field == "top_p"


@pytest.mark.parametrize("status", [401, 404, 429, 500, 503])
async def test_other_statuses_are_the_servers_failure(fleet: Fleet, engine: RemoteEngine, status: int) -> None:
    fleet.stream = lambda: error(status, "no")
    with pytest.raises(EngineError, match=str(status)):
        await collect(engine)


@pytest.mark.parametrize("status", [401, 403, 404, 407])
async def test_what_a_server_says_that_refuses_the_key_is_for_the_operator(
    fleet: Fleet, engine: RemoteEngine, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    fleet.stream = lambda: error(status, "Key sk-123 is unknown.")
    fleet.score = lambda _: error(status, "Key sk-123 is unknown.")
    for asking in (collect(engine), engine.score("test", [1], (2, 3))):
        with pytest.raises(UpstreamError, match=str(status)) as caught:
            await asking
        assert "sk-123" not in str(caught.value)
    assert caplog.text.count("sk-123") == 2


async def test_errors_for_clients_do_not_have_the_url(
    fleet: Fleet, port: int, engine: RemoteEngine, caplog: pytest.LogCaptureFixture
) -> None:
    """Only the operator may know the address of the server behind this one."""
    for answer in (error(502, "Trace\n" * 5000), sse(end="data: <html>\n\n")):
        fleet.stream = lambda answer=answer: answer
        caplog.clear()
        with pytest.raises(EngineError) as caught:
            await collect(engine)
        assert str(port) not in str(caught.value)
        assert len(str(caught.value)) < 600
        assert f"http://127.0.0.1:{port}" in caplog.text


async def test_a_refusal_is_short(fleet: Fleet, engine: RemoteEngine) -> None:
    fleet.stream = lambda: error(413, "Trace\n" * 5000)
    with pytest.raises(InvalidRequestError) as caught:
        await collect(engine)
    assert len(str(caught.value)) < 600


async def test_error_inside_the_stream(fleet: Fleet, engine: RemoteEngine) -> None:
    for code, kind in ((400, InvalidRequestError), (500, EngineError)):
        fleet.stream = lambda code=code: sse(chunk(5), {"error": {"message": "token_id(s) [9] in x", "code": code}})
        with pytest.raises(kind):
            await collect(engine)


PAGE = "<html>Log in</html>"
NO_ANSWERS = [
    *(None, "x", 3, [], {}, {"choices": None}, {"choices": 3}, {"choices": ["x"]}, {"choices": {"a": 1}}),
    *(choice(), choice(token_ids=None), choice(token_ids="abc"), choice(token_ids=[1.5]), choice(token_ids=[-1])),
    *(choice(token_ids=["a"]), choice(token_ids=[2**40]), choice(token_ids=[True]), {**choice(token_ids=[3]), "usage": 3}),
]
"""Values of JSON that are no answers of vLLM."""


@pytest.mark.parametrize(
    "answer",
    [
        *(lambda value=value: sse(value) for value in NO_ANSWERS),
        lambda: sse(chunk(5)),
        lambda: sse(chunk(5), end=""),
        lambda: sse(chunk(5), end="data: <html>\n\n"),
        lambda: Response(PAGE, media_type="text/html"),
        lambda: Response(PAGE, media_type="text/event-stream"),
        lambda: Response(b"data: \xff\xfe\n\n", media_type="text/event-stream"),
        lambda: JSONResponse(None),
        lambda: JSONResponse(chunk(5, finish_reason="length")),
        Response,
    ],
)
async def test_a_stream_that_is_not_vllms_is_the_servers_fault(
    fleet: Fleet, engine: RemoteEngine, answer: Callable[[], Response]
) -> None:
    fleet.stream = answer
    with pytest.raises(UpstreamError, match=r"^The remote server "):
        await collect(engine)


@pytest.mark.parametrize(
    "answer",
    [
        *(lambda value=value: JSONResponse(value) for value in NO_ANSWERS),
        lambda: Response(PAGE, media_type="text/html"),
        lambda: Response(PAGE, media_type="application/json"),
        Response,
        lambda: Response(
            '{"choices": [{"token_ids": [3], "logprobs": {"top_logprobs": [{"token_id:2": NaN, "token_id:3": 0}]}}]}'
        ),
        lambda: JSONResponse({"choices": [{"token_ids": [3], "logprobs": {"top_logprobs": [{"token_id:x": 0}]}}]}),
    ],
)
async def test_a_score_that_is_not_vllms_is_the_servers_fault(
    fleet: Fleet, engine: RemoteEngine, answer: Callable[[], Response]
) -> None:
    fleet.score = lambda _: answer()
    with pytest.raises(UpstreamError, match=r"^The remote server "):
        await engine.score("test", [1], (2, 3))


@pytest.mark.parametrize(
    "logprobs",
    [None, {}, {"token_logprobs": [], "top_logprobs": []}, {"token_logprobs": [None], "top_logprobs": [{}]}],
)
async def test_log_probabilities_that_are_not_there(fleet: Fleet, engine: RemoteEngine, logprobs: Any) -> None:
    fleet.stream = lambda: sse(choice(token_ids=[3], logprobs=logprobs))
    with pytest.raises(UpstreamError):
        await collect(engine, replace(ASK, logprobs=1))


async def test_a_generation_that_the_server_breaks_off(fleet: Fleet, engine: RemoteEngine) -> None:
    fleet.stream = lambda: sse(chunk(5), chunk(finish_reason="abort"))
    with pytest.raises(EngineError, match="abort"):
        await collect(engine)


async def test_answers_of_vllm_are_read_also_with_a_stray_field(fleet: Fleet, engine: RemoteEngine) -> None:
    fleet.stream = lambda: sse(chunk(5), {**choice(token_ids=[6]), "usage": None, "more": [None]})
    assert [list(delta.token_ids) for delta in await collect(engine)] == [[5], [6]]
