"""The way in: from the body of `/v1/completions` to a request for plain text."""

import uuid
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, cast

from autotool_core.errors import InvalidRequestError
from autotool_server.api.completions.schemas import CompletionRequest
from autotool_server.conversation.plain import PlainRequest

GUIDED = ("guided_json", "guided_regex", "guided_choice", "guided_grammar")
UNSUPPORTED: Mapping[str, str] = MappingProxyType(
    {
        "suffix": "texts are continued at their end only. Leave it out.",
        "response_format": "plain text has no form. Ask /v1/chat/completions.",
        "structured_outputs": "plain text has no form. Ask /v1/chat/completions.",
        **dict.fromkeys(GUIDED, "plain text has no form. Ask /v1/chat/completions."),
        "prompt_embeds": "send the prompt as text or token ids.",
        "prompt_logprobs": "the log-probabilities of prompts are not computed. Leave it out.",
        "truncate_prompt_tokens": "send the part of the prompt that is to be read.",
        "allowed_token_ids": "any token may be decoded. Use logit_bias.",
        "bad_words": "any token may be decoded. Use logit_bias.",
        "logprob_token_ids": "the likeliest tokens are reported. Use logprobs.",
        "include_stop_str_in_output": "texts end before a stop string. Leave it out.",
        "use_beam_search": "texts are sampled. Leave it out.",
        "mode": "plain text has no mode. Ask /v1/chat/completions.",
    }
)
"""Fields that would change the answer and are not supported, with the reason."""


def plain_request(body: CompletionRequest, ignored: Sequence[str]) -> PlainRequest:
    """Return the request that a body makes. Raises InvalidRequestError for what is not supported."""
    _refuse_unsupported(body)
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


def _refuse_unsupported(body: CompletionRequest) -> None:
    for field, reason in UNSUPPORTED.items():
        value = getattr(body, field)
        if value not in (None, "", False, []) and not _is_text_format(value):
            raise InvalidRequestError(f"{field} is not supported: {reason}", field, code="unsupported_field")
    if body.best_of not in (None, body.n):
        raise InvalidRequestError("best_of must be n: every choice is returned.", "best_of")
    if body.echo and body.logprobs is not None:
        raise InvalidRequestError(
            "echo is not supported with logprobs: the log-probabilities of prompts are not computed.", "echo"
        )


def _is_text_format(value: Any) -> bool:
    return value == {"type": "text"}
