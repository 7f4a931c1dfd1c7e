"""Answers of MCP servers to `tools/list`, as they are before and after they are put in order."""

from typing import Any, cast

import pytest
from mcp import types
from mcp.types.methods import validate_server_result

from autotool_server.tools.sources import mcp_connection, mcp_listing
from autotool_server.tools.sources.mcp_listing import ListingMender, fault_of

VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28")
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}}
FINE = {"name": "fine", "description": "Fine.", "inputSchema": SCHEMA}


def listed(tool: Any, version: str = "2025-11-25") -> types.Tool:
    """Return the tool as the SDK reads it after the mending, between two that are fine."""
    result = ListingMender().mend({"tools": [FINE, tool, FINE]}, version)
    validate_server_result("tools/list", version, result)
    before, mended, after = types.ListToolsResult.model_validate(result, by_name=False).tools
    assert fault_of(before) is fault_of(after) is None
    return mended


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(depth):
        schema = {"properties": {"a": schema}}
    return schema | {"type": "object"}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("tool", "fault"),
    [
        ("text", "gives it no name"),
        (None, "gives it no name"),
        ({"inputSchema": SCHEMA}, "gives it no name"),
        ({"name": 7, "inputSchema": SCHEMA}, "(name: Input should be a valid string)"),
        ({"name": "a"}, "(inputSchema: Field required)"),
        ({"name": "a", "inputSchema": None}, "(inputSchema: "),
        ({"name": "a", "inputSchema": {}}, "(inputSchema.type: Field required)"),
        ({"name": "a", "inputSchema": {"type": "string"}}, "(inputSchema.type: "),
        ({"name": "a", "inputSchema": {"type": "object", "required": [1]}}, "inputSchema"),
        ({"name": "a", "inputSchema": {"type": "object", "properties": {"b": {"type": "x"}}}}, "(at properties/b/type)"),
        ({"name": "a", "description": {"en": "A."}, "inputSchema": SCHEMA}, "(description: "),
        ({"name": "a", "inputSchema": {"type": "object", "items": {"x-mcp-header": "A"}}}, "x-mcp-header"),
        ({"name": "a", "inputSchema": nested(180)}, "nested too deeply"),
    ],
)
def test_a_tool_that_cannot_be_used_has_its_fault(tool: Any, fault: str, version: str) -> None:
    assert fault in (fault_of(listed(tool, version)) or "")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_sound_tool_keeps_its_name_description_and_schema_and_nothing_else(version: str) -> None:
    more = {"annotations": 7, "icons": "none", "outputSchema": {"type": 3}, "_meta": {mcp_listing.FAULT: "of the server"}}
    tool = listed(FINE | more, version)
    assert (tool.name, tool.description, tool.input_schema) == ("fine", "Fine.", SCHEMA)
    assert tool.model_dump(exclude_none=True).keys() == {"name", "description", "input_schema"}


def test_an_answer_without_a_list_is_left_to_the_sdk() -> None:
    for result in ({}, {"tools": {}}, {"tools": None}):
        assert ListingMender().mend(result, "2025-11-25") == result


def test_faults_are_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[Any] = []
    monkeypatch.setattr(mcp_listing, "_find_fault", lambda tool, _: looked.append(tool))
    monkeypatch.setattr(mcp_listing, "MAX_REMEMBERED", 2)
    mender = ListingMender()
    tools = [FINE | {"name": name} for name in ("a", "b")]
    for _ in range(3):
        mender.mend({"tools": tools}, "2025-11-25")
    assert len(looked) == 2
    mender.mend({"tools": [FINE]}, "2025-11-25")
    mender.mend({"tools": tools}, "2025-11-25")
    assert len(looked) == 5


class Endless:
    """A client of a server whose list of tools never ends."""

    def __init__(self, page: list[types.Tool], cursor_characters: int) -> None:
        self.pages = 0
        self._page = page
        self._cursor_characters = cursor_characters

    async def list_tools(self, cursor: str | None) -> types.ListToolsResult:
        assert bool(cursor) == bool(self.pages)
        self.pages += 1
        return types.ListToolsResult(tools=self._page, next_cursor=str(self.pages).zfill(self._cursor_characters))


@pytest.mark.parametrize(("tools", "cursor"), [(1000, 10), (0, 100_000)])
async def test_a_list_of_tools_is_read_no_further_than_it_may_be_large(tools: int, cursor: int) -> None:
    page = [types.Tool(name="t", description="x" * 1000, input_schema={"type": "object"})] * tools
    client = Endless(page, cursor)
    with pytest.raises(mcp_connection.ListingError, match=r"^\[mcp\.t\]: its MCP server's list of tools is larger than 16 MiB"):
        await mcp_connection._list_tools(cast("Any", client), "[mcp.t]")
    assert client.pages < 200
