"""What a web page could send to a server on its visitor's machine: names of its own, and bodies without asking first."""

import json
from typing import Any

import httpx
import pytest
from support.serving import running, scripted

BODY: dict[str, Any] = {"model": "tested", "messages": [{"role": "user", "content": "?"}], "mode": "short"}
OWN = ["localhost", "LOCALHOST:8000", "localhost.", "127.0.0.1:1", "[::1]:8000", "192.168.1.7", "a.localhost:80"]
OWN += ["host.docker.internal:8000"]
FOREIGN = ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "internal", "", "[::1"]


async def statuses(hosts: list[str], **settings: Any) -> set[int]:
    """Return the statuses of two requests for each host."""
    async with running(scripted("x"), **settings) as server, httpx.AsyncClient() as client:
        client.headers["authorization"] = "bEARER  k"
        answers = [await client.get(f"{server.url}/models", headers={"host": host}) for host in hosts]
        answers += [await client.post(f"{server.url}/chat/completions", json=BODY, headers={"host": host}) for host in hosts]
        assert all("--allowed-hosts" in answer.json()["error"]["message"] for answer in answers if answer.status_code == 403)
        return {answer.status_code for answer in answers}


async def test_a_server_of_this_machine_without_a_key_answers_to_its_own_names_alone() -> None:
    assert await statuses(OWN) == {200}
    assert await statuses(FOREIGN) == {403}


@pytest.mark.parametrize(
    "settings",
    [
        {"api_key": "k"},
        {"host": "0.0.0.0"},  # noqa: S104 no socket is bound to it
        {"allowed_hosts": ("evil.example", "other.example")},
        {"allowed_hosts": "*"},
    ],
    ids=["a key", "another address", "named", "every name"],
)
async def test_other_names_are_answered_where_no_page_gains_by_it_or_the_operator_says_so(settings: dict[str, Any]) -> None:
    assert await statuses(["evil.example:8000"], **settings) == {200}


async def test_monitoring_asks_by_any_name() -> None:
    async with running(scripted("x"), allowed_hosts=("a.example",)) as server, httpx.AsyncClient() as client:
        urls = [f"{server.url.removesuffix('/v1')}{path}" for path in ("/metrics", "/health/ready", "/v1/models")]
        assert [(await client.get(url, headers={"host": "autotool:8000"})).status_code for url in urls] == [200, 200, 403]


async def test_names_that_the_operator_lists_hold_with_a_key_too() -> None:
    assert await statuses(["evil.example"], allowed_hosts=("a.example",), api_key="k") == {403}
    assert await statuses(["A.example:443", "localhost"], allowed_hosts=("a.example",), api_key="k") == {200}


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        ("text/plain", 415),
        ("text/plain; application/json", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data", 415),
        (None, 415),
    ],
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/messages/count_tokens", "/tokenize"])
async def test_a_body_is_declared_as_json(path: str, content_type: str | None, status: int) -> None:
    """A page may send the other types, and none, to any server without asking it first."""
    body = BODY | ({"max_tokens": 9} if path == "/v1/messages" else {})
    async with running(scripted("x")) as server, httpx.AsyncClient(base_url=server.url.removesuffix("/v1")) as client:
        headers = {"content-type": content_type} if content_type else {}
        answer = await client.post(path, content=json.dumps(body), headers=headers)
        assert answer.status_code == status, answer.text
        if status == 415:
            assert "-H 'Content-Type: application/json'" in answer.json()["error"]["message"]
