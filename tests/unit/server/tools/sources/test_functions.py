import asyncio
import json
import os
import sys
import textwrap
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from autotool_core.errors import AutoToolError
from autotool_server.tools.base import OversizeError, Policy, ToolError, TransientError
from autotool_server.tools.sources.functions import FunctionsEntry, FunctionsSource, FunctionTool, functions_source, tool

MODULE = """
    import os, subprocess, sys, time
    from datetime import date

    from autotool_server.tools import ToolError, tool


    @tool(read_only=True, timeout=5)
    def add(a: int, b: int = 2) -> int:
        '''Add two numbers.'''
        print("to standard output")
        print("to standard error", file=sys.stderr)
        os.write(1, b"RETURN 3\\nxxx")
        subprocess.run(["echo", "from a child"], check=True)
        return a + b


    @tool
    def next_day(day: date) -> str:
        '''The day after.'''
        return f"{day.replace(day=day.day + 1)} {type(day).__name__}"


    @tool
    def hang(path: str) -> None:
        '''Write the process id, then hang, deaf to SIGTERM.'''
        import signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with open(path, "w") as file:
            file.write(f"{os.getpid()}\\n")
        time.sleep(3600)


    @tool
    def fail(kind: str) -> None:
        '''Fail in some way.'''
        class Local(Exception):
            pass
        def die():
            os._exit(3)
        {"tool": lambda: raise_(ToolError("No such city.")), "value": lambda: raise_(ValueError("inside")),
         "exit": lambda: sys.exit(3), "die": die, "local": lambda: raise_(Local())}[kind]()


    def raise_(error):
        raise error


    @tool(max_result_bytes=1000)
    def large() -> str:
        '''Too much.'''
        return "x" * 50_000_000


    def not_a_tool(a):
        pass
"""


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Address(BaseModel):
    city: str
    zip_code: int = 0


@dataclass
class Point:
    x: int
    on: date


async def start(*functions: Callable[..., Any], **limits: Any) -> dict[str, FunctionTool]:
    source = functions_source("t", functions, **limits)
    await source.start()
    return {started.spec.name: started for started in source.tools}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "module_of_tools.py").write_text(textwrap.dedent(MODULE))
    yield tmp_path
    sys.modules.pop("module_of_tools", None)
    sys.path[:] = [path for path in sys.path if path != str(tmp_path)]


@pytest.fixture
async def module(folder: Path) -> dict[str, FunctionTool]:
    source = FunctionsSource("m", FunctionsEntry(module="module_of_tools", folder=folder, timeout=9, idempotent=["next*"]))
    await source.start()
    return {started.spec.name: started for started in source.tools}


async def test_schema_and_description_come_from_annotations_and_docstring() -> None:
    @tool(name="look")
    async def search(
        text: Annotated[str, Field(min_length=1)],
        colour: Colour = Colour.RED,
        copy: Annotated[int, Field(description="From Annotated.", le=9)] = 3,
        place: Address | None = None,
    ) -> str:
        """Search the shop.

        Finds up to nine things.

        Args:
            text: What to look for,
                over two lines.
            colour: Its colour.
            copy: Not this one.

        Returns:
            What was found.
        """
        return text

    spec = (await start(search))["t.look"].spec
    assert spec.description == "Search the shop.\n\nFinds up to nine things."
    assert spec.policy == Policy()
    properties = dict(spec.parameters["properties"])
    assert spec.parameters["required"] == ["text"]
    assert spec.parameters["additionalProperties"] is False
    assert properties["text"] == {"type": "string", "minLength": 1, "description": "What to look for,\nover two lines."}
    assert properties["copy"] == {"type": "integer", "maximum": 9, "default": 3, "description": "From Annotated."}
    assert properties["colour"]["default"] == "red"
    assert spec.parameters["$defs"]["Address"]["required"] == ["city"]
    json.dumps(spec.parameters)


async def test_arguments_are_converted_to_their_annotated_types() -> None:
    got: list[Any] = []

    async def take(day: date, colour: Colour, places: list[Address], size: float = 1.5, schema: int = 2) -> None:
        """Take."""
        got.extend((day, colour, places, size, schema))

    arguments = {"day": "2026-02-01", "colour": "blue", "places": [{"city": "Rome", "zip_code": 5}]}
    await (await start(take))["t.take"].call(arguments)
    assert got == [date(2026, 2, 1), Colour.BLUE, [Address(city="Rome", zip_code=5)], 1.5, 2]


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ("grün", "grün"),
        (b"\xff\x00", b"\xff\x00"),
        (None, b"null"),
        (7, b"7"),
        (Address(city="Rome"), b'{"city":"Rome","zip_code":0}'),
        (Point(1, date(2026, 2, 1)), b'{"x":1,"on":"2026-02-01"}'),
        ([Colour.RED, (1, 2)], b'["red",[1,2]]'),
    ],
)
async def test_results(result: object, text: str | bytes) -> None:
    async def give() -> object:
        """Give."""
        return result

    assert await (await start(give))["t.give"].call({}) == text


async def test_wrong_arguments_are_named_without_their_values() -> None:
    async def take(day: date, count: int) -> None:
        """Take."""

    one = (await start(take))["t.take"]
    with pytest.raises(ToolError) as error:
        await one.call({"day": "SECRET", "count": 1, "other": "SECRET"})
    assert "SECRET" not in str(error.value)
    assert str(error.value).startswith("The arguments do not fit: day: Input should be a valid date")
    assert "other: Extra inputs are not permitted" in str(error.value)
    with pytest.raises(ToolError, match="count: Field required"):
        await one.call({"day": "2026-01-01"})


