"""The way in: from the body of `/v1/completions` to a request for plain text."""

import uuid
from collections.abc import Sequence
from typing import cast

from autotool_core.errors import InvalidRequestError
from autotool_server.api.completions.schemas import CompletionRequest
from autotool_server.conversation.plain import PlainRequest


def plain_request(body: CompletionRequest, ignored: Sequence[str]) -> PlainRequest:
    """Return the request that a body makes. Raises InvalidRequestError for what is not supported."""
    _check(body)
    return PlainRequest(
        prompts=prompts(body),
        id=f"cmpl-{uuid.uuid4().hex}",
        model=body.model,
        max_tokens=body.max_tokens,
        sampling=body.sampling,
        stop=body.stops,
        stop_token_ids=tuple(body.stop_token_ids),
        ignore_eos=body.ignore_eos,
        min_tokens=body.min_tokens,
        logprobs=body.logprobs,
        num_choices=body.n,
        add_special_tokens=body.add_special_tokens,
        skip_special_tokens=body.skip_special_tokens,
        ignored=tuple(ignored),
    )


def prompts(body: CompletionRequest) -> Sequence[str | Sequence[int]]:
    """Return the prompts of a body, each a text or token ids."""
    prompt = body.prompt
    if isinstance(prompt, str) or (prompt and isinstance(prompt[0], int)):
        return [cast("str | list[int]", prompt)]
    return cast("list[str | list[int]]", prompt)


def _check(body: CompletionRequest) -> None:
    if body.best_of not in (None, body.n):
        raise InvalidRequestError("best_of must be n: every choice is returned.", "best_of")
    if body.echo and body.logprobs is not None:
        raise InvalidRequestError(
            "echo is not supported with logprobs: the log-probabilities of prompts are not computed.", "echo"
        )
