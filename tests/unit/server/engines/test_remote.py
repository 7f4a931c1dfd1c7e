"""The remote engine with failing servers on a real port; `test_engines.py` tests it with a working one."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from support.tiny import make_tokenizer

from autotool_core.errors import EngineError, InvalidRequestError, UpstreamError
from autotool_server import breaker
from autotool_server.engines.base import EngineRequest, Sampling, TokenDelta
from autotool_server.engines.remote import RemoteEngine
from autotool_server.launch.listener import listen

Json = dict[str, Any]
ASK = EngineRequest("test", [1, 2], 4)


def card(name: str = "served", **fields: Any) -> Json:
    return {"id": name, "max_model_len": 100, **fields}


def chunk(*token_ids: int, finish_reason: str | None = None) -> Json:
    return {"choices": [{"index": 0, "token_ids": token_ids, "finish_reason": finish_reason, "logprobs": None}]}


def score_of(*token_ids: int) -> Json:
    top = {f"token_id:{token}": -1.0 * token for token in token_ids}
    return {"choices": [{"token_ids": token_ids[:1], "finish_reason": "length", "logprobs": {"top_logprobs": [top]}}]}


class Fleet:
    """A server whose responses a test sets. Scores get the requested candidates."""

    def __init__(self, tokenizer_dir: Path) -> None:
        self.models: Any = {"data": [card(root=str(tokenizer_dir))]}
        self.stream: Callable[[], Response] = lambda: sse(chunk(3, finish_reason="length"))
        self.score: Callable[[Json], Any] = lambda body: score_of(*body["logprob_token_ids"])
        self.delay = 0.0
        self.bodies: list[Json] = []
        self.keys: list[str | None] = []
        self.app = FastAPI()
        self.app.add_api_route("/v1/models", self._models)
        self.app.add_api_route("/health", lambda: None)
        self.app.add_api_route("/v1/completions", self._complete, methods=["POST"])

    async def _models(self, request: Request) -> Any:
        self.keys.append(request.headers.get("authorization"))
        return self.models

    async def _complete(self, request: Request) -> Any:
        body = await request.json()
        self.bodies.append(body)
        await asyncio.sleep(self.delay)
        return self.stream() if body.get("stream") else self.score(body)


def sse(*events: Any, end: str = "data: [DONE]\n\n") -> Response:
    async def lines() -> AsyncIterator[str]:
        for event in events:
            yield f"data: {json.dumps(event)}\n\n"
        yield end

    return StreamingResponse(lines(), media_type="text/event-stream")


def error(status: int, message: str, param: str | None = None) -> Response:
    return JSONResponse({"error": {"message": message, "param": param, "code": status}}, status)


@asynccontextmanager
async def serving(fleet: Fleet, port: int = 0) -> AsyncIterator[int]:
    listener = listen("127.0.0.1", port)
    server = uvicorn.Server(uvicorn.Config(fleet.app, log_level="error"))
    task = asyncio.create_task(server.serve([listener]))
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await task


@pytest.fixture(scope="module")
def tokenizer_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    make_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def fleet(tokenizer_dir: Path) -> Fleet:
    return Fleet(tokenizer_dir)


@pytest.fixture
async def port(fleet: Fleet) -> AsyncIterator[int]:
    async with serving(fleet) as port:
        yield port


@pytest.fixture
async def engine(port: int) -> AsyncIterator[RemoteEngine]:
    engine = RemoteEngine(f"http://127.0.0.1:{port}")
    await engine.start()
    yield engine
    assert engine.in_flight() == 0
    await engine.stop()


async def collect(engine: RemoteEngine, request: EngineRequest = ASK) -> list[TokenDelta]:
    return [delta async for delta in engine.generate(request)]


async def test_properties_come_from_the_server(engine: RemoteEngine, tokenizer_dir: Path) -> None:
    assert (engine.model_name, engine.checkpoint, engine.max_model_len) == ("served", str(tokenizer_dir), 100)
    assert engine.eos_token_ids == (make_tokenizer().eos_token_id,)
    await engine.health()


async def test_key_and_url_with_v1(fleet: Fleet, port: int) -> None:
    engine = RemoteEngine(f"http://127.0.0.1:{port}/v1/", api_key="sesame")
    await engine.start()
    await engine.stop()
    assert fleet.keys == ["Bearer sesame"]


async def test_every_sampling_field_is_sent(fleet: Fleet, engine: RemoteEngine) -> None:
    """A server takes a missing field from the checkpoint's generation config."""
    await collect(engine)
    plain = Sampling()
    names = [name for name in Sampling.__slots__ if name not in ("seed", "logit_bias")]
    assert {name: fleet.bodies[-1][name] for name in names} == {name: getattr(plain, name) for name in names}
    assert fleet.bodies[-1]["ignore_eos"] is True


