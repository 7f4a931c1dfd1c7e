"""Responses that are stored: chained, read, listed, deleted, run in the background and cancelled."""

import asyncio
import json
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import ResponseItem
from pydantic import TypeAdapter
from support.responses import ADD, ask, post, stream, text
from support.serving import MODEL, Running, failing, held, running, scripted
from support.tools import ADD_1_2, adder, named, with_tools

from autotool_core.errors import AutoToolError
from autotool_server.api.responses import loading, protocol, resources
from autotool_server.engines.scripted import ScriptedEngine
from autotool_server.settings import Settings
from autotool_server.state_store import responses as store

REASONING = "Hm.\n</think>\n\n"
CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 2}}\n</tool_call>'
ITEM: TypeAdapter[Any] = TypeAdapter(ResponseItem)


@asynccontextmanager
async def storing(folder: Path, engine: ScriptedEngine, **settings: Any) -> AsyncIterator[Running]:
    async with running(engine, response_store=f"sqlite:///{folder / 'responses.db'}", **settings) as server:
        yield server


def prompts(engine: ScriptedEngine) -> list[list[int]]:
    return [list(request.prompt_ids) for request in engine.requests]


async def test_chained_and_resent_histories_render_to_the_same_prompt(tmp_path: Path) -> None:
    texts = [f"{REASONING}Adding.\n{CALL}", f"{REASONING}Four.", "Six."]
    engine = scripted(*texts)
    async with storing(tmp_path, engine) as server:
        answer = await ask(server, mode="long", tools=[ADD], instructions="Add.")
        assert answer["store"] is True
        result = {"type": "function_call_output", "call_id": answer["output"][-1]["call_id"], "output": "4"}
        fields: dict[str, Any] = {"mode": "long", "tools": [ADD], "instructions": "Add."}
        second = await ask(server, **fields, input=[result], previous_response_id=answer["id"])
        assert second["previous_response_id"] == answer["id"]
        await ask(server, input="And 3+3?", tools=[ADD], previous_response_id=second["id"])
    resent = scripted(*texts)
    async with running(resent) as server:
        history: list[Any] = [{"role": "user", "content": "2+2?"}]
        answer = await ask(server, **fields, input=history)
        history += [*answer["output"], {**result, "call_id": answer["output"][-1]["call_id"]}]
        history += (await ask(server, **fields, input=history))["output"]
        # The instructions do not carry over.
        await ask(server, input=[*history, {"role": "user", "content": "And 3+3?"}], tools=[ADD])
    assert prompts(engine) == prompts(resent)
    assert engine.tokenizer.decode(engine.requests[2].prompt_ids).count("Hm.") == 2


