"""A second protocol is one new folder: the app finds it, and everything behind it is shared."""

import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.serving import Running, failing, running, scripted

from autotool_server import api
from autotool_server.api.protocol import protocols

PLAIN = """
from pydantic import BaseModel
from autotool_core.parsing.events import ContentDelta
from autotool_server.api.protocol import ConversationProtocol, ResponseBuilder
from autotool_server.conversation.request import ConversationRequest

class Body(BaseModel):
    text: str

class Builder(ResponseBuilder):
    def __init__(self): self.texts = []
    def add(self, choice, output):
        self.texts += [event.text for event in getattr(output, "events", ()) if isinstance(event, ContentDelta)]
    def build(self): return {"text": "".join(self.texts)}

class Plain(ConversationProtocol):
    path, body_type = "/plain", Body
    def conversation_request(self, body):
        return ConversationRequest(model="tested:short", messages=[{"role": "user", "content": body.text}])
    def is_stream(self, body): return False
    def builder(self, body, job, state): return Builder()
    def writer(self, body, job, state): return None

PROTOCOL = Plain()
"""
LINES = """
from pydantic import BaseModel
from autotool_server.api.protocol import ConversationProtocol, StreamWriter
from autotool_server.conversation.request import ConversationRequest, FieldNames

class Body(BaseModel):
    input: str
    limit: int | None = None
    stream: bool = True

class Writer(StreamWriter):
    def write(self, choice, output): return "".join(f"{event.text}|" for event in getattr(output, "events", ()))
    def end(self): return "end"

class Lines(ConversationProtocol):
    path, body_type, stream_media_type = "/lines", Body, "text/plain"
    def conversation_request(self, body):
        message = {"role": "user", "content": body.input}
        fields = FieldNames(messages="input", max_tokens="limit")
        return ConversationRequest([message], model="tested:short", max_tokens=body.limit, fields=fields)
    def is_stream(self, body):
        if not body.stream:
            raise ValueError("this protocol only streams")
        return True
    def builder(self, body, job, state): return None
    def writer(self, body, job, state): return Writer()
    def api_keys(self, request): return [request.headers.get("x-api-key")]
    def error_response(self, error): return 418, {"wrong": getattr(error, "field", None)}, {}
    def error_event(self, error): return "broken"

PROTOCOL = Lines()
"""


@pytest.fixture
def two_protocols(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two protocols, each in a new folder of the package `api`."""
    for name, text in (("plain", PLAIN), ("lines", LINES)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
        (tmp_path / name / "protocol.py").write_text(text)
    monkeypatch.setattr(api, "__path__", [*api.__path__, str(tmp_path)])
    yield
    for name in [name for name in sys.modules if name.startswith(("autotool_server.api.plain", "autotool_server.api.lines"))]:
        del sys.modules[name]


def client_of(server: Running) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=server.url.removesuffix("/v1"))


def test_the_protocols_of_the_server_are_its_folders() -> None:
    assert "/v1/chat/completions" in {protocol.path for protocol in protocols()}


@pytest.mark.usefixtures("two_protocols")
async def test_a_protocol_is_one_new_folder() -> None:
    async with running(scripted("It is 4.")) as server, client_of(server) as client:
        answer = await client.post("/plain", json={"text": "What is 2 + 2?"})
        assert (answer.status_code, answer.json()) == (200, {"text": "It is 4."})
        refused = await client.post("/plain", json={"text": 4})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "text")
        chat = await server.client.chat.completions.create(
            model="tested", messages=[{"role": "user", "content": "?"}], extra_body={"mode": "short"}
        )
        assert chat.choices[0].message.content == "It is 4."
        await server.idle()
        page = (await client.get("/metrics")).text
        assert 'autotool_requests_total{mode="short",resolved="short",status="200"} 2.0' in page


@pytest.mark.usefixtures("two_protocols")
async def test_a_protocol_has_its_own_stream_key_and_errors() -> None:
    async with running(scripted("It is 4."), api_key="secret") as server, client_of(server) as client:
        client.headers["x-api-key"] = "secret"
        streamed = await client.post("/lines", json={"input": "?"})
        assert streamed.headers["content-type"].startswith("text/plain")
        assert streamed.text.replace("|", "") == "It is 4.end"
        wrong_key = await client.post("/lines", json={"input": "?"}, headers={"x-api-key": "other"})
        assert wrong_key.status_code == 418
        for body, field in (({"input": "?", "limit": 0}, "limit"), ({"input": "?" * 10**4}, "input")):
            refused = await client.post("/lines", json=body)
            assert (refused.status_code, refused.json()) == (418, {"wrong": field})
        await server.idle()


@pytest.mark.usefixtures("two_protocols")
async def test_a_protocol_that_fails_holds_no_slot() -> None:
    async with running(scripted("It is 4.")) as server, client_of(server) as client:
        assert (await client.post("/lines", json={"input": "?", "stream": False})).status_code == 418
        await server.idle()
        assert 'status="418"' in (await client.get("/metrics")).text


@pytest.mark.usefixtures("two_protocols")
async def test_a_failure_in_a_stream_is_the_protocols_event() -> None:
    engine = scripted("It is 4.")
    failing(engine, after=2)
    async with running(engine) as server, client_of(server) as client:
        answer = await client.post("/lines", json={"input": "?"})
        assert (answer.status_code, answer.text.endswith("broken")) == (200, True)
        await server.idle()
