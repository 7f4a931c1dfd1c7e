"""What a body refers to, read into it: earlier responses and items from the store, and sealed reasoning."""

import operator
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from autotool_core.errors import InvalidRequestError
from autotool_server.api.responses.items import InputItem, ItemReference, ReasoningItem, ReasoningText
from autotool_server.api.responses.resources import Resources
from autotool_server.api.responses.schemas import ResponsesRequest
from autotool_server.api.responses.seal import Seal

if TYPE_CHECKING:
    from autotool_server.state_store.responses import ResponseStore

_ITEM = TypeAdapter[InputItem](InputItem)


async def load(body: ResponsesRequest, resources: Resources) -> ResponsesRequest:
    """Return the body with everything that it refers to; the body itself if that is nothing.

    Raises InvalidRequestError, naming the field.
    """
    if body.background:
        await _check_background(body, resources)
    given = body.items
    items = [await _item(item, f"input.{index}", resources) for index, item in enumerate(given)]
    if body.previous_response_id is None:
        return body if all(map(operator.is_, items, given)) else body.loaded(items)
    earlier, ids = await resources.use_store(partial(_chain, body.previous_response_id), "previous_response_id")
    return body.loaded(items, earlier, ids)


def _chain(response_id: str, store: "ResponseStore") -> tuple[Sequence[InputItem], Sequence[str]]:
    """Return the items and the ids of a response and of those that it follows."""
    chain = store.chain(response_id)
    return [_parsed(value) for value in chain.items], chain.ids


async def _check_background(body: ResponsesRequest, resources: Resources) -> None:
    if not resources.has_store:
        await resources.use_store(lambda _: None, "background")
    if body.store is False:
        raise InvalidRequestError("background needs store: true, since the answer is read from the store.", "background")


async def _item(item: InputItem, field: str, resources: Resources) -> InputItem:
    if isinstance(item, ItemReference):
        stored = await resources.use_store(partial(_stored, item.id), field)
        if stored is None:
            raise InvalidRequestError("There is no item of this id in the store.", f"{field}.id")
        return stored
    return _opened(item, field, resources.seal) if isinstance(item, ReasoningItem) else item


def _stored(item_id: str, store: "ResponseStore") -> InputItem | None:
    value = store.item(item_id)
    return None if value is None else _parsed(value)


def _opened(item: ReasoningItem, field: str, seal: Seal) -> ReasoningItem:
    """Return a reasoning item with its text, which is in its content or sealed."""
    if item.encrypted_content is None or item.content:
        return item
    text = seal.open(item.encrypted_content)
    if text is None:
        raise InvalidRequestError(
            "This reasoning was not sealed by this server, or with another key (--seal-key). Leave the item out.",
            f"{field}.encrypted_content",
            code="invalid_encrypted_content",
        )
    return item.model_copy(update={"content": [ReasoningText(type="reasoning_text", text=text)]})


def _parsed(value: Mapping[str, Any]) -> InputItem:
    return _ITEM.validate_python(value)
