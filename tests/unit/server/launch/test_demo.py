"""`autotool serve --demo` over a scripted engine: what it asks, and how it shows answers."""

import asyncio
import json
import os
import shutil
from asyncio.subprocess import PIPE
from typing import Any

import pytest
from openai.types.chat import ChatCompletionMessage
from support.serving import running, scripted

from autotool_core.modes import Mode
from autotool_server.launch import demo


def called(name: str, arguments: str) -> dict[str, Any]:
    return {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ({"content": "It is\n\n  sunny."}, "It is sunny."),
        ({"content": None}, ""),
        ({"tool_calls": [called("get_weather", '{"city": "Zürich"}')]}, 'get_weather(city="Zürich")'),
        (
            {"content": "Two.", "tool_calls": [called("f", '{"a": 1.5, "b": [true, null]}'), called("g", "{}")]},
            "f(a=1.5, b=[true, null]), g()",
        ),
        ({"tool_calls": [called("f", '{"a": ')]}, 'f({"a": )'),
        ({"tool_calls": [called("f", "[1]")]}, "f([1])"),
    ],
)
def test_calls_are_shown_as_calls_and_text_as_one_line(message: dict[str, Any], shown: str) -> None:
    assert demo._answer(ChatCompletionMessage.model_validate({"role": "assistant", **message})) == shown


async def test_every_request_is_answered_in_every_mode(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    call = {"name": "get_weather", "arguments": {"city": "Paris"}}
    engine = scripted(f"<tool_call>\n{json.dumps(call)}\n</tool_call>", log_odds=-2)
    async with running(engine, api_key="secret") as server:
        await demo.run_demo(server.url, server.state)
    output = capsys.readouterr().out
    whole = " ".join(output.split())  # long requests go over several lines
    assert all(f"{difficulty}: {request}" in whole for difficulty, request in demo.REQUESTS.items())
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in output.splitlines() if line.startswith("│")]
    assert [row[:2] for row in rows] == [[difficulty, mode] for difficulty in demo.REQUESTS for mode in Mode]
    assert {row[-1] for row in rows} == {'get_weather(city="Paris")'}
    assert {row[3] for row in rows if row[1] == Mode.AUTO} == {"0.12"}
    assert "secret" not in output


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("settings", [{}, {"api_key": "secret"}], ids=["open", "with a key"])
async def test_the_command_to_try_is_answered(settings: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    async with running(scripted("Hello to you."), **settings) as server:
        await demo.run_demo(server.url, server.state)
        [command] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("curl ")]
        environment = {**os.environ, "AUTOTOOL_API_KEY": settings.get("api_key", ""), "NO_PROXY": "127.0.0.1"}
        done = await asyncio.create_subprocess_shell(command, stdout=PIPE, stderr=PIPE, env=environment)
        answer, _ = await done.communicate()
    assert json.loads(answer)["choices"][0]["message"]["content"] == "Hello to you."
