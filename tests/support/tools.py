"""Small scripted server tools for tests, and helpers for requests with them."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from openai.types.chat import ChatCompletion, ChatCompletionChunk

from autotool_server.engines.scripted import ScriptedEngine
from autotool_server.tools.base import Policy, Tool, ToolError, ToolSpec
from autotool_server.tools.registry import Registry
from autotool_server.tools.secrets import Secrets
from support.serving import MODEL, Running, running

NUMBERS = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
    "additionalProperties": False,
}
Work = Callable[[Mapping[str, Any]], Awaitable[str | bytes]]


class Scripted:
    """A tool that calls a function and records its calls."""

    def __init__(self, name: str, work: Work, parameters: Mapping[str, Any] | None = None, **policy: Any) -> None:
        schema = NUMBERS if parameters is None else parameters
        self.spec = ToolSpec(name, f"The tool {name}.", schema, Policy(**policy))
        self.calls: list[Mapping[str, Any]] = []
        self.running = 0
        self._work = work

    async def call(self, arguments: Mapping[str, Any]) -> str | bytes:
        self.calls.append(arguments)
        self.running += 1
        try:
            return await self._work(arguments)
        finally:
            self.running -= 1


async def add(arguments: Mapping[str, Any]) -> str:
    """Return the sum."""
    return str(arguments["a"] + arguments["b"])


async def hang(_: Mapping[str, Any]) -> str:
    """Wait for ever."""
    return await asyncio.Future()


async def fail(_: Mapping[str, Any]) -> str:
    """Raise an error that is no ToolError."""
    raise RuntimeError("the inside of the tool")


async def refuse(_: Mapping[str, Any]) -> str:
    """Raise a ToolError."""
    raise ToolError("There is no such number.")


class Fixed:
    """A source of a fixed list of tools."""

    def __init__(self, tools: Sequence[Tool]) -> None:
        self.tools = tools

    async def start(self) -> None:
        """Nothing to start."""

    async def stop(self) -> None:
        """Nothing to end."""

    def accept(self, name: str) -> None:
        """Nothing is disabled."""


async def weather(arguments: Mapping[str, Any]) -> str:
    """Return the same weather for every city."""
    return f"Sunny in {arguments['city']}."


async def clock(_: Mapping[str, Any]) -> str:
    """Return the same time for every city."""
    return "Noon."


CITY = {"type": "object", "properties": {"city": {"enum": ["Rome", "Oslo"]}}, "required": ["city"]}
TOWN = (Scripted("town.weather", weather, CITY, read_only=True), Scripted("town.time", clock, CITY))
"""Tools for real models, with few arguments, so that a small model completes its calls."""


@asynccontextmanager
async def with_tools(
    engine: ScriptedEngine, *tools: Tool, secrets: Secrets | None = None, **settings: Any
) -> AsyncIterator[Running]:
    """Serve these tools over a scripted engine."""
    async with Registry([Fixed(tools)], secrets) as registry, running(engine, registry=registry, **settings) as server:
        yield server


def called(name: str, arguments: Mapping[str, Any] | str) -> str:
    """Return the text of a call as the model writes it."""
    written = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return f'<tool_call>\n{{"name": "{name}", "arguments": {written}}}\n</tool_call>'


def named(*names: str) -> list[dict[str, Any]]:
    """Return server tools for the field `tools` of a request."""
    return [{"type": "server", "name": name} for name in names]


QUESTION: list[Any] = [{"role": "user", "content": "What is 1+2+3?"}]
ADD_1_2 = called("math.add", {"a": 1, "b": 2})
ADD_3_3 = called("math.add", {"a": 3, "b": 3})
CLIENT_TOOL: dict[str, Any] = {"type": "function", "function": {"name": "paint", "parameters": {"type": "object"}}}


def adder(**policy: Any) -> Scripted:
    """Return the tool `math.add`."""
    return Scripted("math.add", add, **policy)


async def ask(server: Running, tools: list[dict[str, Any]], messages: list[Any] = QUESTION, **fields: Any) -> ChatCompletion:
    """Send a request through the official client."""
    extra = {"mode": "short", **fields.pop("extra", {})}
    create: Any = server.client.chat.completions.create
    return await create(model=MODEL, messages=messages, tools=tools, extra_body=extra, **fields)


async def stream(server: Running, tools: list[dict[str, Any]], **extra: Any) -> list[ChatCompletionChunk]:
    """Send a streaming request through the official client."""
    create: Any = server.client.chat.completions.create
    extra = {"mode": "short", **extra}
    return [chunk async for chunk in await create(model=MODEL, messages=QUESTION, tools=tools, stream=True, extra_body=extra)]


def autotool_field(answer: Any) -> dict[str, Any]:
    """Return the field `autotool` of a response."""
    return answer.model_extra["autotool"]


def executions(answer: ChatCompletion) -> list[list[tuple[str, str]]]:
    """Return the names and outcomes of the calls, by turn."""
    return [
        [(execution["name"], execution["outcome"]) for execution in turn["executions"]]
        for turn in autotool_field(answer)["turns"]
    ]


def results(answer: ChatCompletion) -> list[str]:
    """Return the results of the calls as the model reads them."""
    return [message["content"] for message in autotool_field(answer)["transcript"] if message["role"] == "tool"]


async def metrics(server: Running) -> str:
    """Return the page of metrics once the request is counted."""
    await server.idle()
    return server.state.metrics.page().decode()
