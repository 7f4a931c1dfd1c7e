"""What a background response holds is released, whatever happens between its acceptance and its first step."""

from pathlib import Path
from typing import Any

import pytest
from support.keys import client_of, write_keys
from support.serving import MODEL, Running, held, running, scripted

from autotool_server.api.responses.resources import Resources
from autotool_server.state_store.responses import ResponseStore

ASKED = {"model": MODEL, "input": "2+2?", "mode": "short", "background": True}


async def test_a_service_that_is_withdrawn_while_a_response_is_accepted_frees_its_slot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = ResponseStore.save
    async with (
        running(scripted("Four."), response_store=f"sqlite:///{tmp_path / 'r.db'}") as server,
        client_of(server) as client,
    ):
        service = server.state.service

        def save_and_withdraw(*arguments: Any) -> None:
            save(*arguments)
            server.state.withdraw_service("The engine has failed.")

        monkeypatch.setattr(ResponseStore, "save", save_and_withdraw)
        answer = await client.post("/v1/responses", json=ASKED)
        assert (answer.status_code, answer.json()["status"]) == (200, "queued")
        server.state.service = service
        await server.idle()
        stored = (await client.get(f"/v1/responses/{answer.json()['id']}")).json()
        assert (stored["status"], stored["error"]["message"]) == (
            "failed",
            "The engine has failed. Try again in a few seconds.",
        )


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
async def test_a_response_that_cannot_be_started_frees_its_slot_and_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError

    keys = write_keys(tmp_path, alice={"concurrent_requests": 1, "tokens_per_minute": 1000})
    engine = scripted("Four.")
    async with (
        running(engine, response_store=f"sqlite:///{tmp_path / 'r.db'}", keys=keys) as server,
        client_of(server, "alice") as client,
    ):
        with monkeypatch.context() as patched:
            patched.setattr(Resources, "run", fail)
            answer = await client.post("/v1/responses", json=ASKED)
            assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
        await nothing_is_held(server)
        # It holds its place while it runs, and no longer.
        release = held(engine)
        assert (await client.post("/v1/responses", json=ASKED)).status_code == 200
        assert (await client.post("/v1/responses", json=ASKED)).status_code == 429
        release.set()
        await nothing_is_held(server)


async def nothing_is_held(server: Running) -> None:
    await server.idle()
    books = server.state.quotas._books
    assert books is not None
    assert (books._accounts["alice"].reserved, server.state.quotas._in_flight["alice"]) == (0, 0)
