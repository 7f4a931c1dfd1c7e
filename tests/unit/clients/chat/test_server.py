"""What the chat learns about a server before the first message."""

from typing import Any

import httpx2
import pytest

from autotool_client import AsyncAutoTool
from autotool_client.chat.server import look_up
from autotool_core.errors import AutoToolError
from autotool_core.modes import Mode


def server_that_answers(models: httpx2.Response) -> AsyncAutoTool:
    """Return the client of a server that has this list of models and nothing else."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        return models if request.url.path == "/v1/models" else httpx2.Response(404)

    http = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    return AsyncAutoTool(base_url="http://x/v1", http_client=http, max_retries=0)


def listed(*names: str) -> httpx2.Response:
    return httpx2.Response(200, json={"object": "list", "data": [{"id": name, "object": "model"} for name in names]})


@pytest.mark.parametrize(
    "models",
    [
        httpx2.Response(200, html="<html>"),
        httpx2.Response(200, content=b"{", headers={"content-type": "application/json"}),
        *(httpx2.Response(200, json=body) for body in ([], {}, "models", {"data": ["m"]}, {"data": [{}]})),
    ],
    ids=lambda models: models.text,
)
async def test_another_body_than_a_list_of_models_is_said(models: httpx2.Response) -> None:
    with pytest.raises(AutoToolError, match=r"^http://x/v1/ does not speak OpenAI's API: name the URL that ends in /v1\.$"):
        await look_up(server_that_answers(models), None)


@pytest.mark.parametrize(
    ("names", "wanted", "model", "mode"),
    [
        (["m"], "m:long", "m", Mode.LONG),
        (["m", "m:long"], "m:long", "m", Mode.LONG),
        (["m"], "another:short", "another", Mode.SHORT),
        (["m:long"], "m:long", "m:long", None),
        (["m:long"], None, "m:long", None),
        (["m"], "m:latest", "m:latest", None),
    ],
)
async def test_an_alias_is_a_model_and_a_mode(names: list[str], wanted: Any, model: str, mode: Mode | None) -> None:
    info = await look_up(server_that_answers(listed(*names)), wanted)
    assert (info.model, info.mode) == (model, mode)
