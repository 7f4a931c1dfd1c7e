"""Traces of requests, as a collector receives them: spans that end whatever happens, and nothing of what was said."""

import asyncio
import functools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import APIStatusError
from support.collector import ERROR, Collected, Collector, collecting, collecting_over_grpc
from support.engines import until
from support.keys import write_keys
from support.serving import MODEL, Running, failing, held, running, scripted
from support.tools import ADD_1_2, adder, called, named, stream, with_tools
from support.tools import Scripted as Tool

from autotool_server import tracing
from autotool_server.engines.base import Capacity
from autotool_server.tracing import otlp

SECRET = "xylophone"
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE, PARENT = CALLER.split("-")[1:3]
CALLED = {"traceparent": CALLER}
SHORT = {"mode": "short"}
POST = "POST /v1/chat/completions"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")  # milliseconds until a batch is sent
    with collecting() as collector:
        yield collector


async def ask(server: Running, text: str = SECRET, headers: dict[str, str] | None = None, **body: Any) -> Any:
    extra = {"mode": body.pop("mode", "short")}
    messages: Any = [{"role": "user", "content": text}]
    create: Any = server.client.chat.completions.create
    return await create(model=MODEL, messages=messages, extra_body=extra, extra_headers=headers, **body)


def attributes(span: Collected, prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in span.attributes.items() if name.startswith(prefix)}


async def test_a_streamed_tool_loop(collector: Collector) -> None:
    engine = scripted(f"Hm.\n</think>\n\n{ADD_1_2}", "So 3.\n</think>\n\nIt is three.", log_odds=50.0)
    async with with_tools(engine, adder(), otlp_traces_endpoint=collector.url) as server:
        chunks = await stream(server, named("math.add"), mode="auto")
        await collector.holds("POST")
    record = chunks[-1].model_extra["autotool"]  # pyright: ignore[reportOptionalSubscript]
    root = collector.one(POST)
    names = ["prepare", f"decide {MODEL}", f"chat {MODEL}", "execute_tool math.add"]
    assert collector.children(root) == [*names, "prepare", f"decide {MODEL}", f"chat {MODEL}"]
    assert {span.trace_id for span in collector.spans} == {root.trace_id}
    assert (root.kind, root.parent, root.status) == ("server", "", (0, ""))
    shown = {"http.request.method": "POST", "http.route": "/v1/chat/completions", "http.response.status_code": 200}
    assert root.attributes.items() >= shown.items()
    known = attributes(root, "autotool.")
    assert (known["mode"], known["resolved"], known["turns"], known["stream"]) == ("auto", "long", 2, True)
    assert known["prompt_tokens"] == sum(turn["prompt_tokens"] for turn in record["turns"])
    assert set(record["timings"]) == {"queue", "decide", "first_token", "reasoning", "total"}
    assert known["first_token_seconds"] == pytest.approx(record["timings"]["first_token"], abs=1e-5)
    decided, generated = collector.named("decide")[0], collector.named("chat")[0]
    assert decided.attributes["autotool.p_long"] == pytest.approx(record["turns"][0]["p_long"])
    assert attributes(decided, "gen_ai.").items() >= {"operation.name": "decide", "usage.output_tokens": 1}.items()
    usage = {"output_tokens": sum(record["turns"][0][f"{kind}_tokens"] for kind in ("reasoning", "content"))}
    usage["reasoning.output_tokens"] = record["turns"][0]["reasoning_tokens"]
    assert attributes(generated, "gen_ai.usage.").items() >= usage.items()
    assert attributes(generated, "gen_ai.response.") == {"finish_reasons": ["stop"]}
    tool = attributes(collector.one("execute_tool"), "gen_ai.tool.")
    assert tool == {"name": "math.add", "call.id": record["turns"][0]["executions"][0]["id"], "type": "extension"}
    assert collector.one("execute_tool").attributes["autotool.outcome"] == "ok"
    assert root.resource["service.name"] == "autotool-server"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/completions"])
