"""Every server tool by its name: started with the server, resolved for each request."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack

from autotool_core.errors import AutoToolError, InvalidRequestError
from autotool_server.tools import schema_check
from autotool_server.tools.base import Tool, ToolSource
from autotool_server.tools.secrets import Secrets

GROUP = ".*"
CHANGED = "This is not the tool's fingerprint as GET /v1/tools has it now. Read the tool there, and accept what you have read."


class Registry:
    """The tools of all sources. `async with` it: sources run between."""

    def __init__(self, sources: Sequence[ToolSource] = (), secrets: Secrets | None = None) -> None:
        self.secrets = secrets or Secrets({})
        self._sources = sources
        self._running = AsyncExitStack()

    async def __aenter__(self) -> "Registry":
        """Start every source. Raises AutoToolError where one cannot start, or two tools have one name."""
        try:
            for source in self._sources:
                self._running.push_async_callback(source.stop)
                await source.start()
            self._check_names()
            for tool in self.tools.values():
                _check_schema(tool)
        except BaseException:
            await self._running.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._running.aclose()

    @property
    def tools(self) -> Mapping[str, Tool]:
        """Every tool as it is now. Of two that have come to share a name since the start, the first one holds it."""
        return {tool.spec.name: tool for source in reversed(self._sources) for tool in reversed(source.tools)}

    def choose(self, names: Mapping[str, str]) -> dict[str, Tool]:
        """The tools that a request names, fields by name or group. Raises InvalidRequestError, naming the field."""
        tools = self.tools
        chosen: dict[str, Tool] = {}
        for name, field in names.items():
            group = [one for one in tools if one.startswith(name.removesuffix("*"))] if name.endswith(GROUP) else []
            found = group or ([name] if name in tools else [])
            if not found:
                raise InvalidRequestError(f"{field} names no server tool. GET /v1/tools lists those there are.", field)
            usable = {one: tools[one] for one in found if tools[one].spec.disabled is None or one == name}
            if not usable:
                raise InvalidRequestError("All server tools of this group are disabled. GET /v1/tools says why.", field)
            chosen |= usable
        for name, tool in chosen.items():
            if tool.spec.disabled is not None:
                raise InvalidRequestError(f"This server tool is disabled: {tool.spec.disabled}", names[name])
        return chosen

    def accept(self, name: str, fingerprint: str) -> Tool:
        """Let a disabled tool be called again, as it was when it had this fingerprint.

        Raises InvalidRequestError where there is no such tool, or it has changed since it was looked at.
        """
        for source in self._sources:
            for tool in source.tools:
                if tool.spec.name == name:
                    if tool.spec.fingerprint != fingerprint:
                        raise InvalidRequestError(CHANGED, "fingerprint", status=409)
                    try:
                        _check_schema(tool)
                    except AutoToolError as error:
                        raise InvalidRequestError(str(error), "name", status=409) from None
                    source.accept(name)
                    return self.tools[name]
        raise InvalidRequestError(
            "There is no server tool of this name. GET /v1/tools lists those there are.", "name", status=404
        )

    def _check_names(self) -> None:
        counts = Counter(tool.spec.name for source in self._sources for tool in source.tools)
        if twice := sorted(name for name, count in counts.items() if count > 1):
            raise AutoToolError(f"Two server tools are named {twice[0]}. Give one of them another namespace in the tools file.")


def _check_schema(tool: Tool) -> None:
    """Raise AutoToolError where the schema of a tool's arguments is none, so that no call finds it out."""
    where = schema_check.invalid_at(dict(tool.spec.parameters))
    if where is not None:
        raise AutoToolError(f"The arguments of {tool.spec.name} have no valid JSON schema (at {where}).")
