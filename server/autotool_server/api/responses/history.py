"""The history: from the items of an input to messages for the chat template.

A turn of the assistant is several items here and one message there. The messages are those that chat completions would have
been sent for the same conversation, so that both render to the same prompt and share the engine's prefix cache.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from autotool_server.api.responses.items import (
    ApprovalRequestItem,
    ApprovalResponseItem,
    Content,
    FunctionCallItem,
    FunctionCallOutputItem,
    InputItem,
    MessageItem,
    ReasoningItem,
    ServerCallItem,
    TextPart,
)
from autotool_server.conversation.messages import template_message

SERVER_CALL_PREFIX = "mcp_"
APPROVAL_PREFIX = "mcpr_"
CALL_PREFIX = "call_"


def server_call_id(call_id: str) -> str:
    """Return the id of the item of a server tool's call."""
    return SERVER_CALL_PREFIX + call_id.removeprefix(CALL_PREFIX)


def approval_id(call_id: str) -> str:
    """Return the id of the item that asks for the approval of a server tool's call."""
    return APPROVAL_PREFIX + call_id.removeprefix(CALL_PREFIX)


def approvals(items: Iterable[InputItem]) -> dict[str, bool] | None:
    """Return the user's decisions about calls that have no result yet, by the call's id; None where there are none."""
    decided: dict[str, bool] = {}
    for item in items:
        match item:
            case ApprovalResponseItem():
                decided[_call_id(item.approval_request_id, APPROVAL_PREFIX)] = item.approve
            case ServerCallItem():
                decided.pop(_call_id(item.id, SERVER_CALL_PREFIX), None)
            case _:
                pass
    return decided or None


def messages(items: Iterable[InputItem]) -> list[dict[str, Any]]:
    """Return the messages of the items."""
    return list(_messages(items))


def _messages(items: Iterable[InputItem]) -> Iterator[dict[str, Any]]:
    turn, waiting = _Turn(), set[str]()
    for item in items:
        is_decided = isinstance(item, ServerCallItem) and _call_id(item.id, SERVER_CALL_PREFIX) in waiting
        if is_decided or not turn.takes(item):
            yield from turn.messages()
            turn = _Turn()
        match item:
            case ApprovalRequestItem():
                waiting.add(_call_id(item.id, APPROVAL_PREFIX))
                turn.add(item)
            case ServerCallItem() if is_decided:
                yield _result_message(item)
            case FunctionCallOutputItem():
                yield template_message("tool", _text(item.output), tool_call_id=item.call_id)
            case MessageItem() if item.role != "assistant":
                yield template_message(item.role, _text(item.content))
            case _:
                turn.add(item)
    yield from turn.messages()


class _Turn:
    """A turn of the assistant, as far as it has been read: reasoning, text, calls, and results of the server's own tools."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._reasoning: list[str] = []
        self._content: list[str] = []
        self._calls: list[dict[str, Any]] = []
        self._results: list[dict[str, Any]] = []

    def takes(self, item: InputItem) -> bool:
        """Whether the item belongs to this turn."""
        is_answer = isinstance(item, FunctionCallOutputItem | ApprovalResponseItem)
        if is_answer or (isinstance(item, MessageItem) and item.role != "assistant"):
            return False
        number = _turn_number(item)
        if number is not None and self._number is not None:
            return number == self._number
        match item:
            case ReasoningItem():
                return not (self._content or self._calls)
            case MessageItem():
                # Text after a call whose result is still to come belongs to the turn of the call.
                return not self._results and (bool(self._calls) or not self._content)
            case _:
                return not self._results

    def add(self, item: InputItem) -> None:
        """Take in an item."""
        self._number = _turn_number(item) if self._number is None else self._number
        match item:
            case ReasoningItem():
                self._reasoning += [item.text] if item.text is not None else []
            case MessageItem():
                self._content.append(_text(item.content))
            case FunctionCallItem():
                self._call(item.call_id, item.name, item.arguments)
            case ServerCallItem():
                self._call(_call_id(item.id, SERVER_CALL_PREFIX), item.name, item.arguments)
                self._results.append(_result_message(item))
            case ApprovalRequestItem():
                self._call(_call_id(item.id, APPROVAL_PREFIX), item.name, item.arguments)
            case _:
                pass

    def messages(self) -> Iterator[dict[str, Any]]:
        """Yield the turn's message and the results that follow it; nothing where the turn has no item."""
        if not (self._reasoning or self._content or self._calls):
            return
        reasoning = "".join(self._reasoning) if self._reasoning else None
        yield template_message("assistant", "".join(self._content), reasoning=reasoning, tool_calls=self._calls)
        yield from self._results

    def _call(self, call_id: str, name: str, arguments: str) -> None:
        self._calls.append({"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}})


def _turn_number(item: InputItem) -> int | None:
    """Return the number of the turn that this server has written into an item of its own; None where it has not."""
    number = (item.model_extra or {}).get("turn")
    return number if isinstance(number, int) else None


def _text(content: Content) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part.text if isinstance(part, TextPart) else part.refusal for part in content)


def _call_id(item_id: str, prefix: str) -> str:
    return CALL_PREFIX + item_id.removeprefix(prefix)


def _result_message(item: ServerCallItem) -> dict[str, Any]:
    return template_message("tool", _result(item), tool_call_id=_call_id(item.id, SERVER_CALL_PREFIX))


def _result(item: ServerCallItem) -> str:
    """Return the result of a call as the model read it."""
    if item.output is not None:
        return item.output
    content = item.error.get("content") or item.error.get("message") if isinstance(item.error, dict) else item.error
    return content if isinstance(content, str) else ""
