"""The store of responses in PostgreSQL, in a server of its own."""

import asyncio

import openai
import pytest
from sqlalchemy import text
from support import postgresql
from support.postgresql import database
from support.responses import ask, post
from support.serving import running, scripted

from autotool_server.state_store.database import make_engine
from autotool_server.state_store.responses import ResponseStore

pytestmark = postgresql.NEEDED
__all__ = ["database"]


async def test_responses_are_chained_read_and_deleted(database: str) -> None:
    # A zero byte is a character of JSON that PostgreSQL does not have in its own texts.
    engine = scripted("Four \x00.", "Yes.")
    async with running(engine, response_store=database) as server:
        answer = await ask(server, input=[{"role": "user", "content": "2+2\x00?", "id": "a\x00"}])
        client = server.client.responses
        assert (await client.retrieve(answer["id"])).output_text == "Four \x00."
        assert (await client.input_items.list(answer["id"])).data[0].id == "a\x00"
        follow = await ask(server, input="Sure?", previous_response_id=answer["id"])
        assert len(engine.requests[1].prompt_ids) > len(engine.requests[0].prompt_ids)
        await client.delete(answer["id"])
        with pytest.raises(openai.NotFoundError):
            await client.retrieve(answer["id"])
        assert (await post(server, previous_response_id=follow["id"])).status_code == 400
        assert (await post(server, previous_response_id="resp_\x00")).status_code == 400


async def test_many_are_stored_at_once(database: str) -> None:
    async with running(scripted("Four."), response_store=database, response_ttl_seconds=1) as server:
        for _ in range(3):
            # Those of the round before expire while these are stored, so that several writes delete the same rows.
            answers = await asyncio.gather(*(ask(server) for _ in range(20)))
            assert len({answer["id"] for answer in answers}) == 20
            await asyncio.sleep(1.1)


async def test_a_background_response_is_cancelled(database: str) -> None:
    engine = scripted("Four.")
    release = asyncio.Event()
    engine.gate = lambda: asyncio.ensure_future(release.wait())  # pyright: ignore[reportAttributeAccessIssue] any awaitable
    async with running(engine, response_store=database) as server:
        answer = await ask(server, background=True)
        assert (await server.client.responses.cancel(answer["id"])).status == "cancelled"
        await server.idle()


async def test_one_server_cancels_what_another_runs(database: str) -> None:
    engine = scripted("Four.")
    release = asyncio.Event()
    engine.gate = lambda: asyncio.ensure_future(release.wait())  # pyright: ignore[reportAttributeAccessIssue] any awaitable
    async with running(engine, response_store=database) as one, running(scripted("x"), response_store=database) as other:
        answer = await ask(one, background=True)
        assert (await other.client.responses.cancel(answer["id"])).status == "cancelled"
        release.set()
        await one.idle()
        assert (await other.client.responses.retrieve(answer["id"])).status == "cancelled"


async def test_servers_that_start_at_once_bring_the_tables_to_this_version(database: str) -> None:
    async with running(scripted("Four."), response_store=database) as server:
        answer = await ask(server)
    engine = make_engine(database, "response_store")
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE autotool_responses DROP COLUMN key_name"))
        connection.execute(text("UPDATE autotool_tables_version SET version = 1 WHERE part = 'responses'"))
    stores = await asyncio.gather(*(asyncio.to_thread(ResponseStore, database, 1000) for _ in range(4)))
    for store in stores:
        assert (store.get(answer["id"], None) or {})["id"] == answer["id"]
        assert store.get(answer["id"], "alice") is None
        store.close()
    with engine.begin() as connection:
        query = text("SELECT version FROM autotool_tables_version WHERE part = 'responses'")
        assert connection.scalars(query).all() == [2]
    engine.dispose()