async def test_nothing_of_what_was_said_is_in_a_trace(collector: Collector, path: str) -> None:
    """Neither what clients send, the query and the headers included, nor what models and tools say."""
    engine = scripted(f"{SECRET}\n</think>\n\n{called('math.say', {'word': SECRET})}", f"</think>\n\n{SECRET}")
    parameters = {"type": "object", "properties": {"word": {"type": "string"}}}
    body: dict[str, Any] = {"model": MODEL, "user": SECRET, "mode": "long", "tools": named("math.say")}
    body |= {"messages": [{"role": "user", "content": SECRET}]}
    if path == "/v1/messages":
        body = {"model": MODEL, "max_tokens": 99, "messages": body["messages"]}
    if path == "/v1/responses":
        body = {"model": MODEL, "input": SECRET, "mode": "long", "tools": named("math.say")}
    if path == "/v1/completions":
        body = {"model": MODEL, "prompt": SECRET}

    async def say(arguments: Any) -> str:
        raise RuntimeError(arguments["word"])

    tool = Tool("math.say", say, parameters)
    async with with_tools(engine, tool, otlp_traces_endpoint=collector.url) as server, httpx.AsyncClient() as client:
        url = f"{server.url.removesuffix('/v1')}{path}?q={SECRET}"
        answer = await client.post(url, json=body, headers={"x-other": SECRET, "authorization": f"Bearer {SECRET}"})
        assert answer.status_code == 200, answer.text
        await collector.holds("POST")
    assert len(collector.spans) >= 3
    assert SECRET not in repr(collector.spans)
    if path in ("/v1/chat/completions", "/v1/responses"):
        assert collector.one("execute_tool").status == (ERROR, "error")


async def test_a_callers_trace_is_continued_and_passed_on(collector: Collector) -> None:
    engine = scripted("Hm.\n</think>\n\nFour.", log_odds=50.0)
    async with running(engine, otlp_traces_endpoint=collector.url) as server:
        await ask(server, mode="auto", headers={"traceparent": CALLER, "tracestate": "a=b"})
        await collector.holds("POST")
    root = collector.one(POST)
    assert (root.trace_id, root.parent) == (TRACE, PARENT)
    decision = {"traceparent": f"00-{TRACE}-{collector.one('decide').id}-01", "tracestate": "a=b"}
    # An engine may go on from the decision in the same request, before the span of the answer begins.
    assert engine.trace_headers == [decision]
    assert engine.requests[0].trace_headers == decision


async def test_a_callers_trace_is_passed_on_without_a_decision(collector: Collector) -> None:
    engine = scripted("Four.")
    async with running(engine, otlp_traces_endpoint=collector.url) as server:
        await ask(server, mode="short", headers={"traceparent": CALLER, "tracestate": "a=b"})
        await collector.holds("POST")
    step = collector.one("chat")
    assert engine.requests[0].trace_headers == {"traceparent": f"00-{TRACE}-{step.id}-01", "tracestate": "a=b"}


@pytest.mark.parametrize("as_stream", [False, True], ids=["whole", "stream"])
async def test_the_spans_of_a_leaver_end(collector: Collector, as_stream: bool) -> None:
    engine = scripted("Four. " * 20)
    release = held(engine, after=9)
    async with running(engine, otlp_traces_endpoint=collector.url) as server:
        asking = asyncio.create_task(ask(server, stream=as_stream))
        await until(engine.in_flight)
        if as_stream:
            await (await asking).close()
        asking.cancel()
        await server.idle()
        await collector.holds("POST")
    release.set()
    assert collector.one("chat").status == (ERROR, "cancelled")
    assert collector.one("chat").attributes["error.type"] == "cancelled"
    assert collector.one(POST).status == (ERROR, "cancelled")
    assert collector.one(POST).attributes["http.response.status_code"] == 499


@pytest.mark.parametrize("after", [0, 3])
async def test_an_error_is_told(collector: Collector, after: int) -> None:
    engine = scripted("Four and five.")
    failing(engine, after)
    async with running(engine, otlp_traces_endpoint=collector.url) as server:
        with pytest.raises(Exception, match="engine is gone"):
            [chunk async for chunk in await ask(server, stream=True)]
        await collector.holds("POST")
    assert collector.one("chat").status == (ERROR, "EngineError")
    root = collector.one(POST)
    assert (root.status, root.attributes["error.type"]) == ((ERROR, "engine_error"), "engine_error")
    assert root.attributes["http.response.status_code"] == 503, "that of the log, though the stream has begun with 200"


async def test_what_the_stop_of_the_server_cuts_is_told(collector: Collector) -> None:
    engine = scripted("Four. " * 20)
    release = held(engine, after=9)
    async with running(engine, otlp_traces_endpoint=collector.url) as server:
        answer = await ask(server, stream=True)
        server.state.shutdown.cut()
        with pytest.raises(Exception, match="stopping"):
            [chunk async for chunk in answer]
        await collector.holds("POST")
    release.set()
    assert collector.one(POST).status[0] == ERROR
    assert collector.one("chat").status == (ERROR, "cancelled")


