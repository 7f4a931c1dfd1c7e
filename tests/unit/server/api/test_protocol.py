"""A second protocol is one new folder: the app finds it, and everything behind it is shared."""

import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.serving import running, scripted

from autotool_server import api
from autotool_server.api.protocol import protocols

PLAIN = """
from pydantic import BaseModel
from autotool_core.parsing.events import ContentDelta
from autotool_server.api.protocol import Protocol, ResponseBuilder
from autotool_server.conversation.request import ConversationRequest

class Body(BaseModel):
    text: str

class Builder(ResponseBuilder):
    def __init__(self): self.texts = []
    def add(self, choice, output):
        self.texts += [event.text for event in getattr(output, "events", ()) if isinstance(event, ContentDelta)]
    def build(self): return {"text": "".join(self.texts)}

class Plain(Protocol):
    path, body_type = "/plain", Body
    def conversation_request(self, body):
        return ConversationRequest(id="plain", model="tested:short", messages=[{"role": "user", "content": body.text}])
    def is_stream(self, body): return False
    def builder(self, body, job, state): return Builder()
    def writer(self, body, job, state): return None

PROTOCOL = Plain()
"""


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A protocol in a new folder of the package `api`."""
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "protocol.py").write_text(PLAIN)
    monkeypatch.setattr(api, "__path__", [*api.__path__, str(tmp_path)])
    yield
    for name in [name for name in sys.modules if name.startswith("autotool_server.api.plain")]:
        del sys.modules[name]


def test_the_protocols_of_the_server_are_its_folders() -> None:
    assert [protocol.path for protocol in protocols()] == ["/v1/chat/completions"]


@pytest.mark.usefixtures("plain")
async def test_a_protocol_is_one_new_folder() -> None:
    async with running(scripted("It is 4.")) as server, httpx.AsyncClient(base_url=server.url.removesuffix("/v1")) as client:
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