def unannotated(a: int, b) -> None:  # type: ignore[no-untyped-def]
    """Doc."""


def many(*things: int) -> None:
    """Doc."""


def named(**things: int) -> None:
    """Doc."""


def positional(thing: int, /) -> None:
    """Doc."""


def field_default(thing: int = Field(default=3)) -> None:
    """Doc."""


def unknown_name(thing: "Nowhere") -> None:  # type: ignore[name-defined]  # noqa: F821
    """Doc."""


def no_schema(thing: asyncio.Lock) -> None:
    """Doc."""


def no_json_schema(thing: Callable[[], int]) -> None:
    """Doc."""


def generator(thing: int) -> Iterator[int]:
    """Doc."""
    yield thing


def undocumented(thing: int) -> None:
    pass


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (unannotated, "unannotated cannot be a tool: its parameter b has no annotation"),
        (many, "many cannot be a tool: its parameter things takes any number"),
        (named, "named cannot be a tool: its parameter things takes arguments of any name"),
        (positional, "positional cannot be a tool: its parameter thing can only be given by position"),
        (field_default, "field_default cannot be a tool: its parameter thing has Field"),
        (unknown_name, "unknown_name cannot be a tool: its annotations name Nowhere"),
        (no_schema, "no_schema cannot be a tool: an annotation has no JSON schema"),
        (no_json_schema, "no_json_schema cannot be a tool: an annotation has no JSON schema"),
        (generator, "generator cannot be a tool"),
        (undocumented, "undocumented cannot be a tool: it needs a docstring"),
    ],
)
def test_unsupported_functions_are_errors_at_import(function: Callable[..., Any], message: str) -> None:
    with pytest.raises(AutoToolError) as error:
        tool(function)
    assert str(error.value).startswith(message)


async def test_a_synchronous_function_that_workers_cannot_import() -> None:
    @tool
    def inner(a: int) -> int:
        """Inner."""
        return a

    assert inner(3) == 3
    with pytest.raises(AutoToolError, match="inner cannot be a tool: a synchronous function runs in a worker process"):
        await start(inner)


async def test_a_module_from_a_folder(module: dict[str, FunctionTool]) -> None:
    assert set(module) == {"m.add", "m.next_day", "m.hang", "m.fail", "m.large"}
    assert module["m.add"].spec.policy == Policy(timeout=5, read_only=True, idempotent=True)
    assert module["m.next_day"].spec.policy == Policy(timeout=9, idempotent=True)
    assert module["m.large"].spec.policy.max_result_bytes == 1000
    # Whatever it writes, its answer stays what it is; and the worker can be used again.
    assert [await module["m.add"].call({"a": number}) for number in (1, 2)] == [b"3", b"4"]
    assert await module["m.next_day"].call({"day": "2026-02-01"}) == "2026-02-02 date"


async def test_failures_in_a_worker_come_back(module: dict[str, FunctionTool]) -> None:
    def fail(kind: str) -> Awaitable[object]:
        return module["m.fail"].call({"kind": kind})

    # The worker of the test before may be ending still, with the event loop that it was of.
    with suppress(TransientError):
        await module["m.add"].call({"a": 0})
    with pytest.raises(ToolError, match=r"^No such city\.$"):
        await fail("tool")
    with pytest.raises(ValueError, match="inside") as error:
        await fail("value")
    assert "module_of_tools.py" in "".join(error.value.__notes__)
    for kind in ("exit", "die", "local"):
        with pytest.raises(Exception):  # noqa: B017, PT011 - any, as long as it is no SystemExit
            await fail(kind)
    with pytest.raises(OversizeError):
        await module["m.large"].call({})
    with pytest.raises(ToolError, match="day: Input should be a valid date"):
        await module["m.next_day"].call({"day": "x"})
    assert await module["m.add"].call({"a": 1}) == b"3"


async def test_an_async_function_cannot_end_the_server() -> None:
    async def leave() -> None:
        """Leave."""
        sys.exit(3)

    with pytest.raises(RuntimeError, match="raised SystemExit"):
        await (await start(leave))["t.leave"].call({})


async def test_a_hanging_function_is_ended_with_its_process(module: dict[str, FunctionTool], tmp_path: Path) -> None:
    path = tmp_path / "pid"
    call = asyncio.create_task(module["m.hang"].call({"path": str(path)}))
    while not (path.exists() and path.read_text().endswith("\n")):  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.02)
    pid = int(path.read_text())
    os.kill(pid, 0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_module_that_cannot_be_used(folder: Path) -> None:
    (folder / "module_broken.py").write_text("raise RuntimeError('at import')")
    (folder / "module_empty.py").write_text("x = 1")
    (folder / "module_untyped.py").write_text("from autotool_server.tools import tool\n@tool\ndef f(a):\n    'F.'\n")
    for name, message in [
        ("module_missing", r"\[python.m\] module: importing module_missing failed \(ModuleNotFoundError"),
        ("module_broken", r"\[python.m\] module: importing module_broken failed \(RuntimeError: at import"),
        ("module_untyped", r"\[python.m\] module: module_untyped: f cannot be a tool: its parameter a has no annotation"),
        ("module_empty", r"\[python.m\] module: module_empty has no function marked with @tool"),
    ]:
        with pytest.raises(AutoToolError, match=message):
            await FunctionsSource("m", FunctionsEntry(module=name, folder=folder)).start()
