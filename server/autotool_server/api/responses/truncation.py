"""`truncation: auto`: the oldest turns are dropped where a conversation does not fit into the model's context."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any

from autotool_core.errors import InvalidRequestError
from autotool_server.conversation.job import Job
from autotool_server.conversation.request import ConversationRequest
from autotool_server.conversation.service import ConversationService
from autotool_server.conversation.text_threads import Run

TOO_LONG = "context_length_exceeded"


async def prepare(service: ConversationService, request: ConversationRequest, run: Run) -> Job:
    """Return the job of a request, without as many of its oldest turns as must go. Raises InvalidRequestError.

    The leading system messages stay, and the first message after them is one of the user: a call is never parted from its
    result.
    """
    try:
        return await service.prepare(request, run)
    except InvalidRequestError as error:
        if error.code != TOO_LONG:
            raise
        too_long = error
    cuts = _cuts(request.messages)
    found: Job | None = None
    # Fewer messages never make a longer prompt, so that the first cut that fits is found by bisection.
    while cuts:
        middle = len(cuts) // 2
        job = await _fitting(service, _without(request, cuts[middle]), run)
        found = job or found
        cuts = cuts[:middle] if job is not None else cuts[middle + 1 :]
    if found is None:
        raise too_long
    return found


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


async def _fitting(service: ConversationService, request: ConversationRequest, run: Run) -> Job | None:
    """Return the job of a request; None for one that is too long."""
    try:
        return await service.prepare(request, run)
    except InvalidRequestError as error:
        if error.code != TOO_LONG:
            raise
        return None
