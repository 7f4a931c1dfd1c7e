"""Server tools for tests: small, and told what to do."""

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
    """A tool that does what it is told, and remembers its calls."""

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
    """The sum."""
    return str(arguments["a"] + arguments["b"])


async def hang(_: Mapping[str, Any]) -> str:
    """Never ends."""
    return await asyncio.Future()


async def fail(_: Mapping[str, Any]) -> str:
    """Raises."""
    raise RuntimeError("the inside of the tool")


async def refuse(_: Mapping[str, Any]) -> str:
    """Says what is wrong, and has done nothing."""
    raise ToolError("There is no such number.")


class Fixed:
    """A source of these tools."""

    def __init__(self, tools: Sequence[Tool]) -> None:
        self.tools = tools

    async def start(self) -> None:
        """Nothing to start."""

    async def stop(self) -> None:
        """Nothing to end."""

    def accept(self, name: str) -> None:
        """Nothing is disabled."""


async def weather(arguments: Mapping[str, Any]) -> str:
    """The weather of every city."""
    return f"Sunny in {arguments['city']}."


async def clock(_: Mapping[str, Any]) -> str:
    """The time everywhere."""
    return "Noon."


CITY = {"type": "object", "properties": {"city": {"enum": ["Rome", "Oslo"]}}, "required": ["city"]}
TOWN = (Scripted("town.weather", weather, CITY, read_only=True), Scripted("town.time", clock, CITY))
"""For real models: few arguments, so that a small one finds an end."""


@asynccontextmanager
async def with_tools(
    engine: ScriptedEngine, *tools: Tool, secrets: Secrets | None = None, **settings: Any
) -> AsyncIterator[Running]:
    """Serve these tools over a scripted engine."""
    async with Registry([Fixed(tools)], secrets) as registry, running(engine, registry=registry, **settings) as server:
        yield server


def called(name: str, arguments: Mapping[str, Any] | str) -> str:
    """The text of a call as the model writes it."""
    written = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return f'<tool_call>\n{{"name": "{name}", "arguments": {written}}}\n</tool_call>'


def named(*names: str) -> list[dict[str, Any]]:
    """Server tools in a request's `tools`."""
    return [{"type": "server", "name": name} for name in names]


QUESTION: list[Any] = [{"role": "user", "content": "What is 1+2+3?"}]
ADD_1_2 = called("math.add", {"a": 1, "b": 2})
ADD_3_3 = called("math.add", {"a": 3, "b": 3})
CLIENT_TOOL: dict[str, Any] = {"type": "function", "function": {"name": "paint", "parameters": {"type": "object"}}}


def adder(**policy: Any) -> Scripted:
    """The usual tool."""
    return Scripted("math.add", add, **policy)


async def ask(server: Running, tools: list[dict[str, Any]], messages: list[Any] = QUESTION, **fields: Any) -> ChatCompletion:
    """Ask over the official client."""
    extra = {"mode": "short", **fields.pop("extra", {})}
    create: Any = server.client.chat.completions.create
    return await create(model=MODEL, messages=messages, tools=tools, extra_body=extra, **fields)


async def stream(server: Running, tools: list[dict[str, Any]], **extra: Any) -> list[ChatCompletionChunk]:
    """Ask, streamed."""
    create: Any = server.client.chat.completions.create
    extra = {"mode": "short", **extra}
    return [chunk async for chunk in await create(model=MODEL, messages=QUESTION, tools=tools, stream=True, extra_body=extra)]


def decision_record(answer: Any) -> dict[str, Any]:
    """The record."""
    return answer.model_extra["autotool"]


def executions(answer: ChatCompletion) -> list[list[tuple[str, str]]]:
    """Names and outcomes of the calls, by turn."""
    return [[(one["name"], one["outcome"]) for one in turn["executions"]] for turn in decision_record(answer)["turns"]]


def results(answer: ChatCompletion) -> list[str]:
    """What the model read of each call."""
    return [message["content"] for message in decision_record(answer)["transcript"] if message["role"] == "tool"]


async def metrics(server: Running) -> str:
    """The metrics' page, once the request is accounted for."""
    await server.idle()
    return server.state.metrics.page().decode()
