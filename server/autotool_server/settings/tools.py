"""Settings of server tools: which there are, the limits of their calls, and their operator's key."""

from pydantic import Field

from autotool_server.settings.group import Key, SettingsGroup, Text


class ToolSettings(SettingsGroup):
    """Which tools the server runs, and how much a request may have of them."""

    tools: Text | None = None
    """File of server tools, in TOML (docs/guides/tools.md)."""

    builtin_tools: str = ""
    """Built-in tools to offer, separated by commas: calculator, clock, fetch, python."""

    audit_log: Text | None = None
    """File to which every call of a server tool adds a line of JSON, without arguments and result (docs/guides/tools.md).
    While it cannot be written, tools that may change something are not run. Default: none."""

    max_tool_turns: int = Field(default=16, ge=1)
    """Maximum and default number of turns of a request that may call server tools."""

    max_tool_calls: int = Field(default=64, ge=1)
    """Maximum and default number of calls of server tools in a request."""

    max_tool_seconds: float = Field(default=300, gt=0)
    """Maximum and default time, in seconds, after which a request's calls of server tools are ended."""

    escalate: bool = False
    """Whether a short turn whose call of a server tool has bad arguments or fails is decoded again in long, once."""

    admin_key: Key | None = None
    """Key of the operator, who may enable tools that an MCP server has changed. Default: they stay disabled."""
