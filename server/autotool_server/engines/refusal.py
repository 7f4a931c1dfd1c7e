"""A request that vLLM refused, told without repeating what was in it."""

import re

from autotool_core.errors import InvalidRequestError

_TOKEN_LIST = re.compile(r" \[[\d, -]*\](?= in )")


def refusal(message: str, field: str | None) -> InvalidRequestError:
    """vLLM's sentence, cut before the value that ends it and without the token ids that it lists."""
    reason = message.partition(", got")[0].partition(" (parameter=")[0].rstrip(".")
    return InvalidRequestError(f"The engine refused the request: {_TOKEN_LIST.sub('', reason)}.", field)