async def test_what_is_loaded_is_worked_on_in_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small body may follow a long conversation, or refer to a long item."""
    threads: list[str] = []

    def spied(function: Callable[..., Any]) -> Callable[..., Any]:
        def spy(*arguments: Any) -> Any:
            threads.append(threading.current_thread().name.partition("_")[0])
            return function(*arguments)

        return spy

    monkeypatch.setattr(protocol, "conversation_request", spied(protocol.conversation_request))
    monkeypatch.setattr(loading, "_parsed", spied(loading._parsed))
    async with storing(tmp_path, scripted("Four.", "Five.", "Six.")) as server:
        answer = await ask(server)
        assert threads == ["MainThread"]
        threads.clear()
        await ask(server, previous_response_id=answer["id"])
        await ask(server, input=[{"type": "item_reference", "id": answer["output"][0]["id"]}])
        assert threads == ["responses", "responses", "texts", "responses", "texts"]


async def test_calls_of_server_tools_are_chained_turn_by_turn(tmp_path: Path) -> None:
    engine = scripted(ADD_1_2, ADD_1_2, "It is 3.", "Yes.")
    async with with_tools(engine, adder(), response_store=f"sqlite:///{tmp_path / 'r.db'}") as server:
        answer = await ask(server, tools=named("math.add"))
        assert answer["autotool"]["transcript"] is not None
        await ask(server, tools=named("math.add"), input="Sure?", previous_response_id=answer["id"])
    before, after = prompts(engine)[2:]
    tail = engine.tokenizer.decode(after)
    # The engine has cached all but what is new: the answer, and the question.
    assert tail.startswith(engine.tokenizer.decode(before).removesuffix("<think>\n\n</think>\n\n"))


async def test_a_stored_response_is_read_and_deleted(tmp_path: Path) -> None:
    async with storing(tmp_path, scripted(f"{REASONING}Four.")) as server:
        client = server.client.responses
        answer = await ask(server, mode="long", metadata={"topic": "sums"})
        stored = await client.retrieve(answer["id"])
        assert json.loads(stored.to_json()) == answer
        await client.delete(answer["id"])
        with pytest.raises(openai.NotFoundError):
            await client.retrieve(answer["id"])
        with pytest.raises(openai.NotFoundError):
            await client.delete(answer["id"])
        refused = await post(server, previous_response_id=answer["id"])
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "previous_response_not_found")
        with sqlite3.connect(tmp_path / "responses.db") as database:
            assert database.execute("SELECT count(*) FROM autotool_response_items").fetchone() == (0,)


async def test_a_stream_is_stored_before_it_ends(tmp_path: Path) -> None:
    async with storing(tmp_path, scripted("Four.")) as server:
        response = (await stream(server))[-1]["response"]
        assert json.loads((await server.client.responses.retrieve(response["id"])).to_json()) == response
        response = (await stream(server, max_output_tokens=2))[-1]["response"]
        assert (await server.client.responses.retrieve(response["id"])).status == "incomplete"


async def test_what_is_not_to_be_stored_is_not(tmp_path: Path) -> None:
    async with storing(tmp_path, scripted("Four.")) as server:
        answer = await ask(server, store=False)
        assert answer["store"] is False
        with pytest.raises(openai.NotFoundError):
            await server.client.responses.retrieve(answer["id"])


async def test_input_items_are_listed_page_by_page(tmp_path: Path) -> None:
    given: list[Any] = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "input_text", "text": "2+2?", "cache": {"any": "thing"}}], "mine": 1},
        {"type": "reasoning", "id": "rs_1", "content": [{"type": "reasoning_text", "text": "Hm."}]},
        {"role": "assistant", "content": "Adding."},
        {"type": "function_call", "call_id": "c", "name": "add", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "4"},
    ]
    async with storing(tmp_path, scripted("Four.")) as server:
        answer = await ask(server, input=given)
        items = server.client.responses.input_items
        first = await items.list(answer["id"], order="asc", limit=4)
        rest = await items.list(answer["id"], order="asc", after=first.data[-1].id or "")
        back = await items.list(answer["id"])
    assert [item.type for item in first.data] == ["message", "message", "reasoning", "message"]
    assert (first.has_more, rest.has_more) == (True, False)
    assert [item.type for item in rest.data] == ["function_call", "function_call_output"]
    listed: list[Any] = [json.loads(item.to_json()) for item in [*first.data, *rest.data]]
    assert [json.loads(item.to_json()) for item in back.data] == listed[::-1]
    assert (listed[1]["mine"], listed[1]["content"][0]["cache"]) == (1, {"any": "thing"})
    for item in listed:
        ITEM.validate_python(item)


async def test_an_item_can_be_referred_to(tmp_path: Path) -> None:
    engine = scripted("Four.", "Yes.")
    async with storing(tmp_path, engine) as server:
        answer = await ask(server)
        reference = {"id": answer["output"][0]["id"]}
        question = {"role": "user", "content": "Sure?"}
        await ask(server, input=[{"type": "item_reference", **reference}, question])
        await ask(server, input=[reference, question])
        await ask(server, input=[*answer["output"], question])
        assert len(set(map(tuple, prompts(engine)[1:]))) == 1
        refused = await post(server, input=[{"type": "item_reference", "id": "msg_\x00"}])
        assert refused.json()["error"]["param"] == "input.0.id"


async def test_a_response_expires_and_a_chain_keeps_what_it_follows(tmp_path: Path) -> None:
    async with storing(tmp_path, scripted("Four."), response_ttl_seconds=1000) as server:
        old = await ask(server)
        kept = await ask(server)
        with sqlite3.connect(tmp_path / "responses.db") as database:
            database.execute("UPDATE autotool_responses SET expires_at = 1 WHERE id = ?", (old["id"],))
            database.execute("UPDATE autotool_responses SET expires_at = expires_at - 900 WHERE id = ?", (kept["id"],))
        with pytest.raises(openai.NotFoundError):
            await server.client.responses.retrieve(old["id"])
        assert (await post(server, previous_response_id=old["id"])).status_code == 400
        follow = await ask(server, previous_response_id=kept["id"])
        with sqlite3.connect(tmp_path / "responses.db") as database:
            rows = dict(database.execute("SELECT id, expires_at FROM autotool_responses").fetchall())
        assert rows.keys() == {kept["id"], follow["id"]}
        assert rows[kept["id"]] == rows[follow["id"]]


async def test_many_are_stored_at_once(tmp_path: Path) -> None:
    async with storing(tmp_path, scripted("Four."), response_ttl_seconds=1) as server:
        for _ in range(2):
            answers = await asyncio.gather(*(ask(server) for _ in range(40)))
            assert len({answer["id"] for answer in answers}) == 40
            # Those of the first round expire, and many writes delete them.
            await asyncio.sleep(1.1)


async def test_without_a_store_it_is_said_how_to_have_one() -> None:
    async with running(scripted("Four.")) as server, httpx.AsyncClient() as client:
        assert (await ask(server, store=True))["store"] is False
        for body in ({"previous_response_id": "resp_1"}, {"background": True}):
            refused = await post(server, **body)
            assert refused.status_code == 400
            assert "--response-store sqlite:///responses.db" in refused.json()["error"]["message"]
        for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/input_items")):
            answer = await client.request(method, f"{server.url}/responses/resp_1{path}")
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "no_response_store")


async def test_the_routes_need_the_key(tmp_path: Path) -> None:
    async with storing(tmp_path, scripted("Four."), api_key="secret") as server, httpx.AsyncClient() as client:
        for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/input_items")):
            answer = await client.request(method, f"{server.url}/responses/resp_1{path}")
            assert answer.status_code == 401


@pytest.mark.parametrize(
    ("store", "word"),
    [("nonsense", "address"), ("sqlite://", "file"), ("sqlite:////no/such/folder/r.db", "opened"), ("nodb://x/y", "driver")],
)
async def test_a_store_that_cannot_be_opened_ends_the_start(store: str, word: str) -> None:
    with pytest.raises(AutoToolError, match=f"--response-store.*{word}"):
        async with running(scripted("Four."), response_store=store):
            pass


async def ended(server: Running, response_id: str) -> Any:
    """Return a response once it has ended."""
    for _ in range(500):
        response = await server.client.responses.retrieve(response_id)
        if response.status not in {"queued", "in_progress"}:
            return response
        await asyncio.sleep(0.02)
    raise AssertionError("the response has not ended")


async def test_a_response_runs_in_the_background(tmp_path: Path) -> None:
    engine = scripted("Four.", "Yes.")
    release = held(engine)
    async with storing(tmp_path, engine) as server:
        answer = await ask(server, background=True)
        assert (answer["status"], answer["output"]) == ("queued", [])
        assert (await server.client.responses.retrieve(answer["id"])).status == "in_progress"
        assert server.state.admission.in_flight == 1
        given = await server.client.responses.input_items.list(answer["id"])
        early = await post(server, previous_response_id=answer["id"])
        assert (early.status_code, early.json()["error"]["param"]) == (400, "previous_response_id")
        release.set()
        response = await ended(server, answer["id"])
        assert (response.status, response.output_text, response.background) == ("completed", "Four.", True)
        await server.idle()
        assert (await server.client.responses.input_items.list(answer["id"])).data == given.data
        assert text(await ask(server, input="Sure?", previous_response_id=answer["id"])) == "Yes."
        assert 'status="200"} 2.0' in server.state.metrics.page().decode()


async def test_a_background_response_is_cancelled(tmp_path: Path) -> None:
    engine = scripted("Four.")
    held(engine)
    async with storing(tmp_path, engine) as server:
        answer = await ask(server, background=True)
        cancelled = await server.client.responses.cancel(answer["id"])
        assert cancelled.status == "cancelled"
        await server.idle()
        assert len(engine.aborted) == 1
        assert (await server.client.responses.cancel(answer["id"])).status == "cancelled"
        engine.gate = None
        other = await ask(server)
        with pytest.raises(openai.BadRequestError, match="background"):
            await server.client.responses.cancel(other["id"])


async def test_a_deleted_background_response_stays_deleted(tmp_path: Path) -> None:
    engine = scripted("Four.")
    held(engine)
    async with storing(tmp_path, engine) as server:
        answer = await ask(server, background=True)
        await server.client.responses.delete(answer["id"])
        await server.idle()
        with pytest.raises(openai.NotFoundError):
            await server.client.responses.retrieve(answer["id"])


async def test_a_response_that_another_server_cancelled_stays_cancelled(tmp_path: Path) -> None:
    engine = scripted("Four.")
    release = held(engine)
    async with storing(tmp_path, engine) as server, storing(tmp_path, scripted("x")) as other:
        answer = await ask(server, background=True)
        assert (await other.client.responses.cancel(answer["id"])).status == "cancelled"
        release.set()
        await server.idle()
        assert (await server.client.responses.retrieve(answer["id"])).status == "cancelled"


async def test_a_background_response_that_fails_says_so(tmp_path: Path) -> None:
    engine = scripted("Four.")
    failing(engine)
    async with storing(tmp_path, engine) as server:
        response = await ended(server, (await ask(server, background=True))["id"])
        assert (response.status, response.error.message) == ("failed", "The engine is gone.")
        await server.idle()


async def test_a_server_that_ends_cancels_what_runs(tmp_path: Path) -> None:
    engine = scripted("Four.")
    held(engine)
    async with storing(tmp_path, engine) as server:
        answer = await ask(server, background=True)
    assert engine.in_flight() == 0
    async with storing(tmp_path, scripted("Five.")) as server:
        assert (await server.client.responses.retrieve(answer["id"])).status == "cancelled"


async def test_a_server_that_cuts_what_runs_cancels_it(tmp_path: Path) -> None:
    engine = scripted("Four.")
    held(engine)
    async with storing(tmp_path, engine) as server:
        answer = await ask(server, background=True)
        server.state.shutdown.cut()
        assert (await ended(server, answer["id"])).status == "cancelled"


async def test_background_needs_a_stored_answer_and_no_stream(tmp_path: Path) -> None:
    async with storing(tmp_path, scripted("Four.")) as server:
        for fields in ({"store": False}, {"stream": True}):
            refused = await post(server, background=True, **fields)
            assert (refused.status_code, refused.json()["error"]["param"]) == (400, "background")
        assert server.state.admission.in_flight == 0
        assert (await ask(server, model=f"{MODEL}:short"))["status"] == "completed"


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_answer_is_sent_though_the_store_fails(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, streamed: bool
) -> None:
    async with storing(tmp_path, scripted("Four.")) as server:
        with sqlite3.connect(tmp_path / "responses.db") as database:
            database.execute("DROP TABLE autotool_response_items")
        answer = (await stream(server))[-1]["response"] if streamed else await ask(server)
    assert (text(answer), answer["status"], answer["store"]) == ("Four.", "completed", False)
    assert "could not be stored" in caplog.text


async def test_a_response_of_a_server_that_is_gone_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "LEASE_SECONDS", 0)
    engine = scripted("Four.")
    held(engine)
    async with storing(tmp_path, engine) as server, storing(tmp_path, scripted("x")) as other:
        answer = await ask(server, background=True)
        response = await other.client.responses.retrieve(answer["id"])
        assert (response.status, response.output) == ("failed", [])
        assert response.error is not None
        assert "ended before the response did" in response.error.message


async def test_a_running_response_is_kept_from_failing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "LEASE_SECONDS", 0)
    monkeypatch.setattr(resources, "RENEWAL_SECONDS", 0.01)
    engine = scripted("Four.")
    held(engine)
    async with storing(tmp_path, engine) as server:
        answer = await ask(server, background=True)
        monkeypatch.setattr(store, "LEASE_SECONDS", 60)
        for _ in range(500):
            with sqlite3.connect(tmp_path / "responses.db") as database:
                if database.execute("SELECT ends_at FROM autotool_response_leases").fetchone()[0] > time.time():
                    break
            await asyncio.sleep(0.02)
        assert (await server.client.responses.retrieve(answer["id"])).status == "in_progress"


async def test_a_response_that_is_cancelled_at_once_ends() -> None:
    ended: list[bool] = []

    async def work() -> None:
        try:
            await asyncio.Future()
        finally:
            ended.append(True)

    running_here = resources.Resources(Settings())
    running_here.run("resp_1", work())
    await running_here.cancel("resp_1")
    assert ended == [True]
    await running_here.close()
