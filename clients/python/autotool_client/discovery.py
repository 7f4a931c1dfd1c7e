"""Which model of a server to ask for, when the user names none."""

import asyncio
from time import perf_counter

import openai
from openai import AsyncOpenAI
from openai.pagination import AsyncPage, SyncPage
from openai.types import Model

from autotool_client.errors import BUSY_STATUSES, UnreachableError, expecting_openai
from autotool_core.errors import AutoToolError
from autotool_core.modes import split_alias

LOOK_UP_SECONDS = 20.0
"""Time-out of one request for the list of models."""
LOADING_SECONDS = 300.0
"""How long a server may answer that it is busy, as one that is still loading does."""
RETRY_SECONDS = 1.0
"""Pause between two requests to a busy server."""


async def find_model(
    client: AsyncOpenAI, wanted: str | None = None, *, model_option: str = "--model", key_option: str = "OPENAI_API_KEY"
) -> str:
    """Return the wanted model, or the server's only one where none is wanted. Aliases such as `name:long` do not count.

    `model_option` and `key_option` are what errors tell the user to set. Raises AutoToolError if the server cannot be
    reached, does not have the wanted model, or has several.
    """
    try:
        with expecting_openai(client.base_url):
            names = await _list_models(client)
    except openai.APIStatusError as error:
        hint = _hint(error.status_code, key_option)
        raise AutoToolError(f"{client.base_url}models answers {error.status_code}: {error.message[:300]}{hint}") from error
    except openai.OpenAIError as error:
        raise UnreachableError(f"No answer from {client.base_url}models: {type(error).__name__}. Is the server up?") from error
    if wanted is not None and (wanted in names or split_alias(wanted)[0] in names):
        return wanted
    own = [name for name in names if name.rpartition(":")[0] not in names]
    if wanted is None and len(own) == 1:
        return own[0]
    listed = ", ".join(names) or "none"
    raise AutoToolError(f"{model_option}: name one of the models that {client.base_url} has: {listed}.")


async def _list_models(client: AsyncOpenAI) -> list[str]:
    """Return the names of all models; a server that is busy or still loading is asked again."""
    until = perf_counter() + LOADING_SECONDS
    while True:
        try:
            return list(models_by_name(await client.models.list(timeout=LOOK_UP_SECONDS)))
        except openai.APIStatusError as error:
            if error.status_code not in BUSY_STATUSES or perf_counter() > until:
                raise
        await asyncio.sleep(RETRY_SECONDS)


def models_by_name(page: AsyncPage[Model] | SyncPage[Model]) -> dict[str, Model]:
    """Return the models of a server's list. Raises one of MALFORMED_BODY if it is no such list."""
    models = {model.id: model for model in page.data}
    if not all(isinstance(name, str) for name in models):
        raise TypeError("A model has no id.")
    return models


def _hint(status: int, key_option: str) -> str:
    hints = {
        401: f" Give the key by {key_option}.",
        403: f" Give another key by {key_option}.",
        404: " A base URL ends in /v1.",
    }
    return hints.get(status, "")
