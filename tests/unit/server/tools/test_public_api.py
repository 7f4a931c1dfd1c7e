"""The public names for authors of tools and tool sources: `autotool_server.tools`."""

import subprocess
import sys
import types
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.tools import Fixed, Scripted, add

from autotool_server import tools as public
from autotool_server.settings import Settings
from autotool_server.tools import Registry, Tool, ToolError, functions_source, tool
from autotool_server.tools import sources as table_sources
from autotool_server.tools.config import create_registry
from autotool_server.tools.entry import Entry
from autotool_server.tools.secrets import Secrets


@tool(read_only=True)
async def half(number: int) -> int:
    """Half of an even number."""
    if number % 2:
        raise ToolError("The number is odd.")
    return number // 2


async def test_a_tool_is_written_and_registered_with_the_public_names() -> None:
    async with Registry([functions_source("math", [half])]) as started:
        [(name, registered)] = started.tools.items()
        assert name == "math.half"
        assert registered.spec.policy.read_only
        assert await registered.call({"number": 4}) == b"2"
        with pytest.raises(ToolError, match="The number is odd"):
            await registered.call({"number": 3})


def test_every_public_name_exists() -> None:
    for name in public.__all__:
        assert getattr(public, name).__module__.startswith("autotool_server.tools.")
    with pytest.raises(AttributeError, match="no attribute 'toll'"):
        _ = public.toll  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("names", ["ToolError, Tool", "tool, Registry"])
def test_the_import_loads_no_network_library(names: str) -> None:
    program = f"""
import sys
from autotool_server.tools import {names}
print(sorted({{"httpx", "mcp", "torch", "fastapi"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


async def test_a_new_source_is_one_module_and_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class LuckyEntry(Entry):
        number: int

    class LuckySource(Fixed):
        entry_class = LuckyEntry

        def __init__(self, namespace: str, entry: LuckyEntry, secrets: Secrets) -> None:
            del secrets
            tools: Sequence[Tool] = [Scripted(f"{namespace}.{entry.number}", add)]
            super().__init__(tools)

    module = types.ModuleType(f"{table_sources.__name__}.lucky")
    vars(module)["LuckySource"] = LuckySource
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(table_sources.SOURCES, "lucky", "lucky.LuckySource")
    (tmp_path / "tools.toml").write_text("[lucky.draw]\nnumber = 7\n")
    async with create_registry(Settings(tools=str(tmp_path / "tools.toml"))) as started:
        assert list(started.tools) == ["draw.7"]
