"""What MCP servers offer: bad tools, bad lists, and which of the tools are taken."""

from pathlib import Path
from typing import Any

import pytest
from support import mcp_servers
from support.engines import until
from support.mcp_served import SECRETS, SUM, Served, started, stdio

from autotool_core.errors import AutoToolError
from autotool_server.tools.base import ToolError
from autotool_server.tools.sources import mcp_connection
from autotool_server.tools.sources.mcp import BAD_NAME, CHANGED, TWICE, McpSource

SCHEMA = {"type": "object", "properties": {}}
BAD: list[Any] = [
    {"name": "schemaless", "description": "No schema."},
    {"name": "wrong", "inputSchema": SCHEMA | {"properties": {"a": {"type": "objekt"}}}},
    {"name": "list", "inputSchema": {"type": "array"}},
    {"name": "read/file", "description": "A slash.", "inputSchema": SCHEMA},
    {"name": "x" * 90, "inputSchema": SCHEMA},
    {"name": "twice", "description": "One.", "inputSchema": SCHEMA},
    {"name": "twice", "description": "Two.", "inputSchema": SCHEMA},
    {"inputSchema": SCHEMA},
    7,
]
FAULTS = {
    "t.schemaless": "describes it in no valid way (inputSchema: Field required)",
    "t.wrong": "its inputSchema is no valid JSON schema (at properties/a/type)",
    "t.list": "describes it in no valid way (inputSchema.type: ",
    "t.read_file": BAD_NAME,
    "t." + "x" * 62: BAD_NAME,
    "t.twice": TWICE,
    "t._": "gives it no name",
}


def faults(served: Served) -> dict[str, str]:
    """Return the reasons of the disabled tools."""
    specs = (tool.spec for tool in served.source.tools)
    return {spec.name: spec.disabled for spec in specs if spec.disabled is not None}


async def test_a_bad_tool_is_disabled_with_its_reason_and_takes_no_other_with_it(own: Served) -> None:
    mcp_servers.spoil(own.folder, more=BAD)
    await own.call("change", state="")
    await until(lambda: len(faults(own)) == len(FAULTS))
    found = faults(own)
    assert found.keys() == FAULTS.keys()
    assert all(FAULTS[name] in found[name] for name in FAULTS)
    assert await own.call("add", **SUM) == "3"
    with pytest.raises(ToolError, match="disabled"):
        await own.tool("read/file").call({})
    own.source.accept("t.read_file")
    assert own.tool("read/file").spec.disabled == BAD_NAME
    # Started with them, they are the same.
    again = await started(own.entry, own.folder)
    assert faults(again) == found
    assert await again.call("add", **SUM) == "3"
    await again.source.stop()


async def test_a_tool_that_is_mended_later_must_be_accepted(own: Served) -> None:
    sound = {"name": "mended", "description": "Sound.", "inputSchema": SCHEMA}
    mcp_servers.spoil(own.folder, more=[{"name": "mended", "description": "Sound."}])
    served = await started(own.entry, own.folder)
    mcp_servers.spoil(own.folder, more=[sound])
    await served.call("change", state="")
    await until(lambda: faults(served) == {"t.mended": CHANGED})
    mcp_servers.spoil(own.folder, more=[{"name": "add", "description": "Adds.", "inputSchema": 7}, sound])
    await served.call("change", state="")
    await until(lambda: "t.add" in faults(served))
    mcp_servers.spoil(own.folder, more=[sound, sound])
    await served.call("change", state="")
    await until(lambda: "t.add" not in faults(served))
    assert await served.call("add", **SUM) == "3"
    served.source.accept("t.mended")
    assert faults(served) == {}
    await served.source.stop()


@pytest.mark.parametrize(
    ("spoiled", "reason"),
    [
        ({"pages": "repeated"}, r"its MCP server's list of tools has no end: page 2 repeats the nextCursor '0'\."),
        ({"pages": "endless"}, r"more than 20 pages. The last nextCursor is '20'\."),
        ({"tools": None}, "answer to tools/list cannot be read"),
        ({"nextCursor": 3}, r"answer to tools/list cannot be read \(nextCursor: Input should be a valid string\)"),
    ],
    ids=["repeated", "endless", "no tools", "no text"],
)
async def test_a_list_that_cannot_be_used_stops_the_start_and_changes_nothing_later(
    own: Served, spoiled: dict[str, Any], reason: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mcp_connection, "MAX_PAGES", 20)
    mcp_servers.spoil(own.folder, **spoiled)
    with pytest.raises(AutoToolError, match=rf"^\[mcp\.t\].*{reason}"):
        await started(own.entry, own.folder)
    # The fixture's own source may list the tools too.
    assert len((own.folder / mcp_servers.LISTINGS).read_text().splitlines()) <= 2 * 20
    await own.call("change", state="new")
    await until(lambda: "Its tools stay as they were." in caplog.text)
    assert faults(own) == {}
    assert await own.call("add", **SUM) == "3"


async def test_include_and_exclude_choose_by_the_servers_names(tmp_path: Path) -> None:
    mcp_servers.spoil(tmp_path, more=BAD)
    entry = {"include": ["a*", "read/*", "big", "block"], "exclude": ["b*k"], "read_only": ["read/*"]}
    served = await started(stdio(tmp_path, **entry), tmp_path)
    assert [tool.remote_name for tool in served.source.tools] == ["add", "big", "read/file"]
    await served.source.stop()
    for wrong, message in (({"include": ["ad"]}, "include: no tool of its MCP"), ({"exclude": ["ad"]}, "exclude: no tool of")):
        with pytest.raises(AutoToolError, match=message):
            await started(stdio(tmp_path, **wrong), tmp_path)


async def test_a_namespace_that_spoils_every_name_stops_the_start(tmp_path: Path) -> None:
    source = McpSource("white space", stdio(tmp_path), SECRETS)
    with pytest.raises(AutoToolError, match=r"^\[mcp\.white space\]: 'white space\.' is not a name"):
        await source.start()
