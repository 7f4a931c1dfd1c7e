"""Unknown fields of a body: left out and reported, or refused."""

from typing import Any

import httpx
import pytest
from support.serving import running, scripted

USER = [{"role": "user", "content": "Hi"}]
TOOL = {"type": "function", "function": {"name": "f"}, "frobnicate": 1}
UNKNOWN: dict[str, Any] = {"frobnicate": 1, "models": ["a"], "tools": [TOOL], "stream_options": {"include_usage": True, "x": 1}}


async def post(unknown_fields: str, body: dict[str, Any]) -> httpx.Response:
    async with running(scripted("x"), unknown_fields=unknown_fields) as server, httpx.AsyncClient() as client:
        return await client.post(
            f"{server.url}/chat/completions", json={"model": "tested", "messages": USER, "mode": "short"} | body
        )


async def test_unknown_fields_are_left_out_and_named() -> None:
    response = await post("warn", UNKNOWN | {"stream": True})
    assert response.status_code == 200
    paths = ["frobnicate", "models", "stream_options.x", "tools.0.frobnicate"]
    assert sorted(response.headers["x-autotool-ignored"].split(", ")) == paths
    response = await post("warn", {"frobnicate": 1})
    assert response.json()["autotool"]["ignored"] == ["frobnicate"]


async def test_a_body_without_unknown_fields_has_no_report() -> None:
    response = await post("warn", {})
    assert "x-autotool-ignored" not in response.headers
    assert "ignored" not in response.json()["autotool"]


async def test_unknown_fields_can_be_left_out_silently() -> None:
    response = await post("ignore", UNKNOWN | {"stream": True})
    assert response.status_code == 200
    assert "x-autotool-ignored" not in response.headers


async def test_unknown_fields_can_be_refused() -> None:
    response = await post("refuse", {"frobnicate": 1})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "frobnicate")


@pytest.mark.parametrize("unknown_fields", ["warn", "refuse", "ignore"])
@pytest.mark.parametrize("name", ["mod", "modes", "Mode", "mdoe", "reasoning_biass", "max_reasoning_token", "tool_budgets"])
async def test_nearly_a_field_of_ours_is_refused(unknown_fields: str, name: str) -> None:
    response = await post(unknown_fields, {name: 1})
    assert (response.status_code, response.json()["error"]["param"]) == (400, name)


async def test_another_fault_is_reported_before_unknown_fields() -> None:
    response = await post("warn", {"frobnicate": 1, "temperature": "hot"})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "temperature")


async def test_a_header_holds_any_name() -> None:
    response = await post("warn", {"fröb\nnicate": 1})
    assert response.headers["x-autotool-ignored"] == "fr%C3%B6b%0Anicate"


@pytest.mark.parametrize(
    ("fields", "paths"),
    [
        ({"tool_choice": {"type": "function", "function": {"name": "f", "y": 1}, "x": 1}, "tools": [TOOL]}, 3),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {}, "y": 1}, "x": 1}}, 2),
        ({"response_format": {"type": "text", "x": 1}, "logit_bias": {}, "stop": ["a"]}, 1),
        ({"structured_outputs": {"structural_tag": {"format": {"type": "any_text"}, "x": 1}, "y": 1}}, 2),
        ({"tools": [TOOL, {"type": "function", "function": {"name": "g"}, "x": 1}]}, 2),
    ],
)
async def test_unknown_fields_inside_unions_are_left_out_and_named(fields: dict[str, Any], paths: int) -> None:
    response = await post("warn", fields)
    assert response.status_code == 200, response.text
    named = response.json()["autotool"]["ignored"]
    assert len(named) == paths
    assert all(holds(fields, path.split(".")) for path in named)


def holds(values: Any, path: list[str]) -> bool:
    """Whether the path leads to one of the unknown fields."""
    for part in path:
        values = values[int(part)] if isinstance(values, list) else values[part]
    return path[-1] in ("x", "y", "frobnicate") and values == 1


async def test_another_fault_inside_a_union_is_reported_before_unknown_fields() -> None:
    response = await post("warn", {"tool_choice": {"type": "function", "function": {}, "x": 1}, "frobnicate": 1})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "tool_choice.function.name")
