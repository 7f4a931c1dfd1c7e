"""Tool-call formats: how models write the calls of tools.

Each module of this package, except `base` and those whose names begin with `_`, defines one format as `FORMAT`; the format's
name is the module's name. A new format is a new module: parsing, grammars, profiles and training find it here by its name.
"""

from importlib import import_module
from pkgutil import iter_modules

from autotool_core.tool_formats.base import ToolFormat

DEFAULT = "hermes"
"""The format of a profile that names none, and of a chat template that no format recognises."""


def names() -> tuple[str, ...]:
    """Return the names of all formats in alphabetical order."""
    return tuple(sorted(module.name for module in iter_modules(__path__) if module.name != "base" and module.name[0] != "_"))


def get(name: str) -> ToolFormat:
    """Return the format of this name. Raises KeyError if there is none."""
    if name not in names():
        raise KeyError(name)
    return import_module(f"{__name__}.{name}").FORMAT


def recognise(chat_template: str) -> ToolFormat:
    """Return the format in which a chat template writes calls, the default one if no other matches.

    The default is tried last because other formats may use its `<tool_call>` marker too.
    """
    others = (get(name) for name in names() if name != DEFAULT)
    return next((tool_format for tool_format in others if tool_format.matches(chat_template)), get(DEFAULT))
