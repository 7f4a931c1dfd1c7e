"""The built-in tools. A server has those that the operator names (`--builtin-tools calculator,clock`, or `[builtin.clock]`).

A new built-in tool is one new module here, with its `POLICY`, and its line in `_FACTORIES`.
"""

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from types import MappingProxyType

from autotool_server.tools.base import Policy, Tool

_FACTORIES = {"calculator": "CalculatorTool", "clock": "ClockTool", "fetch": "fetch_tool", "python": "python_tool"}


def _create(name: str, change: Callable[[Policy], Policy] = lambda policy: policy) -> Tool:
    module = import_module(f"{__name__}.{name}")
    return getattr(module, _FACTORIES[name])(policy=change(module.POLICY))


BUILTIN_TOOLS: Mapping[str, Callable[..., Tool]] = MappingProxyType({name: partial(_create, name) for name in _FACTORIES})
"""Functions that create the tools, by name, with their own policy or what the given function makes of it. That of `python`
blocks while it probes its sandbox, and raises AutoToolError if the sandbox does not hold."""
