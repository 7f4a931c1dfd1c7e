"""Audits of a server: which requests have one, what it decodes, and what it never does."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from support.keys import client_of, write_keys
from support.queues import FakeJob
from support.serving import MODEL, Running, running, scripted
from support.tiny import make_tokenizer
from support.tools import ADD_1_2, QUESTION, adder, called, named, with_tools

from autotool_core.errors import EngineError
from autotool_server.audit.auditor import LOWEST_PRIORITY
from autotool_server.conversation.job import Job
from autotool_server.engines.base import Capacity, EngineRequest, Score
from autotool_server.engines.scripted import ScriptedEngine

Json = dict[str, Any]
TOKENIZER = make_tokenizer()
SHORT, LONG = -50.0, 50.0
NUMBERS = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
TOOLS = [{"type": "function", "function": {"name": "half", "parameters": NUMBERS}}]


THOUGHT = "So.</think>\n\n"


def by_mode(long: str = THOUGHT + "Yes.", short: str = "Yes.") -> Callable[[EngineRequest], str]:
    return lambda request: short if TOKENIZER.decode([*request.prompt_ids]).endswith("</think>\n\n") else long


def engine(log_odds: float, **texts: str) -> ScriptedEngine:
    return scripted(by_mode(**texts), log_odds=log_odds)


async def chat(server: Running, **fields: Any) -> Json:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "?"}], "mode": "auto", **fields}
    answer: Any = await server.client.post("/chat/completions", body=body, cast_to=object)
    await server.idle()
    await server.state.auditor.settled()
    return answer


def outcomes(server: Running) -> dict[str, float]:
    (family,) = server.state.metrics.audits.collect()
    return {sample.labels["outcome"]: sample.value for sample in family.samples if sample.name.endswith("_total")}


@pytest.mark.parametrize(("log_odds", "resolved"), [(SHORT, "short"), (LONG, "long")])
async def test_the_other_mode_is_decoded_and_nobody_pays(tmp_path: Path, log_odds: float, resolved: str) -> None:
    served = engine(log_odds)
    keys = write_keys(tmp_path, alice={})
    async with running(served, audit=1, keys=keys) as server, client_of(server, "alice") as client:
        body = {"model": MODEL, "messages": [{"role": "user", "content": "?"}], "mode": "auto"}
        answer = (await client.post("/v1/chat/completions", json=body)).json()
        await server.idle()
        await server.state.auditor.settled()
        used = (await client.get("/v1/usage")).json()["today"]
        page = (await client.get("/metrics")).text
        (pair,) = server.state.auditor.records.pairs()["alice"]
    assert answer["autotool"]["turns"][0]["resolved"] == pair.resolved == resolved
    assert [request.priority for request in served.requests] == [0, LOWEST_PRIORITY]
    is_short = [TOKENIZER.decode([*request.prompt_ids]).endswith("</think>\n\n") for request in served.requests]
    assert is_short == [resolved == "short", resolved != "short"]
    assert pair.tokens == answer["usage"]["completion_tokens"] - 1
    assert (pair.other_tokens > pair.tokens) == (resolved == "short")
    assert (pair.solved, pair.other_solved) == (True, True)
    assert (used["requests"], used["completion_tokens"]) == (1, answer["usage"]["completion_tokens"])
    other = "long" if resolved == "short" else "short"
    assert f'autotool_audit_tokens_total{{resolved="{other}"}} {pair.other_tokens + 1}.0' in page
    assert f'autotool_requests_total{{mode="auto",resolved="{other}"' not in page
    assert 'autotool_audits_total{outcome="done"} 1.0' in page


async def test_which_requests_have_none() -> None:
    served = engine(SHORT)
    async with running(served, audit=1) as server:
        await chat(server, mode="short")
        await chat(server, n=2)
        await server.client.completions.create(model=MODEL, prompt="x")
        with pytest.raises(Exception, match="temperature"):
            await chat(server, temperature=9)
    assert outcomes(server) == {}
    async with running(engine(SHORT)) as server:
        await chat(server)
    assert outcomes(server) == {}


async def test_a_share_of_them_is_drawn() -> None:
    async with running(engine(SHORT), audit=0.3) as server:
        for _ in range(60):
            await chat(server)
    assert 5 <= outcomes(server)["done"] <= 35


async def test_a_stream_has_one_too() -> None:
    async with running(engine(SHORT), audit=1) as server:
        message: Any = {"role": "user", "content": "?"}
        stream = await server.client.chat.completions.create(model=MODEL, messages=[message], stream=True)
        async for _ in stream:
            pass
        await server.idle()
        await server.state.auditor.settled()
    assert outcomes(server) == {"done": 1}


@pytest.mark.parametrize(
    ("short", "long", "solved", "other_solved"),
    [
        (called("half", {"a": 1}), called("half", {"a": 2}), True, True),
        (called("half", {"a": "x"}), called("half", {"a": 2}), False, True),
        (called("half", {"a": 1}), called("half", {}), True, False),
        ("None.", called("double", {"a": 1}), True, False),
    ],
)
async def test_calls_are_judged_by_their_form(short: str, long: str, solved: bool, other_solved: bool) -> None:
    async with running(engine(SHORT, short=short, long=THOUGHT + long), audit=1) as server:
        await chat(server, tools=TOOLS)
        (pair,) = server.state.auditor.records.pairs()[None]
    assert (pair.solved, pair.other_solved, pair.settled_by) == (solved, other_solved, "form")


async def test_an_answer_that_was_cut_is_not_solved() -> None:
    async with running(engine(SHORT, long="So it is. " * 20), audit=1) as server:
        await chat(server, max_tokens=10)
        (pair,) = server.state.auditor.records.pairs()[None]
    assert (pair.solved, pair.other_solved) == (True, False)


async def test_no_tool_is_run() -> None:
    tool = adder()
    texts = by_mode(long=THOUGHT + ADD_1_2, short="None.")
    async with with_tools(scripted(texts, log_odds=SHORT), tool, audit=1) as server:
        await chat(server, messages=QUESTION, tools=named("math.add"))
        (pair,) = server.state.auditor.records.pairs()[None]
    assert tool.calls == []
    assert (pair.settled_by, pair.other_solved) == ("form", True)


async def test_the_tools_of_the_answer_settle_it() -> None:
    turns = iter([ADD_1_2, "It is 3."])
    tool = adder()
    served = scripted(lambda request: THOUGHT + ADD_1_2 if request.priority else next(turns), log_odds=SHORT)
    async with with_tools(served, tool, audit=1) as server:
        await chat(server, messages=QUESTION, tools=named("math.add"))
        (pair,) = server.state.auditor.records.pairs()[None]
    assert len(tool.calls) == 1
    assert (pair.solved, pair.other_solved, pair.settled_by) == (True, True, "tools")


async def test_under_load_it_is_dropped() -> None:
    """While the next request has the only place in the engine."""
    async with running(engine(SHORT), audit=1, max_running_requests=1) as server:
        await asyncio.gather(*(chat(server) for _ in range(3)))
        await server.state.auditor.settled()
    assert outcomes(server) == {"dropped": 2, "done": 1}


async def test_it_begins_only_where_a_seat_is_idle() -> None:
    """The engine takes one request more than it decodes: the place in its own queue is not for audits."""
    served = engine(SHORT)
    served.capacity = Capacity(2, seats=1)
    async with running(served, audit=1) as server:
        ticket = server.state.queue.join(cast("Job", FakeJob()))
        await chat(server)
        assert outcomes(server) == {"dropped": 1}
        server.state.queue.leave(ticket)
        await chat(server)
    assert outcomes(server) == {"dropped": 1, "done": 1}


class Auditing(ScriptedEngine):
    """Holds audits until they are released, or fails in them."""

    def __init__(self, error: Exception | None = None) -> None:
        inner = engine(SHORT)
        super().__init__(inner.tokenizer, inner.eos_token_ids, inner.script, log_odds=SHORT)
        self.release = asyncio.Event()
        self.error = error
        self.began = 0

    async def score(self, *given: Any, priority: int = 0, **options: Any) -> Score:
        if priority == LOWEST_PRIORITY:
            self.began += 1
            if self.error is not None:
                raise self.error
            await self.release.wait()
        return await super().score(*given, priority=priority, **options)


async def answered(server: Running, number: int) -> None:
    """Send requests one after another, and wait for no audit."""
    message: Any = {"role": "user", "content": "?"}
    for _ in range(number):
        await server.client.chat.completions.create(model=MODEL, messages=[message])
        await server.idle()


async def test_one_at_a_time_and_few_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autotool_server.audit.auditor.MAX_WAITING", 2)
    served = Auditing()
    async with running(served, audit=1) as server:
        await answered(server, 5)
        assert (served.began, outcomes(server)) == (1, {"dropped": 2})
        served.release.set()
        await server.state.auditor.settled()
        assert (served.began, outcomes(server)) == (3, {"dropped": 2, "done": 3})


async def test_the_seats_of_other_audits_are_not_idle() -> None:
    served = Auditing()
    served.capacity = Capacity(4, seats=2)
    async with running(served, audit=1, audit_at_once=3) as server:
        await answered(server, 3)
        assert (served.began, outcomes(server)) == (2, {"dropped": 1})
        served.release.set()
        await server.state.auditor.settled()
    assert outcomes(server) == {"dropped": 1, "done": 2}


async def test_a_stop_ends_them_at_once() -> None:
    served = Auditing()
    async with asyncio.timeout(60), running(served, audit=1) as server:
        await answered(server, 2)
        assert served.began == 1
    assert (served.began, served.in_flight(), outcomes(server)) == (1, 0, {"dropped": 2})
    assert server.state.auditor.records.pairs() == {}


@pytest.mark.parametrize("error", [EngineError("The engine is gone."), RuntimeError("bug")])
async def test_one_that_fails_is_counted(error: Exception) -> None:
    async with running(Auditing(error), audit=1) as server:
        await answered(server, 1)
        await server.state.auditor.settled()
    assert outcomes(server) == {"failed": 1}
    assert server.state.auditor.records.pairs() == {}