async def test_cached_tokens_are_in_the_last_delta(fleet: Fleet, engine: RemoteEngine) -> None:
    usage = {"choices": [], "usage": {"prompt_tokens_details": {"cached_tokens": 32}}}
    fleet.stream = lambda: sse(chunk(5), chunk(), chunk(6, 7, finish_reason="stop"), usage)
    assert await collect(engine) == [TokenDelta([5]), TokenDelta([6, 7], finish_reason="stop", cached_tokens=32)]


# Servers that cannot be used


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ({"data": [card("one"), card("two")]}, "one, two"),
        ({"data": [card("adapter", parent="base")]}, "adapter"),
        ({"data": []}, "serves none"),
        ("Welcome", "serves none"),
        ({"data": [card(max_model_len=None)]}, "max_model_len"),
        ({"data": [card(root="/nowhere")]}, "No tokenizer"),
    ],
)
async def test_unusable_model_lists(fleet: Fleet, port: int, models: Any, message: str) -> None:
    fleet.models = models
    with pytest.raises(EngineError, match=message):
        await RemoteEngine(f"http://127.0.0.1:{port}").start()


async def test_model_and_tokenizer_by_name(fleet: Fleet, port: int, tokenizer_dir: Path) -> None:
    fleet.models = {"data": [card(root="/nowhere"), card("adapter", parent="served", root="/nowhere")]}
    engine = RemoteEngine(f"http://127.0.0.1:{port}", model="adapter", tokenizer=str(tokenizer_dir))
    await engine.start()
    await engine.stop()
    assert (engine.model_name, engine.checkpoint) == ("adapter", str(tokenizer_dir))


@pytest.mark.parametrize(
    "answer",
    [
        {"choices": [{"text": "a", "finish_reason": "length"}]},
        {"choices": [{"text": "a", "finish_reason": "length", "logprobs": {"top_logprobs": [{"a": -1.0}]}}]},
        {"choices": [{"token_ids": [3], "logprobs": {"top_logprobs": [{"token_id:1": -1.0}]}}]},
    ],
)
async def test_server_without_token_ids_is_refused(fleet: Fleet, port: int, answer: Json) -> None:
    fleet.score = lambda _: answer
    with pytest.raises(EngineError, match="must be vLLM"):
        await RemoteEngine(f"http://127.0.0.1:{port}").start()


async def test_nobody_answers() -> None:
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    listener.close()
    with pytest.raises(EngineError, match=f"127.0.0.1:{port}"):
        await RemoteEngine(f"http://127.0.0.1:{port}").start()


async def test_a_start_up_error_has_the_url_without_its_password(fleet: Fleet, port: int) -> None:
    fleet.models = {"data": []}
    with pytest.raises(EngineError, match=rf"at http://127\.0\.0\.1:{port} did not start"):
        await RemoteEngine(f"http://me:pass@word@127.0.0.1:{port}/v1").start()


# Requests that fail


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


def choice(**fields: Any) -> Json:
    return {"choices": [{"index": 0, "finish_reason": "length", "logprobs": None, **fields}]}


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


# More tokens than allowed


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


# Connections


async def test_connection_lost_while_decoding(fleet: Fleet, engine: RemoteEngine) -> None:
    async def lines() -> AsyncIterator[str]:
        yield f"data: {json.dumps(chunk(5))}\n\n"
        raise ConnectionResetError

    fleet.stream = lambda: StreamingResponse(lines(), media_type="text/event-stream")
    with pytest.raises(EngineError, match="failed"):
        await collect(engine)


@pytest.mark.parametrize("delay", [1.0, 0.0], ids=["before the answer", "in its middle"])
async def test_silence_times_out_and_is_not_asked_for_again(fleet: Fleet, port: int, delay: float) -> None:
    async def lines() -> AsyncIterator[str]:
        yield f"data: {json.dumps(chunk(5))}\n\n"
        await asyncio.sleep(60)

    engine = RemoteEngine(f"http://127.0.0.1:{port}", timeout=0.5)
    await engine.start()
    fleet.bodies.clear()
    fleet.delay = delay
    fleet.stream = lambda: StreamingResponse(lines(), media_type="text/event-stream")
    with pytest.raises(EngineError, match="in time"):
        await collect(engine)
    assert len(fleet.bodies) == 1
    await engine.stop()


