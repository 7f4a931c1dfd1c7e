"""Tool sources: one module for each kind of table in the tools file.

A new kind is one new module here and its line in `SOURCES`. The module has a class that implements `ToolSource` and is
constructed from one table: from the namespace (`weather` in `[http.weather]`), the validated table and the secrets. Its
attribute `entry_class` is the pydantic model that validates the table.
"""

from importlib import import_module
from typing import Any, Protocol

from autotool_server.tools.base import ToolSource
from autotool_server.tools.entry import Entry
from autotool_server.tools.secrets import Secrets

SOURCES = {
    "builtin": "builtin.BuiltinSource",
    "python": "functions.FunctionsSource",
    "http": "http.HttpSource",
    "openapi": "openapi.OpenApiSource",
    "mcp": "mcp.McpSource",
}
"""Module and class of each kind of table. A module is imported only if a tools file has a table of its kind."""


class SourceClass(Protocol):
    """The class of a tool source: constructs the source of one table."""

    entry_class: type[Entry]

    def __call__(self, namespace: str, entry: Any, secrets: Secrets, /) -> ToolSource: ...


def source_class(kind: str) -> SourceClass:
    """Return the class of a kind of table. Raises KeyError for an unknown kind."""
    module, _, name = SOURCES[kind].partition(".")
    return getattr(import_module(f"{__name__}.{module}"), name)
