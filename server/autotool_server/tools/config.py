"""The tools file and the built-in tools: from settings to a registry."""

import tomllib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from autotool_core.errors import AutoToolError
from autotool_server.settings import Settings
from autotool_server.tools.base import Tool, ToolSource
from autotool_server.tools.builtin import BUILTIN
from autotool_server.tools.registry import Registry
from autotool_server.tools.secrets import Secrets
from autotool_server.tools.sources import SOURCES, source_class

_COMPLAINTS = {
    "dict_type": "This must be a table; an entry has a name of its own, as in [python.NAME]",
    "extra_forbidden": "There is no such key",
    "list_type": "This must be a list, in [ ]",
    "missing": "This is missing",
    "string_type": "This must be a text, in quotes",
}
"""Pydantic's kinds of errors in the words of a tools file."""

Tables = TypeAdapter(dict[str, dict[str, dict[str, Any]]])


def registry(settings: Settings) -> AbstractAsyncContextManager[Registry]:
    """The tools of the settings, not started yet. Raises AutoToolError, naming what is wrong."""
    secrets = Secrets()
    sources: list[ToolSource] = [BuiltinSource(_builtin(settings.builtin_tools))]
    if settings.tools is not None:
        sources += read(Path(settings.tools), secrets)
    return Registry(sources, secrets)


def read(path: Path, secrets: Secrets) -> list[ToolSource]:
    """The sources of a tools file; relative paths in it are relative to it. Raises AutoToolError, naming file and key."""
    try:
        tables = Tables.validate_python(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise AutoToolError(f"The tools file {path} cannot be read: {error}.") from None
    except tomllib.TOMLDecodeError as error:
        raise AutoToolError(f"The tools file {path} is not valid TOML: {error}.") from None
    except ValidationError as error:
        raise _wrong(path, "", (), error) from None
    return [
        _source(path, kind, namespace, table, secrets)
        for kind, entries in tables.items()
        for namespace, table in entries.items()
    ]


def _source(path: Path, kind: str, namespace: str, table: dict[str, Any], secrets: Secrets) -> ToolSource:
    if kind not in SOURCES:
        raise AutoToolError(
            f"The tools file {path}: there is no kind [{kind}.{namespace}]. Those there are: {', '.join(SOURCES)}."
        )
    create = source_class(kind)
    try:
        entry = create.entry_class.model_validate(table)
    except ValidationError as error:
        raise _wrong(path, f"{kind}.{namespace}.", create.entry_class.model_fields, error) from None
    return create(namespace, entry.beside(path.absolute().parent), secrets)


def _wrong(path: Path, where: str, keys: Iterable[str], error: ValidationError) -> AutoToolError:
    found = error.errors(include_input=False, include_url=False)
    # A key that is mistyped is also missing.
    first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
    complaint = _COMPLAINTS.get(first["type"], first["msg"].removeprefix("Value error, "))
    if first["type"] == "extra_forbidden" and len(first["loc"]) == 1:
        complaint += f". Those there are: {', '.join(keys)}"
    key = f"{where}{'.'.join(map(str, first['loc']))}".rstrip(".")
    return AutoToolError(f"The tools file {path}: {key}: {complaint}.")


def _builtin(names: str) -> Iterator[Tool]:
    for name in filter(None, map(str.strip, names.split(","))):
        if name not in BUILTIN:
            raise AutoToolError(f"There is no built-in tool {name}. Those there are: {', '.join(BUILTIN)}.")
        yield BUILTIN[name]()


class BuiltinSource:
    """Tools that this package brings."""

    def __init__(self, tools: Iterator[Tool]) -> None:
        self.tools: Sequence[Tool] = tuple(tools)

    async def start(self) -> None:
        """Nothing to start."""

    async def stop(self) -> None:
        """Nothing to end."""

    def accept(self, name: str) -> None:
        """Nothing is ever disabled."""
