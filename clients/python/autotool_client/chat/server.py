"""What the chat asks the server before the first message: its model and its tools."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, cast

import openai
from pydantic import BaseModel, ConfigDict

from autotool_client.client import AsyncAutoTool
from autotool_client.discovery import models_by_name
from autotool_client.errors import MALFORMED_BODY, expecting_openai
from autotool_core.errors import AutoToolError
from autotool_core.modes import Mode, split_alias


class ServerTool(BaseModel):
    """A tool of `GET /v1/tools`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    description: str = ""
    approval: str = "never"
    """When the server asks for approval of a call: `never`, `first` (of the tool in a conversation) or `always`."""
    disabled: str | None = None
    """Why it cannot be called; None if it can."""

    @property
    def summary(self) -> str:
        """The first line of the description."""
        return self.description.strip().partition("\n")[0]


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """A server as the chat finds it."""

    model: str
    mode: Mode | None
    """The mode that the wanted model's name ends in, as `name:long` does; None if it names none."""
    default_mode: Mode | None
    """None if the server does not tell it."""
    tools: tuple[ServerTool, ...]


async def look_up(client: AsyncAutoTool, wanted: str | None) -> ServerInfo:
    """Return the wanted model, or the first one of the server, and the server's tools.

    Raises openai.OpenAIError if the server cannot be reached, AutoToolError if it does not speak OpenAI's API, or lists no
    model and none is wanted.
    """
    with expecting_openai(client.base_url):
        models = models_by_name(await client.models.list())
    if wanted is None and not models:
        raise AutoToolError(f"The server at {client.base_url} lists no model; name one with --model.")
    name, mode = _split(wanted or next(iter(models)), models)
    known = models.get(name) or next(iter(models.values()), None)
    return ServerInfo(name, mode, _default_mode((known and known.model_extra) or {}), await _tools(client))


def _split(wanted: str, listed: Collection[str]) -> tuple[str, Mode | None]:
    """Split an alias such as `name:long`, unless the server has a model of just that name, and none of the shorter one.

    The server refuses a request whose alias names another mode than its field `mode`, which the user can change.
    """
    name, mode = split_alias(wanted)
    return (wanted, None) if wanted in listed and name not in listed else (name, mode)


def _default_mode(extra: Mapping[str, Any]) -> Mode | None:
    mode = extra.get("default_mode")
    return Mode(mode) if mode in list(Mode) else None


async def _tools(client: AsyncAutoTool) -> tuple[ServerTool, ...]:
    """Return the tools of the server; none of one that has no such list, as those of others."""
    try:
        listed = await client.get("/tools", cast_to=object)
        data = cast("Any", listed)["data"] if isinstance(listed, Mapping) else ()
        return tuple(ServerTool.model_validate(tool) for tool in data)
    except (openai.APIStatusError, *MALFORMED_BODY):
        return ()