async def test_a_fault_of_the_client_is_none_of_the_server(collector: Collector) -> None:
    async with running(scripted("x"), otlp_traces_endpoint=collector.url) as server, httpx.AsyncClient() as client:
        with pytest.raises(APIStatusError):
            await ask(server, mode=SECRET)
        await client.get(f"{server.url}/nothing")
        await client.get(f"{server.url.removesuffix('/v1')}/health")
        await collector.holds("GET")
    root = collector.one("POST")
    assert (root.status, root.attributes["error.type"]) == ((0, ""), "invalid_value")
    assert root.attributes["http.response.status_code"] == 400
    assert collector.one("prepare").status == (ERROR, "InvalidRequestError")
    assert collector.one("GET").name == "GET", "neither the path nor a health probe"


async def test_a_key_is_named_and_never_shown(collector: Collector, tmp_path: Path) -> None:
    keys = write_keys(tmp_path, alice={})
    async with running(scripted("Four."), keys=keys, otlp_traces_endpoint=collector.url) as server:
        await ask(server, headers={"authorization": "Bearer alice", "x-request-id": "request-1"})
        await collector.holds("POST")
    assert attributes(collector.one("POST"), "autotool.").items() >= {"key": "alice", "request_id": "request-1"}.items()
    assert "Bearer" not in repr(collector.spans)


@asynccontextmanager
async def full(collector: Collector, **settings: Any) -> AsyncIterator[tuple[Running, asyncio.Event, asyncio.Task[Any]]]:
    """Serve while one request takes the only place, until the event is set."""
    engine = scripted("Four.")
    engine.capacity = Capacity(1)
    release = held(engine, after=0)
    async with running(engine, otlp_traces_endpoint=collector.url, **settings) as server:
        first = asyncio.create_task(ask(server))
        await until(lambda: len(engine.requests) == 1)
        yield server, release, first
        release.set()
        await asyncio.wait({first})
        await server.idle()


def queue_seconds(server: Running) -> tuple[float, float]:
    """Return the number of waits, and their sum."""
    value = server.state.metrics.registry.get_sample_value
    return value("autotool_queue_seconds_count") or 0, value("autotool_queue_seconds_sum") or 0


async def test_a_wait_in_the_queue_is_a_span(collector: Collector) -> None:
    async with full(collector) as (server, release, first):
        second = asyncio.create_task(ask(server, headers=CALLED))
        await until(lambda: len(server.state.queue._waiting) == 1)
        await asyncio.sleep(0.05)
        release.set()
        timings = (await second).model_extra["autotool"]["timings"]
        await first
        await collector.holds("POST", 2)
    waited = collector.one("admission")
    assert (waited.trace_id, waited.status) == (TRACE, (0, ""))
    assert waited.seconds == pytest.approx(timings["queue"], abs=1e-3)
    assert timings["queue"] >= 0.05
    assert timings["first_token"] > timings["queue"]


async def test_the_store_of_spend_is_no_part_of_the_wait(collector: Collector) -> None:
    async with running(scripted("Four."), otlp_traces_endpoint=collector.url) as server:
        admit = server.state.quotas.admit

        async def late(key: Any, job: Any) -> Any:
            await asyncio.sleep(1)
            return await admit(key, job)

        server.state.quotas.admit = late
        timings = (await ask(server)).model_extra["autotool"]["timings"]
        await collector.holds("POST")
        assert queue_seconds(server) == (1, pytest.approx(timings["queue"], abs=1e-5))
    assert timings["queue"] < 1 < timings["total"]


@pytest.mark.parametrize("seconds", [0, 0.05], ids=["at once", "after waiting"])
async def test_a_refused_wait_is_a_span_with_an_error(collector: Collector, seconds: float) -> None:
    async with full(collector, max_queue_seconds=seconds) as (server, _, _):
        with pytest.raises(APIStatusError):
            await ask(server, headers=CALLED)
        await collector.holds("POST")
        num_waits, waited = queue_seconds(server)
    refused, (root,) = collector.one("admission"), [span for span in collector.named("POST") if span.trace_id == TRACE]
    assert (refused.parent, refused.status) == (root.id, (ERROR, "OverloadedError"))
    assert (num_waits, waited >= seconds) == (1 if seconds == 0 else 2, True)


@pytest.mark.parametrize(("end", "kind"), [("leave", "cancelled"), ("stop", "StoppingError")])
async def test_a_wait_that_a_leaver_or_a_stop_ends_is_a_span_with_an_error(collector: Collector, end: str, kind: str) -> None:
    async with full(collector) as (server, _, _):
        waiting = asyncio.create_task(ask(server))
        await until(lambda: len(server.state.queue._waiting) == 1)
        if end == "leave":
            waiting.cancel()
        else:
            server.state.shutdown.drain()
        await asyncio.wait({waiting})
        await collector.holds("POST")
    assert collector.one("admission").status == (ERROR, kind)


