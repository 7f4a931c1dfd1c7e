"""What the chat asks the server before the first message: its model and its tools."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import openai
from pydantic import BaseModel, ConfigDict, ValidationError

from autotool_client.client import AsyncAutoTool
from autotool_core.errors import AutoToolError
from autotool_core.modes import Mode


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
    default_mode: Mode | None
    """None if the server does not tell it."""
    tools: tuple[ServerTool, ...]


async def look_up(client: AsyncAutoTool, wanted: str | None) -> ServerInfo:
    """Return the wanted model, or the first one of the server, and the server's tools.

    Raises openai.OpenAIError if the server cannot be reached, AutoToolError if it lists no model and none is wanted.
    """
    models = {model.id: model for model in (await client.models.list()).data}
    if wanted is None and not models:
        raise AutoToolError(f"The server at {client.base_url} lists no model; name one with --model.")
    name = wanted or next(iter(models))
    known = models.get(name) or next(iter(models.values()), None)
    return ServerInfo(name, _default_mode((known and known.model_extra) or {}), await _tools(client))


def _default_mode(extra: Mapping[str, Any]) -> Mode | None:
    mode = extra.get("default_mode")
    return Mode(mode) if mode in list(Mode) else None


async def _tools(client: AsyncAutoTool) -> tuple[ServerTool, ...]:
    """Return the tools of the server; none of one that has no such list, as those of others."""
    try:
        listed = await client.get("/tools", cast_to=object)
        data = cast("Any", listed)["data"] if isinstance(listed, Mapping) else ()
        return tuple(ServerTool.model_validate(tool) for tool in data)
    except (openai.APIStatusError, LookupError, TypeError, ValidationError):
        return ()
