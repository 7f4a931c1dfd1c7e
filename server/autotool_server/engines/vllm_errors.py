"""What vLLM said of a request that it refused or failed on: short, and without what was in the request."""

import re

from autotool_core.errors import InvalidRequestError

MOST_CHARACTERS = 500

_TOKEN_LIST = re.compile(r" \[[\d, -]*\](?= in )")


def refusal(message: str, field: str | None) -> InvalidRequestError:
    """vLLM's sentence, cut before the value that ends it and without the token ids that it lists."""
    reason = message.partition(", got")[0].partition(" (parameter=")[0].rstrip(".")
    return InvalidRequestError(f"The engine refused the request: {shortened(_TOKEN_LIST.sub('', reason))}.", field)


def shortened(said: str) -> str:
    """What a server said, short enough for an error's message: some put their whole traceback into theirs."""
    return said if len(said) <= MOST_CHARACTERS else f"{said[:MOST_CHARACTERS]}…"