@asynccontextmanager
async def dropping(port: int) -> AsyncIterator[tuple[int, list[bool]]]:
    """A proxy of a port. For each True in the list it drops a connection with a request, then it passes bytes on."""
    drops: list[bool] = []

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.read(64 * 1024)
        if drops and drops.pop():
            writer.transport.abort()
            return
        behind, to_behind = await asyncio.open_connection("127.0.0.1", port)
        to_behind.write(request)
        while part := await behind.read(64 * 1024):
            writer.write(part)
        writer.close()
        to_behind.close()

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], drops


@pytest.mark.parametrize(("drops", "is_answered"), [(1, True), (2, False)])
async def test_a_connection_that_is_lost_before_the_answer_is_tried_once_more(
    port: int, tokenizer_dir: Path, drops: int, is_answered: bool
) -> None:
    fleet = Fleet(tokenizer_dir)
    fleet.app.middleware("http")(_close)
    async with serving(fleet) as behind, dropping(behind) as (front, left):
        engine = RemoteEngine(f"http://127.0.0.1:{front}")
        await engine.start()
        left.extend([True] * drops)
        if is_answered:
            assert len(await collect(engine)) == 1
        else:
            with pytest.raises(EngineError):
                await collect(engine)
        assert left == []
        await engine.stop()


async def _close(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Answer, and close the connection."""
    answer = await call_next(request)
    answer.headers["connection"] = "close"
    return answer


async def test_a_server_that_cannot_be_reached_is_left_alone_for_a_while(
    fleet: Fleet, tokenizer_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(fleet) as port:
        engine = RemoteEngine(f"http://127.0.0.1:{port}")
        await engine.start()
    for _ in range(breaker.MAX_FAILURES):
        with pytest.raises(EngineError, match="failed"):
            await collect(engine)
    for _ in range(2):
        with pytest.raises(EngineError, match="tried again within 10 seconds"):
            await collect(engine)
    async with serving(Fleet(tokenizer_dir), port):
        monkeypatch.setattr(engine._breaker, "_refuses_until", 0.0)
        with engine._breaker.attempt(), pytest.raises(EngineError, match="tried again"):
            await collect(engine)  # one call at a time
        monkeypatch.setattr(engine._breaker, "_refuses_until", 0.0)
        for _ in range(3):
            assert len(await collect(engine)) == 1
    await engine.stop()


async def test_a_trial_whose_client_leaves_is_followed_by_another(
    fleet: Fleet, engine: RemoteEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(breaker.MAX_FAILURES):
        engine._breaker.failed()
    monkeypatch.setattr(engine._breaker, "_refuses_until", 0.0)
    asked = asyncio.Event()

    async def never(*_: object, **__: object) -> None:
        asked.set()
        await asyncio.Future()

    with monkeypatch.context() as patched:
        patched.setattr(engine._client, "post", never)
        trial = asyncio.create_task(collect(engine))
        await asked.wait()
        trial.cancel()
        await asyncio.gather(trial, return_exceptions=True)
    assert len(await collect(engine)) == 1


async def test_a_call_that_is_no_trial_changes_nothing_when_its_client_leaves(
    engine: RemoteEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    async def never(*_: object, **__: object) -> None:
        asked.set()
        await asyncio.Future()

    monkeypatch.setattr(engine._client, "post", never)
    earlier = asyncio.create_task(collect(engine))
    await asked.wait()
    for _ in range(breaker.MAX_FAILURES):
        engine._breaker.failed()
    earlier.cancel()
    await asyncio.gather(earlier, return_exceptions=True)
    with pytest.raises(EngineError, match="tried again"):
        await collect(engine)


async def test_answers_that_are_errors_do_not_count_as_a_server_out_of_reach(fleet: Fleet, engine: RemoteEngine) -> None:
    """A client could otherwise shut out the others, by requests that the server fails on."""
    fleet.stream = lambda: error(500, "Internal server error")
    for _ in range(breaker.MAX_FAILURES + 1):
        with pytest.raises(EngineError, match="500"):
            await collect(engine)


async def test_a_request_that_begins_while_the_engine_stops(engine: RemoteEngine) -> None:
    decoding = asyncio.create_task(collect(engine))
    await asyncio.sleep(0)
    assert engine.in_flight()
    await engine.stop()
    with pytest.raises(EngineError, match="not running"):
        await decoding


async def test_server_that_comes_back(fleet: Fleet, tokenizer_dir: Path) -> None:
    async with serving(fleet) as port:
        engine = RemoteEngine(f"http://127.0.0.1:{port}")
        await engine.start()
        assert len(await collect(engine)) == 1
    with pytest.raises(EngineError):
        await engine.health()
    with pytest.raises(EngineError):
        await collect(engine)
    async with serving(Fleet(tokenizer_dir), port):
        await engine.health()
        assert len(await collect(engine)) == 1
    await engine.stop()
