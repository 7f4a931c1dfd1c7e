"""Create the tool registry from the settings: from the tools file and the built-in tools."""

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from autotool_core.errors import AutoToolError
from autotool_server.settings import Settings
from autotool_server.tools.audit import AuditLog
from autotool_server.tools.base import ToolSource
from autotool_server.tools.entry import Entry
from autotool_server.tools.registry import Registry
from autotool_server.tools.secrets import Secrets
from autotool_server.tools.sources import SOURCES, source_class
from autotool_server.tools.sources.builtin import BuiltinSource

_ERROR_TEXTS = {
    "dict_type": "This must be a table; an entry has a name of its own, as in [python.NAME]",
    "extra_forbidden": "There is no such key",
    "list_type": "This must be a list, in [ ]",
    "missing": "This is missing",
    "string_type": "This must be a text, in quotes",
}
"""Texts for types of pydantic errors, in the terms of a tools file."""

Tables = TypeAdapter(dict[str, dict[str, dict[str, Any]]])


def create_registry(settings: Settings) -> Registry:
    """Return the registry of the settings' tools, not started yet. Raises AutoToolError for invalid settings."""
    secrets = Secrets()
    sources = read_tools_file(Path(settings.tools), secrets) if settings.tools is not None else []
    of_tables = {source.name for source in sources if isinstance(source, BuiltinSource)}
    names = filter(None, map(str.strip, settings.builtin_tools.split(",")))
    builtin = [BuiltinSource(name, Entry(), secrets) for name in names if name not in of_tables]
    audit_log = AuditLog(Path(settings.audit_log)) if settings.audit_log is not None else None
    return Registry([*builtin, *sources], secrets, audit_log)


def read_tools_file(path: Path, secrets: Secrets) -> list[ToolSource]:
    """Return the sources of a tools file. Relative paths in it start from its folder.

    Raises AutoToolError, which names the file and the key.
    """
    try:
        tables = Tables.validate_python(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise AutoToolError(f"The tools file {path} cannot be read: {error}.") from None
    except tomllib.TOMLDecodeError as error:
        raise AutoToolError(f"The tools file {path} is not valid TOML: {error}.") from None
    except ValidationError as error:
        raise _config_error(path, "", (), error) from None
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
    create_source = source_class(kind)
    try:
        entry = create_source.entry_class.model_validate(table)
    except ValidationError as error:
        raise _config_error(path, f"{kind}.{namespace}.", create_source.entry_class.model_fields, error) from None
    return create_source(namespace, entry.relative_to(path.absolute().parent), secrets)


def _config_error(path: Path, prefix: str, keys: Iterable[str], error: ValidationError) -> AutoToolError:
    errors = error.errors(include_input=False, include_url=False)
    # A mistyped key is reported first: it also makes the right key missing.
    first = next((item for item in errors if item["type"] == "extra_forbidden"), errors[0])
    text = _ERROR_TEXTS.get(first["type"], first["msg"].removeprefix("Value error, "))
    if first["type"] == "extra_forbidden" and len(first["loc"]) == 1:
        text += f". Those there are: {', '.join(keys)}"
    key = f"{prefix}{'.'.join(map(str, first['loc']))}".rstrip(".")
    return AutoToolError(f"The tools file {path}: {key}: {text}.")
