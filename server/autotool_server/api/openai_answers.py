"""Parts of answers that several of OpenAI's protocols share: the usage of tokens, and log-probabilities."""

from collections.abc import Sequence
from typing import Any

from openai.types import CompletionUsage
from openai.types.completion_usage import CompletionTokensDetails, PromptTokensDetails

from autotool_core.tokenizer import Tokenizer
from autotool_server.api.token_bytes import token_bytes
from autotool_server.conversation.job import Job
from autotool_server.engines.base import TokenLogprob


def usage(job: Job) -> CompletionUsage:
    """Return the tokens of the whole request as OpenAI's object."""
    used = job.usage()
    return CompletionUsage(
        prompt_tokens=used.prompt,
        completion_tokens=used.completion,
        total_tokens=used.prompt + used.completion,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=used.cached, audio_tokens=0),
        completion_tokens_details=CompletionTokensDetails(
            reasoning_tokens=used.reasoning, audio_tokens=0, accepted_prediction_tokens=0, rejected_prediction_tokens=0
        ),
    )


def logprob_entries(logprobs: Sequence[TokenLogprob], tokenizer: Tokenizer) -> list[dict[str, Any]]:
    """Return log-probabilities (nats) in OpenAI's form: `token` is the token's text, `bytes` its part of the UTF-8."""
    return [
        {**_token(entry.token_id, entry.logprob, tokenizer), "top_logprobs": [_token(*top, tokenizer) for top in entry.top]}
        for entry in logprobs
    ]


def _token(token_id: int, logprob: float, tokenizer: Tokenizer) -> dict[str, Any]:
    # By the backend, as the content is decoded: the tokenizer itself may drop spaces.
    text = tokenizer.backend_tokenizer.decode([token_id], skip_special_tokens=False)
    return {"token": text, "logprob": max(logprob, -9999.0), "bytes": token_bytes(token_id, text, tokenizer)}
