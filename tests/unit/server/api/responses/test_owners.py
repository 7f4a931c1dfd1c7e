"""A stored response belongs to the key that it was made with: to every other one it is not there."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import create_engine
from support.keys import client_of, write_keys
from support.serving import MODEL, held, running, scripted

from autotool_core.errors import AutoToolError
from autotool_server.state_store.responses import METADATA, ResponseStore

ASKED: dict[str, Any] = {"model": MODEL, "input": "2+2?", "mode": "short"}
ITEM = {"id": "msg_1", "type": "message", "role": "user", "content": "Hi."}
REFERENCE = {"type": "item_reference", "id": "msg_1"}


async def create(client: httpx.AsyncClient, **fields: Any) -> httpx.Response:
    return await client.post("/v1/responses", json=ASKED | fields)


async def test_only_its_own_key_finds_a_response(tmp_path: Path) -> None:
    keys, engine = write_keys(tmp_path, alice={}, bob={}), scripted("Four.")
    settings: dict[str, Any] = {"response_store": f"sqlite:///{tmp_path / 'r.db'}", "keys": keys, "api_key": "own"}
    async with (
        running(engine, **settings) as server,
        client_of(server, "alice") as alice,
        client_of(server, "bob") as bob,
        client_of(server, "own") as own,
    ):
        release = held(engine)
        made = (await create(alice, input=[ITEM], background=True)).json()
        path = f"/v1/responses/{made['id']}"
        for other in (bob, own):
            for method, route in (("GET", ""), ("GET", "/input_items"), ("POST", "/cancel"), ("DELETE", "")):
                assert (await other.request(method, path + route)).status_code == 404
            assert (await create(other, input=[REFERENCE])).json()["error"]["param"] == "input.0.id"
            followed = await create(other, previous_response_id=made["id"])
            assert followed.json()["error"]["code"] == "previous_response_not_found"
        # Nobody else has ended it.
        assert (await alice.get(path)).json()["status"] == "in_progress"
        release.set()
        await server.idle()
        assert (await alice.get(f"{path}/input_items")).json()["data"][0]["id"] == "msg_1"
        assert (await create(alice, input=[REFERENCE])).status_code == 200
        assert (await create(alice, previous_response_id=made["id"])).status_code == 200
        # An id of a client's own may be the same for several keys.
        assert (await create(bob, input=[ITEM])).status_code == 200
        assert (await create(bob, input=[REFERENCE])).status_code == 200
        assert (await alice.delete(path)).status_code == 200
        assert (await alice.get(path)).status_code == 404


def _response(response_id: str) -> dict[str, Any]:
    return {"id": response_id, "previous_response_id": None, "status": "completed", "output": []}


def test_a_store_of_the_version_before_is_brought_to_this_one(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'r.db'}"
    METADATA.create_all(engine := create_engine(url))
    engine.dispose()
    with closing(sqlite3.connect(tmp_path / "r.db")) as database, database:
        database.execute("ALTER TABLE autotool_responses DROP COLUMN key_name")
        database.execute("CREATE TABLE autotool_tables_version (part VARCHAR(32) PRIMARY KEY, version INTEGER NOT NULL)")
        database.execute("INSERT INTO autotool_tables_version VALUES ('responses', 1), ('spend', 1)")
        value = '{"id": "resp_1", "status": "completed"}'
        database.execute("INSERT INTO autotool_responses VALUES ('resp_1', NULL, 'completed', 99999999999, ?)", (value,))
    for _ in range(2):  # the second finds it done
        store = ResponseStore(url, 1000)
        assert (store.get("resp_1", None) or {})["id"] == "resp_1"
        assert store.get("resp_1", "alice") is None
        store.delete("resp_2", "alice")
        store.save(_response("resp_2"), [], (), "alice")
        assert store.get("resp_2", "alice") == _response("resp_2")
        store.close()
    with closing(sqlite3.connect(tmp_path / "r.db")) as database, database:
        versions = dict(database.execute("SELECT part, version FROM autotool_tables_version").fetchall())
        assert versions == {"responses": 2, "spend": 1}
        database.execute("UPDATE autotool_tables_version SET version = 3 WHERE part = 'responses'")
    with pytest.raises(AutoToolError, match="later version"):
        ResponseStore(url, 1000)


def test_a_change_of_the_tables_that_was_cut_is_finished(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'r.db'}"
    ResponseStore(url, 1000).close()
    with closing(sqlite3.connect(tmp_path / "r.db")) as database, database:
        database.execute("UPDATE autotool_tables_version SET version = 1")
    store = ResponseStore(url, 1000)
    store.save(_response("resp_1"), [], (), "alice")
    assert store.get("resp_1", "alice") is not None
