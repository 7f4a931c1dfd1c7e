"""The registry of server tools: starts the tool sources with the server and finds tools by name for each request."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack

from autotool_core.errors import AutoToolError, InvalidRequestError
from autotool_server.tools import schema_check
from autotool_server.tools.audit import AuditLog
from autotool_server.tools.base import Tool, ToolSource
from autotool_server.tools.limits import CallLimits
from autotool_server.tools.made import ApprovedCalls
from autotool_server.tools.secrets import Secrets

GROUP_SUFFIX = ".*"
FINGERPRINT_MISMATCH = (
    "This is not the tool's fingerprint as GET /v1/tools has it now. Read the tool there, and accept what you have read."
)


class Registry:
    """The tools of all sources, as a context manager that starts the sources and stops them at its end.

    `audit_log`: the file that has a line for every call; it is closed at the end.
    """

    def __init__(
        self, sources: Sequence[ToolSource] = (), secrets: Secrets | None = None, audit_log: AuditLog | None = None
    ) -> None:
        self.secrets = secrets or Secrets({})
        self.approved = ApprovedCalls()
        self.limits = CallLimits()
        self.audit_log = audit_log
        self._sources = sources
        self._running = AsyncExitStack()

    async def __aenter__(self) -> "Registry":
        """Start every source. Raises AutoToolError if one cannot start, or if two tools have the same name."""
        if self.audit_log is not None:
            self._running.push_async_callback(self.audit_log.close)
        try:
            for source in self._sources:
                self._running.push_async_callback(source.stop)
                await source.start()
            self._check_names()
            for tool in self.tools.values():
                if tool.spec.disabled is None:
                    _check_schema(tool)
        except BaseException:
            await self._running.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._running.aclose()

    @property
    def is_at_work(self) -> bool:
        """Whether a thread may still write the audit log after the end."""
        return self.audit_log is not None and self.audit_log.is_at_work

    @property
    def tools(self) -> Mapping[str, Tool]:
        """All current tools by name. If two tools share a name since the start, it is that of the first."""
        return {tool.spec.name: tool for source in reversed(self._sources) for tool in reversed(source.tools)}

    def open_breakers(self) -> dict[str, bool]:
        """Return whether its breaker is open, for each tool that has been called and that there still is, by name."""
        tools = self.tools
        return {name: breaker.is_open for name, breaker in self.limits.breakers.items() if name in tools}

    def named(self, name: str) -> dict[str, Tool]:
        """Return the current tools of a group, or the one tool of this name, by name; none where there is no such tool."""
        tools = self.tools
        return {match: tools[match] for match in _matches(name, tools)}

    def choose(self, names: Mapping[str, str]) -> dict[str, Tool]:
        """Return the tools that a request names. `names`: the field of the request for each name of a tool or group.

        Raises InvalidRequestError, which names the field.
        """
        tools = self.tools
        chosen: dict[str, Tool] = {}
        for name, field in names.items():
            matches = _matches(name, tools)
            if not matches:
                raise InvalidRequestError(f"{field} names no server tool. GET /v1/tools lists those there are.", field)
            usable = {match: tools[match] for match in matches if tools[match].spec.disabled is None or match == name}
            if not usable:
                raise InvalidRequestError("All server tools of this group are disabled. GET /v1/tools says why.", field)
            chosen |= usable
        for name, tool in chosen.items():
            if tool.spec.disabled is not None:
                raise InvalidRequestError(f"This server tool is disabled: {tool.spec.disabled}", names[name])
        return chosen

    def accept(self, name: str, fingerprint: str) -> Tool:
        """Enable a disabled tool if it still has this fingerprint.

        Raises InvalidRequestError if there is no such tool, if it has changed since the operator read it, or if it cannot be
        used as it is.
        """
        for source in self._sources:
            for tool in source.tools:
                if tool.spec.name == name:
                    if tool.spec.fingerprint != fingerprint:
                        raise InvalidRequestError(FINGERPRINT_MISMATCH, "fingerprint", status=409)
                    try:
                        _check_schema(tool)
                    except AutoToolError as error:
                        raise InvalidRequestError(str(error), "name", status=409) from None
                    source.accept(name)
                    accepted = self.tools[name]
                    if (reason := accepted.spec.disabled) is not None:
                        raise InvalidRequestError(f"This server tool cannot be enabled: {reason}", "name", status=409)
                    return accepted
        raise InvalidRequestError(
            "There is no server tool of this name. GET /v1/tools lists those there are.", "name", status=404
        )

    def _check_names(self) -> None:
        counts = Counter(tool.spec.name for source in self._sources for tool in source.tools)
        if duplicates := sorted(name for name, count in counts.items() if count > 1):
            raise AutoToolError(
                f"Two server tools are named {duplicates[0]}. Give one of them another namespace in the tools file."
            )


def _matches(name: str, tools: Mapping[str, Tool]) -> list[str]:
    """Return the names of a group's tools, or the name itself if it is a tool's."""
    is_group = name.endswith(GROUP_SUFFIX)
    group = [tool for tool in tools if tool.startswith(name.removesuffix("*"))] if is_group else []
    return group or ([name] if name in tools else [])


def _check_schema(tool: Tool) -> None:
    """Raise AutoToolError if the schema of a tool's arguments is invalid, so that no call fails because of it."""
    path = schema_check.error_path(dict(tool.spec.parameters))
    if path is not None:
        raise AutoToolError(f"The arguments of {tool.spec.name} have no valid JSON schema (at {path}).")
