"""Who is let in, and what of the server a key may use."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.routing import Mount, Route
from support.keys import bearer, client_of, write_keys
from support.serving import MODEL, running, scripted
from support.tools import adder, called, named, with_tools

from autotool_core.chat_template import ChatTemplate
from autotool_server.api.app import create_app
from autotool_server.api.state import ServerState
from autotool_server.settings import Settings

PUBLIC = {
    *(("GET", path) for path in ("/docs", "/docs/oauth2-redirect", "/openapi.json")),
    *(("GET", path) for path in ("/health", "/health/live", "/health/ready", "/ping", "/version", "/metrics")),
    ("POST", "/ping"),
    *(("GET", path) for path in ("/", "/page/app.js")),  # the page, whose calls need a key
}
"""Routes that need no key. Whoever adds a route here opens it to everybody."""

CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "?"}]}
TEXTS = {
    "/v1/chat/completions": CHAT,
    "/v1/messages": CHAT | {"max_tokens": 9},
    "/v1/responses": {"model": MODEL, "input": "?"},
}


def routes(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Yield every method and path of an app. HEAD is answered as GET."""
    for route in app.routes:
        if isinstance(route, Mount):
            assert route.path == "/page", f"{route} has files: say here who may have them"
            yield "GET", "/page/app.js"
            continue
        assert isinstance(route, Route), f"{route} is no route of HTTP: say here who may use it"
        yield from ((method, route.path) for method in route.methods or () if method != "HEAD")


@pytest.mark.parametrize(
    ("kind", "given"),
    [("api_key", None), ("keys", None), ("keys", "wrong"), ("both", "")],
    ids=["own", "file", "wrong", "empty"],
)
async def test_without_a_right_key_only_the_public_routes_answer(tmp_path: Path, kind: str, given: str | None) -> None:
    settings: dict[str, Any] = {"admin_key": "operator"}
    if kind != "api_key":
        settings["keys"] = write_keys(tmp_path, alice={})
    if kind != "keys":
        settings["api_key"] = "own"
    app = create_app(ServerState(Settings(**settings)))
    found = set(routes(app))
    assert found >= PUBLIC
    headers = {} if given is None else bearer(given) | {"x-api-key": given}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        for method, path in sorted(found):
            answer = await client.request(method, re.sub(r"{[^}]*}", "x", path), headers=headers)
            assert (answer.status_code == 401) == ((method, path) not in PUBLIC), (method, path, answer.text)


async def test_a_key_of_the_file_holds_beside_the_servers_own(tmp_path: Path) -> None:
    keys = write_keys(tmp_path, alice={}, bob={})
    async with running(scripted("x"), keys=keys, api_key="own") as server, client_of(server) as client:
        for key in ("alice", "bob", "own"):
            assert (await client.get("/v1/models", headers=bearer(key))).status_code == 200
            assert (await client.get("/v1/models", headers={"x-api-key": key})).status_code == 200
            assert (await client.post("/v1/chat/completions", json=CHAT, headers=bearer(key))).status_code == 200
        # Two variables of a client may hold two keys, one of them of another service.
        both = bearer("wrong") | {"x-api-key": "bob"}
        assert (await client.post("/v1/messages", json=TEXTS["/v1/messages"], headers=both)).status_code == 200


@pytest.mark.parametrize("path", TEXTS)
@pytest.mark.parametrize("is_large", [False, True], ids=["small", "large"])
async def test_a_mode_that_is_not_allowed_is_a_403_that_names_it(tmp_path: Path, path: str, is_large: bool) -> None:
    keys = write_keys(tmp_path, alice={"modes": ["short"]})
    # A large body is worked on in a thread.
    body = TEXTS[path] | {"user": "x" * 40_000} if is_large and path != "/v1/messages" else TEXTS[path]
    async with running(scripted("x"), keys=keys) as server, client_of(server, "alice") as client:
        assert (await client.post(path, json=body | {"mode": "short"})).status_code == 200
        for asked in ({"mode": "long"}, {"model": f"{MODEL}:long"}):
            refused = await client.post(path, json=body | asked)
            assert refused.status_code == 403, refused.text
            assert "may not ask for the mode long. It may ask for: short." in refused.text
            error = refused.json()["error"]
            assert error["type"] == "permission_error" if path == "/v1/messages" else error["code"] == "not_allowed_for_key"
        # The server's default is auto.
        assert "the mode auto" in (await client.post(path, json=body)).text


