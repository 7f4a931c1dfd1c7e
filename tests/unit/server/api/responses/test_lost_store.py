"""The store of responses is lost or hangs while the server runs."""

import asyncio
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from support.keys import client_of
from support.responses import ask, text
from support.serving import MODEL, running, scripted

from autotool_server.api.responses import resources
from autotool_server.state_store.responses import ResponseStore

READS = ("chain", "delete", "get", "item")


def _body(**fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "input": "2+2?", "mode": "short"} | fields


async def test_a_lost_store_is_a_503_that_tells_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> Any:
        raise OperationalError("SELECT secret", None, sqlite3.OperationalError("postgresql://user:secret@host"))

    async with (
        running(scripted("Four."), response_store=f"sqlite:///{tmp_path / 'r.db'}") as server,
        client_of(server) as client,
    ):
        for method in (*READS, "save"):
            monkeypatch.setattr(ResponseStore, method, fail)
        refused = [
            await client.get("/v1/responses/resp_1"),
            await client.delete("/v1/responses/resp_1"),
            await client.post("/v1/responses/resp_1/cancel"),
            await client.get("/v1/responses/resp_1/input_items"),
            await client.post("/v1/responses", json=_body(previous_response_id="resp_1")),
            await client.post("/v1/responses", json=_body(input=[{"id": "msg_1"}])),
            await client.post("/v1/responses", json=_body(background=True)),
        ]
        for answer in refused:
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            message = "The store of responses cannot be reached. Try again in a few seconds."
            assert answer.json()["error"]["message"] == message
        # What needs no store goes on.
        assert text(await ask(server, store=False)) == "Four."
        answer = await ask(server)
        assert (text(answer), answer["store"]) == ("Four.", False)
        await server.idle()
    assert "the store of responses cannot be reached (OperationalError)" in caplog.text
    assert "secret" not in caplog.text


async def test_a_store_that_hangs_keeps_only_its_own_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def hang(*_: Any) -> None:
        release.wait(60)

    async with (
        running(scripted("Four."), response_store=f"sqlite:///{tmp_path / 'r.db'}") as server,
        client_of(server) as client,
    ):
        monkeypatch.setattr(ResponseStore, "get", hang)
        # As many as the threads that everything else shares.
        waiting = [asyncio.create_task(client.get("/v1/responses/resp_1")) for _ in range(32)]
        try:
            for _ in range(500):
                if sum(thread.name.startswith("responses") for thread in threading.enumerate()) == resources.THREADS:
                    break
                await asyncio.sleep(0.01)
            async with asyncio.timeout(20):
                await asyncio.to_thread(lambda: None)
            hung = [thread for thread in threading.enumerate() if thread.name.startswith("responses")]
            assert len(hung) == resources.THREADS
        finally:
            release.set()
            await asyncio.gather(*waiting)
