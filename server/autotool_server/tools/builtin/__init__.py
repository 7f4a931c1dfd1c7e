"""The built-in tools, each only where the operator names it (`--builtin-tools calculator,clock`)."""

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from types import MappingProxyType

from autotool_server.tools.base import Tool

_MAKERS = {"calculator": "CalculatorTool", "clock": "ClockTool", "fetch": "fetch_tool", "python": "python_tool"}


def _make(name: str) -> Tool:
    return getattr(import_module(f"{__name__}.{name}"), _MAKERS[name])()


BUILTIN: Mapping[str, Callable[[], Tool]] = MappingProxyType({name: partial(_make, name) for name in _MAKERS})
"""What makes each, by name; `python` blocks while it probes its sandbox, and raises AutoToolError where that does not hold."""
