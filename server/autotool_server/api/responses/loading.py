"""What a body refers to, read into it: earlier responses and items from the store, and sealed reasoning."""

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from autotool_core.errors import InvalidRequestError
from autotool_server.api.responses.items import InputItem, ItemReference, ReasoningItem, ReasoningText
from autotool_server.api.responses.resources import Resources
from autotool_server.api.responses.schemas import ResponsesRequest
from autotool_server.api.responses.seal import Seal

_ITEM = TypeAdapter[InputItem](InputItem)


async def load(body: ResponsesRequest, resources: Resources, key_name: str | None) -> ResponsesRequest:
    """Return the body with everything that it refers to. Raises InvalidRequestError, naming the field.

    `key_name`: of the client's key, to which what it refers to must belong.
    """
    if body.background:
        await _check_background(body, resources)
    items = [await _item(item, f"input.{index}", resources, key_name) for index, item in enumerate(body.items)]
    if body.previous_response_id is None:
        return body.loaded(items)
    response_id = body.previous_response_id
    chain = await resources.use_store(lambda store: store.chain(response_id, key_name), "previous_response_id")
    return body.loaded(items, [_parsed(value) for value in chain.items], chain.ids)


async def _check_background(body: ResponsesRequest, resources: Resources) -> None:
    if not resources.has_store:
        await resources.use_store(lambda _: None, "background")
    if body.store is False:
        raise InvalidRequestError("background needs store: true, since the answer is read from the store.", "background")


async def _item(item: InputItem, field: str, resources: Resources, key_name: str | None) -> InputItem:
    if isinstance(item, ItemReference):
        item_id = item.id
        value = await resources.use_store(lambda store: store.item(item_id, key_name), field)
        if value is None:
            raise InvalidRequestError("There is no item of this id in the store.", f"{field}.id")
        return _parsed(value)
    return _opened(item, field, resources.seal) if isinstance(item, ReasoningItem) else item


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
