"""The store of responses in PostgreSQL, in a server of its own."""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from support.responses import ask, post
from support.serving import running, scripted

INITDB, PG_CTL = shutil.which("initdb"), shutil.which("pg_ctl")
pytestmark = pytest.mark.skipif(INITDB is None or PG_CTL is None, reason="no PostgreSQL (initdb, pg_ctl) on this machine")
pytest.importorskip("psycopg", reason="psycopg, the driver of PostgreSQL, is not installed")

# initdb refuses to run as the superuser.
USER = "nobody" if os.geteuid() == 0 else None


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """The address of a new database, which listens on a socket in its folder."""
    # A socket's path may have a hundred characters only, so pytest's own folders are too deep.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if USER is not None:
            shutil.chown(folder, USER)
        data = folder / "data"
        run("initdb", "--auth=trust", "--username=tested", "--no-sync", "--pgdata", str(data))
        options = f"-k {folder} -c listen_addresses= -c fsync=off"
        run("pg_ctl", "--wait", "--pgdata", str(data), "--log", str(folder / "log"), "--options", options, "start")
        try:
            yield f"postgresql://tested@/postgres?host={folder}"
        finally:
            run("pg_ctl", "--wait", "--pgdata", str(data), "--mode=immediate", "stop")


def run(command: str, *arguments: str) -> None:
    subprocess.run([command, *arguments], check=True, capture_output=True, timeout=120, cwd="/", user=USER)


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
