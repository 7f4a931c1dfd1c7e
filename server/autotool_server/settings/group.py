"""What the groups of settings share: the class that they derive from, and types of values."""

import json
from typing import Annotated

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from autotool_server.environment import PREFIX


class SettingsGroup(BaseSettings):
    """Settings of one kind, which `Settings` reads together with those of the other groups. Their docstrings are their help."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, use_attribute_docstrings=True)


def from_json(value: object) -> object:
    """Return the value of a setting that was given as text on the command line."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        raise PydanticCustomError("json", "Input should be JSON") from None


def _names(value: object) -> object:
    """Return the names of a setting that was given as text: separated by commas, or a JSON list."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return from_json(value)
    return [name for part in value.split(",") if (name := part.strip())]


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names)]
Text = Annotated[str, Field(min_length=1)]


def not_empty(value: object) -> object:
    """Return a key of this server that is not empty. Taken for no key at all, an empty one would open the server."""
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if isinstance(text, str) and not text.strip():
        raise PydanticCustomError("empty", "It is empty: unset it or give a key")
    return value


Key = Annotated[SecretStr, BeforeValidator(not_empty)]