async def test_work_in_the_background_is_in_the_trace_of_its_request(collector: Collector, tmp_path: Path) -> None:
    engine = scripted("Four.")
    release = held(engine)
    store = f"sqlite:///{tmp_path / 'responses.db'}"
    async with running(engine, response_store=store, otlp_traces_endpoint=collector.url) as server:
        create: Any = server.client.responses.create
        await create(model=MODEL, input="2+2?", background=True, extra_body=SHORT, extra_headers=CALLED)
        await collector.holds("POST /v1/responses")
        release.set()
        await collector.holds("background")
    root, background = collector.one("POST"), collector.one("background")
    assert (root.trace_id, background.parent, collector.one("chat").parent) == (TRACE, root.id, background.id)
    assert background.attributes["autotool.turns"] == 1
    assert "autotool.turns" not in root.attributes


async def test_choices_have_spans_of_their_own(collector: Collector) -> None:
    async with running(scripted("Four."), otlp_traces_endpoint=collector.url) as server:
        await ask(server, n=3)
        await collector.holds("POST")
    assert collector.children(collector.one(POST)).count(f"chat {MODEL}") == 3


async def test_what_is_not_sampled_is_passed_on_and_not_sent(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    engine = scripted("Four.")
    async with running(engine, otlp_traces_endpoint=collector.url) as server:
        await ask(server, headers=CALLED)
        await server.idle()
        assert "trace_id" not in server.state.metrics.page().decode()
    assert engine.requests[0].trace_headers["traceparent"].startswith(f"00-{TRACE}-")
    assert engine.requests[0].trace_headers["traceparent"].endswith("-00")
    assert collector.spans == []


async def test_the_end_of_the_server_sends_what_is_left(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "600000")
    async with running(scripted("Four."), otlp_traces_endpoint=collector.url) as server:
        await ask(server)
    assert collector.one(POST).attributes["http.response.status_code"] == 200


async def test_a_collector_that_is_down_is_told_once(collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    collector.status = 400
    async with running(scripted("Four."), otlp_traces_endpoint=collector.url) as server:
        for batches in (1, 2):
            assert (await ask(server)).choices[0].message.content == "Four."
            await until(functools.partial(collector.has_received, batches))
        collector.status = 200
        await ask(server)
        await collector.holds("POST")
    told = [record.getMessage() for record in caplog.records if "collector" in record.getMessage()]
    assert [text.split(" at ")[1].split()[:3] for text in told] == [[collector.url[7:], "takes", no] for no in ("no", "spans")]


async def test_a_latency_leads_to_its_trace(collector: Collector) -> None:
    openmetrics = {"accept": "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2"}
    async with running(scripted("Four."), otlp_traces_endpoint=collector.url) as server, httpx.AsyncClient() as client:
        await ask(server, headers=CALLED)
        await server.idle()
        url = server.url.removesuffix("/v1") + "/metrics"
        page, text = await client.get(url, headers=openmetrics), await client.get(url)
    assert page.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert page.text.endswith("# EOF\n")
    assert page.text.count("# EOF") == 1
    for name in ("time_to_first_token", "request"):
        [line] = [line for line in page.text.splitlines() if line.startswith(f"autotool_{name}_seconds_bucket") and "#" in line]
        assert f'# {{trace_id="{TRACE}"}}' in line
    assert text.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "trace_id" not in text.text
    assert "autotool_request_seconds_bucket" in text.text


async def test_beside_the_server_only_vllm_is_traced(collector: Collector) -> None:
    """The SDK of MCP would export what servers say in errors, and every listing of tools."""
    tracer = tracing.open_tracer(collector.url)
    assert tracer is not None
    provider = otlp._ForVllm(tracer._provider)
    for name in ("vllm.tracing.otel", "mcp-python-sdk"):
        with provider.get_tracer(name).start_as_current_span(name):
            pass
    await tracer.close()
    assert [span.name for span in collector.spans] == ["vllm.tracing.otel"]


async def test_a_collector_that_speaks_grpc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    with collecting_over_grpc() as collector:
        async with running(scripted("It is four."), otlp_traces_endpoint=collector.url) as server:
            await ask(server)
            [root] = await collector.holds(POST)
    assert root.resource["service.name"] == "autotool-server"
    assert SECRET not in str(collector.spans)
