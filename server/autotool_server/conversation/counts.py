"""Checks of the counts that a request asks for."""

from autotool_core.errors import InvalidRequestError
from autotool_server.conversation.request import ConversationRequest


def check_counts(request: ConversationRequest, max_choices: int) -> None:
    """Raise InvalidRequestError for a count that is too small or too large, whatever the protocol's own schema lets through."""
    fields = request.fields
    counts = {
        fields.max_tokens: (request.max_tokens, 1),
        fields.num_choices: (request.num_choices, 1),
        "max_reasoning_tokens": (request.max_reasoning_tokens, 0),
    }
    for name, (count, minimum) in counts.items():
        if count is not None and count < minimum:
            raise InvalidRequestError(f"{name} must be at least {minimum}.", name)
    if request.max_tokens is not None and request.min_tokens > request.max_tokens:
        raise InvalidRequestError(f"{fields.min_tokens} can be at most {fields.max_tokens}.", fields.min_tokens)
    if "" in request.stop:
        raise InvalidRequestError("stop must not hold an empty text.", "stop")
    if request.num_choices > max_choices:
        raise InvalidRequestError(f"{fields.num_choices} can be at most {max_choices} here.", fields.num_choices)
