"""The matrix of a family: {long, short, auto} x {no tools, auto, required} x {stream, not}, through the whole server."""

import asyncio
import json
from itertools import product
from typing import Any

import jsonschema
import pytest
from openai import BadRequestError

from autotool_core import tool_formats
from autotool_core.modes import Mode
from autotool_server.engines import profiles
from autotool_server.engines.base import Engine
from support.answers import assert_equal, streamed, whole
from support.families import Family
from support.serving import MODEL, Running, running

CHOICES = ("no tools", "auto", "required")
PLACE = {
    "type": "object",
    "properties": {"city": {"enum": ["Rome", "Oslo"]}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOLS: Any = [{"type": "function", "function": {"name": name, "parameters": PLACE}} for name in ("weather", "time")]
USER: Any = [{"role": "user", "content": "What is the weather in Rome?"}]


def request(mode: Mode, choice: str) -> dict[str, Any]:
    body: dict[str, Any] = {"model": MODEL, "messages": USER, "temperature": 0, "max_completion_tokens": 24}
    if choice != "no tools":
        body |= {"tools": TOOLS, "tool_choice": choice, "parallel_tool_calls": choice == "auto"}
    if choice == "required":
        body["max_completion_tokens"] = 256
    return body | {"extra_body": {"mode": mode, "reasoning_bias": 99, "max_reasoning_tokens": 4}}


async def check(server: Running, mode: Mode, choice: str) -> None:
    body = request(mode, choice)
    first, second = await asyncio.gather(whole(server, body), streamed(server, body))
    assert_equal(first, second, f"{mode}, {choice}")
    assert first.turn["resolved"] == ("short" if mode is Mode.SHORT else "long")
    assert (first.turn["reasoning_tokens"] > 0) == (mode is not Mode.SHORT)
    if choice == "required":
        assert (first.finish_reason, first.content) == ("tool_calls", "")
        [(name, arguments)] = first.calls
        assert name in {"weather", "time"}
        jsonschema.validate(json.loads(arguments), PLACE)


async def check_refused(server: Running, mode: Mode) -> None:
    with pytest.raises(BadRequestError) as refused:
        await whole(server, request(mode, "no tools"))
    assert (refused.value.param, refused.value.code) == ("mode", "unsupported_mode")


async def check_matrix(engine: Engine, family: Family) -> None:
    """Serve over a started engine. Check every combination that the family can serve, and that the modes which it cannot serve are refused."""
    profile = profiles.find(None, engine.checkpoint, str(engine.tokenizer.chat_template))
    has_tools = family.tool_format in tool_formats.names()
    assert not has_tools or profile.tool_format.name == family.tool_format
    async with running(engine, profile) as server:
        refused = server.state.service.renderer.refusals
        assert not family.modes & {*refused}
        served = [mode for mode in Mode if mode not in refused]
        combinations = product(served, CHOICES if has_tools else CHOICES[:1])
        checks = [check(server, *combination) for combination in combinations]
        await asyncio.gather(*checks, *(check_refused(server, mode) for mode in refused))
        await server.idle()
