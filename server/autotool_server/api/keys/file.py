"""The keys file: one table for each key, in TOML (docs/guides/keys.md)."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from autotool_core.api_keys import NAME, NAME_RULE
from autotool_core.errors import AutoToolError
from autotool_core.modes import Mode
from autotool_core.target import Target, TargetText
from autotool_server.conversation.caller import Caller
from autotool_server.state_store.windows import Limits, Period

NO_DIAL = "A target of regret needs a measured dial. Set --dial."
NO_STORE = "This needs a database of what is spent. Set --spend-store, such as sqlite:///spend.db."

_ERROR_TEXTS = {
    "dict_type": "This must be a table, as in [keys.NAME]",
    "model_type": "This must be a table, as in [keys.NAME]",
    "extra_forbidden": "There is no such field",
    "missing": "This is missing",
    "string_type": "This must be a text, in quotes",
    "int_type": "This must be a whole number",
    "list_type": "This must be a list, in [ ]",
}
"""Texts for types of pydantic errors, in the terms of a keys file."""


def _as_set(value: object) -> object:
    """Return a list of TOML as what pydantic's strict mode takes for a set."""
    if not isinstance(value, list):
        raise PydanticCustomError("list_type", "This must be a list, in [ ]")
    return frozenset(value) if all(isinstance(part, str) for part in value) else value


Texts = Annotated[frozenset[Annotated[str, Field(min_length=1)]], BeforeValidator(_as_set)]
Modes = Annotated[frozenset[Annotated[Mode, Field(strict=False)]], BeforeValidator(_as_set)]
Limit = Annotated[int, Field(ge=1)]


class Key(BaseModel):
    """A key: what its holder may use, and how much. What is left out is not limited."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    name: str = Field(pattern=NAME)
    """The table's name, under which logs and figures know the key."""

    hash: str = Field(pattern=r"^[0-9a-f]{64}$")
    """SHA-256 hash of the key, 64 hexadecimal digits, as `autotool keys new NAME` prints it."""

    models: Texts | None = None
    """Models that may be used, by any of their names, without `:MODE`."""

    modes: Modes | None = None
    """Modes that may be asked for: `auto`, `long`, `short`. Plain text has no mode."""

    tools: Texts | None = None
    """Server tools that may be used, by their names or as groups such as `weather.*`."""

    priority: int = 0
    """The best priority of its requests, and theirs if they ask for none; lower is run earlier. Of all fields it is the one
    that limits if it is left out: or else any holder of a key could pass all others."""

    target: TargetText | None = None
    """What its answers in `auto` are to cost, such as `thinking-rate=0.3`; a request may name another one."""

    concurrent_requests: Limit | None = None
    """Requests at once, on each server."""

    requests_per_minute: Limit | None = None
    """Requests in any 60 seconds."""

    tokens_per_minute: Limit | None = None
    """Tokens of prompts and answers in any 60 seconds."""

    tokens_per_day: Limit | None = None
    """Tokens of prompts and answers in a day of UTC."""

    tokens_per_month: Limit | None = None
    """Tokens of prompts and answers in a calendar month of UTC."""

    @property
    def caller(self) -> Caller:
        """What the holder may use."""
        target = Target.parse(self.target) if self.target is not None else None
        return Caller(self.name, self.models, self.modes, self.tools, self.priority, target)

    @property
    def limits(self) -> Limits:
        """How much the holder may use."""
        tokens: dict[Period, int | None] = {
            "minute": self.tokens_per_minute,
            "day": self.tokens_per_day,
            "month": self.tokens_per_month,
        }
        given: dict[Period, int] = {period: limit for period, limit in tokens.items() if limit is not None}
        return Limits(self.requests_per_minute, given)

    @property
    def has_budget(self) -> bool:
        """Whether what the key has spent must be known from days before."""
        return self.tokens_per_day is not None or self.tokens_per_month is not None


class _File(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    keys: dict[str, Key]

    @model_validator(mode="before")
    @classmethod
    def _name_keys(cls, value: Any) -> Any:
        """Put the name of each table into it."""
        tables = value.get("keys") if isinstance(value, dict) else None
        if not isinstance(tables, dict):
            return value
        named = {name: {**table, "name": name} if isinstance(table, dict) else table for name, table in tables.items()}
        return {**value, "keys": named}


def read_keys(path: Path, *, has_store: bool, has_dial: bool = True) -> Mapping[str, Key]:
    """Return the keys of a file by their hashes. Raises AutoToolError, which names the file, the key and the field.

    `has_store`: whether what keys spend is kept, without which none may have a budget. `has_dial`: whether the server has a
    measured dial, without which none may have a target of regret.
    """
    try:
        keys = _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).keys
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise AutoToolError(f"The keys file {path} cannot be read: {reason}.") from None
    except tomllib.TOMLDecodeError as error:
        raise AutoToolError(f"The keys file {path} is not valid TOML: {error}.") from None
    except ValidationError as error:
        raise AutoToolError(f"The keys file {path}: {_first_fault(error)}") from None
    for name, key in keys.items():
        if fault := _missing_setting(key, has_store=has_store, has_dial=has_dial):
            raise AutoToolError(f"The keys file {path}: keys.{name}.{fault}")
    by_hash: dict[str, Key] = {}
    for name, key in keys.items():
        if (first := by_hash.setdefault(key.hash, key)) is not key:
            raise AutoToolError(f"The keys file {path}: keys.{name}.hash: This is the hash of keys.{first.name} too.")
    return by_hash


def _missing_setting(key: Key, *, has_store: bool, has_dial: bool) -> str | None:
    """Return the field of a key that needs a setting which the server does not have, and what to set; None without one."""
    if key.has_budget and not has_store:
        return f"{'tokens_per_month' if key.tokens_per_day is None else 'tokens_per_day'}: {NO_STORE}"
    target = key.caller.target
    return f"target: {NO_DIAL}" if target is not None and target.kind == "regret" and not has_dial else None


def _first_fault(error: ValidationError) -> str:
    """Return the first fault, by key and field. A mistyped field comes first: it may also make the right one missing."""
    faults = error.errors(include_input=False, include_url=False)
    fault = next((item for item in faults if item["type"] == "extra_forbidden"), faults[0])
    text = _ERROR_TEXTS.get(fault["type"], fault["msg"])
    if fault["type"] == "extra_forbidden" and len(fault["loc"]) == 3:
        text += f". Those there are: {', '.join(name for name in Key.model_fields if name != 'name')}"
    # A set has no order, and so no position that would say anything.
    path = [str(part) for part in fault["loc"][:3]]
    if path[-1:] == ["name"]:
        path, text = path[:-1], f"The name must be {NAME_RULE}"
    return f"{'.'.join(path)}: {text}."
