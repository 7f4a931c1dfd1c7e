"""The routes of stored responses: read, delete, cancel, and the items of an input."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from openai.types.responses import Response
from pydantic import BaseModel

from autotool_core.errors import InvalidRequestError
from autotool_server.api import auth
from autotool_server.api.openapi import Operation, documented
from autotool_server.api.protocol import Protocol
from autotool_server.api.responses.resources import Resources
from autotool_server.api.state import state_of

Order = Literal["asc", "desc"]


class DeletedResponse(BaseModel):
    """What a deletion is answered with."""

    id: str
    object: Literal["response"] = "response"
    deleted: Literal[True] = True


class InputItemPage(BaseModel):
    """Some items of a response's own input."""

    object: Literal["list"] = "list"
    data: list[dict[str, Any]]
    first_id: str | None
    last_id: str | None
    has_more: bool


@asynccontextmanager
async def _closing(app: FastAPI) -> AsyncIterator[None]:
    """When the app ends, end the responses that still run in the background, and close the store."""
    yield
    await app.state.server.own(Resources).close()


def router(protocol: Protocol[Any]) -> APIRouter:
    """Return the routes, for clients that have the protocol's API key."""

    async def authorize(request: Request) -> None:
        request.state.key_name = auth.authorize(protocol.api_keys(request), state_of(request)).key_name

    path, needs_key = protocol.path + "/{response_id}", [Depends(authorize)]
    routes = APIRouter(lifespan=_closing)
    routes.post(protocol.path + "/compact", dependencies=needs_key)(compact)
    routes.get(path, dependencies=needs_key)(get_response)
    routes.delete(path, dependencies=needs_key)(delete_response)
    routes.post(path + "/cancel", dependencies=needs_key)(cancel_response)
    routes.get(path + "/input_items", dependencies=needs_key)(list_input_items)
    return routes


async def compact() -> None:
    """Say that conversations are not compacted here."""
    raise InvalidRequestError(
        "This server does not compact conversations. Send truncation: auto to have the oldest turns dropped.", status=404
    )


@documented(Operation(answer=Response))
async def get_response(request: Request, response_id: str) -> dict[str, Any]:
    """Return a stored response."""
    return await _stored(request, response_id)


@documented(Operation(answer=DeletedResponse))
async def delete_response(request: Request, response_id: str) -> DeletedResponse:
    """Delete a stored response; end it first if it runs in the background."""
    resources, key_name = state_of(request).own(Resources), request.state.key_name
    await _stored(request, response_id)
    await resources.cancel(response_id)
    if not await resources.use_store(lambda store: store.delete(response_id, key_name), "response_id", 404):
        raise _not_found()
    return DeletedResponse(id=response_id)


@documented(Operation(answer=Response))
async def cancel_response(request: Request, response_id: str) -> dict[str, Any]:
    """End a response that runs in the background. One that has ended stays as it is."""
    resources, key_name = state_of(request).own(Resources), request.state.key_name
    response = await _stored(request, response_id)
    if not response["background"]:
        raise InvalidRequestError("Only a response of background: true can be cancelled.", "response_id")
    await resources.cancel(response_id)
    await resources.use_store(lambda store: store.cancel(response_id, key_name), "response_id", 404)
    return await _stored(request, response_id)


@documented(Operation(answer=InputItemPage))
async def list_input_items(
    request: Request,
    response_id: str,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Order = "desc",
) -> InputItemPage:
    """Return the items of a response's own input, page by page: at most `limit` that come after the item `after`."""
    resources = state_of(request).own(Resources)
    await _stored(request, response_id)
    items = await resources.use_store(lambda store: store.inputs(response_id), "response_id", 404)
    items = items if order == "asc" else items[::-1]
    start = _index_after(items, after) if after is not None else 0
    page = items[start : start + limit]
    ids = [item["id"] for item in page] or [None]
    return InputItemPage(data=page, first_id=ids[0], last_id=ids[-1], has_more=start + limit < len(items))


async def _stored(request: Request, response_id: str) -> dict[str, Any]:
    """Return a response of the client's key. Raises InvalidRequestError if it has none of this id."""
    resources, key_name = state_of(request).own(Resources), request.state.key_name
    response = await resources.use_store(lambda store: store.get(response_id, key_name), "response_id", 404)
    if response is None:
        raise _not_found()
    return response


def _index_after(items: list[dict[str, Any]], item_id: str) -> int:
    for index, item in enumerate(items):
        if item["id"] == item_id:
            return index + 1
    raise InvalidRequestError("after names no item of this response.", "after")


def _not_found() -> InvalidRequestError:
    return InvalidRequestError("There is no response of this id in the store.", "response_id", status=404)