async def test_a_turn_is_only_escalated_where_the_key_may_ask_for_long(tmp_path: Path) -> None:
    texts = called("math.add", {"a": "one"}), "Hm.\n</think>\n\nDone."
    for modes, turns in ((["short"], ["short", "short"]), (["short", "long"], ["short", "long"])):
        keys = write_keys(tmp_path, alice={"modes": modes})
        async with (
            with_tools(scripted(*texts), adder(), keys=keys, escalate=True) as server,
            client_of(server, "alice") as client,
        ):
            asked = CHAT | {"mode": "short", "tools": named("math.add")}
            answer = (await client.post("/v1/chat/completions", json=asked)).json()
            assert [turn["resolved"] for turn in answer["autotool"]["turns"]] == turns


async def test_a_model_that_is_not_allowed_is_a_403_everywhere(tmp_path: Path) -> None:
    keys = write_keys(tmp_path, alice={"models": ["other"]}, bob={"models": ["alias"]})
    async with running(scripted("x"), keys=keys, model_aliases=("alias",)) as server:
        async with client_of(server, "alice") as client:
            answers = [await client.post(path, json=body) for path, body in TEXTS.items()]
            answers += [await client.post("/v1/completions", json={"model": MODEL, "prompt": "?"})]
            answers += [await client.get("/v1/models"), await client.get("/v1/models/alias")]
            answers += [await client.post("/tokenize", json={"prompt": "?"})]
            answers += [await client.post("/v1/messages/count_tokens", json=CHAT)]
            assert {answer.status_code for answer in answers} == {403}
            assert all(f"may not use the model {MODEL}" in answer.text for answer in answers)
        async with client_of(server, "bob") as client:
            assert (await client.post("/v1/chat/completions", json=CHAT)).status_code == 200


async def test_a_tool_that_is_not_allowed_is_a_403_that_names_it(tmp_path: Path) -> None:
    keys = write_keys(tmp_path, alice={"tools": ["other.*"]}, bob={"tools": ["math.add"]}, carol={"tools": []}, dave={})
    asked = CHAT | {"tools": named("math.*")}
    statuses, listed = [], []
    async with with_tools(scripted("x"), adder(), keys=keys) as server:
        for key in ("alice", "bob", "carol", "dave"):
            async with client_of(server, key) as client:
                answer = await client.post("/v1/chat/completions", json=asked)
                assert ("may not use the server tool math.add" in answer.text) == (answer.status_code == 403)
                statuses.append(answer.status_code)
                listed.append(len((await client.get("/v1/tools")).json()["data"]))
    assert statuses == [403, 200, 403, 200]
    assert [bool(number) for number in listed] == [False, True, False, True]


async def test_a_key_bounds_the_priority_of_its_requests(tmp_path: Path) -> None:
    keys = write_keys(tmp_path, alice={"priority": 5}, bob={}, carol={"priority": -5})
    cases = (
        ("alice", None),
        ("alice", -9),
        ("alice", 9),
        ("bob", -9),
        ("carol", None),
        ("carol", -9),
        ("carol", 0),
        ("own", -9),
    )
    async with running(engine := scripted("x"), keys=keys, api_key="own") as server:
        for key, asked in cases:
            async with client_of(server, key) as client:
                body = CHAT | {"mode": "short"} | ({} if asked is None else {"priority": asked})
                assert (await client.post("/v1/chat/completions", json=body)).status_code == 200
        async with client_of(server, "alice") as client:
            assert (await client.post("/v1/completions", json={"model": MODEL, "prompt": "?"})).status_code == 200
    assert [request.priority for request in engine.requests] == [5, 5, 9, 0, -5, -5, 0, -9, 5]


async def test_what_a_template_shows_is_found_once_for_all_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller has a copy of the service: what each copy found by itself was rendered again for each request."""
    asked: list[str] = []
    shows = ChatTemplate.shows
    monkeypatch.setattr(ChatTemplate, "shows", lambda self, text, *rest: (asked.append(text), shows(self, text, *rest))[1])
    async with running(scripted("x"), keys=write_keys(tmp_path, alice={}, bob={})) as server:
        for key in ("alice", "bob", "alice"):
            async with client_of(server, key) as client:
                assert (await client.post("/v1/chat/completions", json=CHAT)).status_code == 200
    assert len(asked) == len(set(asked)) > 0
