"""Put an MCP server's answer to `tools/list` in order, tool by tool, before the SDK reads it.

The SDK validates an answer as a whole and drops some tools without a word, so that one bad tool takes others with it. Here a
tool that cannot be used is replaced by an empty one, which has the reason in its `_meta`. Of every tool only the fields that
are used here are kept: a bad icon or hint takes no tool away.
https://modelcontextprotocol.io/specification/2025-11-25/server/tools
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from mcp import types
from mcp.shared.inbound import find_invalid_x_mcp_header
from mcp.types.methods import validate_server_result
from pydantic import ValidationError

from autotool_server.tools import schema_check

METHOD = "tools/list"
FAULT = "autotool/fault"
"""The key of `_meta` that has a tool's fault."""
MAX_REMEMBERED = 4096
MAX_PATH_CHARACTERS = 80
REQUIRED = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
"""What newer protocols require of an answer, and what does not matter here: nothing is cached."""
USED_FIELDS = ("name", "description", "inputSchema")
NESTED = "its inputSchema is nested too deeply."
EMPTY_SCHEMA = {"type": "object", "properties": {}}


def fault_of(tool: types.Tool) -> str | None:
    """Return why a listed tool cannot be used; None for one that can."""
    return (tool.meta or {}).get(FAULT)


class ListingMender:
    """Mends answers to `tools/list`. Faults are remembered by digest, since the same tools are listed every few seconds."""

    def __init__(self) -> None:
        self._faults: dict[bytes, str | None] = {}

    def mend(self, result: Mapping[str, Any], version: str) -> dict[str, Any]:
        """Return the answer with tools that the SDK can read. `version`: the negotiated version of the protocol.

        An answer without a list of tools is returned as it is: the SDK reports it.
        """
        tools = result.get("tools")
        if not isinstance(tools, list):
            return dict(result)
        return REQUIRED | dict(result) | {"tools": [self._mend_tool(tool, version) for tool in tools]}

    def _mend_tool(self, tool: Any, version: str) -> dict[str, Any]:
        kept = _used_fields(tool)
        fault = self._fault(kept, version)
        if fault is None:
            return kept
        texts = {key: kept[key] if isinstance(kept.get(key), str) else "" for key in ("name", "description")}
        return texts | {"inputSchema": EMPTY_SCHEMA, "_meta": {FAULT: fault}}

    def _fault(self, tool: Mapping[str, Any], version: str) -> str | None:
        digest = hashlib.sha256(json.dumps([version, tool], sort_keys=True).encode()).digest()
        if digest not in self._faults:
            if len(self._faults) >= MAX_REMEMBERED:
                self._faults.clear()
            self._faults[digest] = _find_fault(tool, version)
        return self._faults[digest]


def _used_fields(tool: Any) -> dict[str, Any]:
    """Return a tool's name, description and schema of arguments. Without an output schema the SDK takes every result."""
    return {key: tool[key] for key in USED_FIELDS if key in tool} if isinstance(tool, Mapping) else {}


def _find_fault(tool: Mapping[str, Any], version: str) -> str | None:
    if not tool.get("name"):
        return "its MCP server gives it no name."
    try:
        validate_server_result(METHOD, version, REQUIRED | {"tools": [tool]})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        path = ".".join(map(str, first["loc"][2:]))[:MAX_PATH_CHARACTERS]
        return f"its MCP server describes it in no valid way ({path}: {first['msg']})."
    except ValueError:
        return NESTED
    return _schema_fault(tool["inputSchema"])


def _schema_fault(schema: Any) -> str | None:
    try:
        if (path := schema_check.error_path(schema)) is not None:
            return f"its inputSchema is no valid JSON schema (at {path})."
        if find_invalid_x_mcp_header(schema) is not None:
            return "its inputSchema has an x-mcp-header that is not valid."
    except RecursionError:
        return NESTED
    return None
