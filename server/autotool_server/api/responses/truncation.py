"""`truncation: auto`: the oldest turns are dropped where a conversation does not fit into the model's context."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any

from autotool_core.errors import InvalidRequestError
from autotool_server.conversation.job import Job
from autotool_server.conversation.request import ConversationRequest
from autotool_server.conversation.service import ConversationService

TOO_LONG = "context_length_exceeded"


def prepare(request: ConversationRequest, service: ConversationService) -> Job:
    """Return the job of a request, without as many of its oldest turns as must go. Raises InvalidRequestError.

    The leading system messages stay, and the first message after them is one of the user: a call is never parted from its
    result.
    """
    try:
        return service.prepare(request)
    except InvalidRequestError as error:
        if error.code != TOO_LONG:
            raise
        cuts = _cuts(request.messages)
        # Fewer messages never make a longer prompt, so that the first cut that fits is found by bisection.
        first = bisect_left(cuts, True, key=lambda cut: _fits(_without(request, cut), service))
        if first == len(cuts):
            raise
    return service.prepare(_without(request, cuts[first]))


def _leading(messages: Sequence[Mapping[str, Any]]) -> int:
    return len(list(takewhile(lambda message: message["role"] == "system", messages)))


def _cuts(messages: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the indices of messages that the rest may begin with."""
    leading = _leading(messages)
    return [index for index, message in enumerate(messages) if index > leading and message["role"] == "user"]


def _without(request: ConversationRequest, cut: int) -> ConversationRequest:
    leading = _leading(request.messages)
    left_out = f"{request.fields.messages}: the {cut - leading} oldest messages"
    messages = [*request.messages[:leading], *request.messages[cut:]]
    return replace(request, messages=messages, ignored=(*request.ignored, left_out))


def _fits(request: ConversationRequest, service: ConversationService) -> bool:
    try:
        service.prepare(request)
    except InvalidRequestError as error:
        if error.code != TOO_LONG:
            raise
        return False
    return True
