"""Server tools: registered once, and run by the server inside a request (docs/guides/tools.md).

This module is the public API for authors of tools and of tool sources:

- `tool` makes a typed Python function a tool; `functions_source` makes a tool source of such functions.
- `ToolError` is a failure that the model reads; `TransientError` is one that may pass when the call is tried again, and
  `OversizeError` is a result above the tool's limit.
- `Tool`, `ToolSpec` and `Policy` describe one tool, `ToolSource` an object that provides tools.
- `Registry` starts tool sources and finds their tools by name.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from autotool_server.tools.base import OversizeError, Policy, Tool, ToolError, ToolSource, ToolSpec, TransientError

if TYPE_CHECKING:
    from autotool_server.tools.registry import Registry
    from autotool_server.tools.sources.functions import functions_source, tool

__all__ = [
    "OversizeError",
    "Policy",
    "Registry",
    "Tool",
    "ToolError",
    "ToolSource",
    "ToolSpec",
    "TransientError",
    "functions_source",
    "tool",
]

# These modules import pydantic and jsonschema, which take tenths of a second.
_LAZY = {"Registry": "registry", "functions_source": "sources.functions", "tool": "sources.functions"}


def __getattr__(name: str) -> Any:
    """Import a public name from its module when it is first used."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
