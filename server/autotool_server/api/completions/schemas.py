"""The request body of `/v1/completions`: OpenAI's fields, and vLLM's where they have a meaning here.

Field meanings: https://platform.openai.com/docs/api-reference/completions/create. A field that is null counts as not sent.
"""

from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from autotool_server.api.fields import MAX_INT32, SamplingFields, StreamFields, UnsupportedForms, unsupported
from autotool_server.conversation.plain import DEFAULT_MAX_TOKENS

EveryToken = Annotated[None, unsupported("any token may be decoded. Use logit_bias.")]

NOT_EMPTY = Field(min_length=1)
Text = Annotated[str, NOT_EMPTY]
TokenId = Annotated[int, Field(ge=0, le=MAX_INT32)]
TokenIds = Annotated[list[TokenId], NOT_EMPTY]


def _kind(prompt: Any) -> str:
    """Return which of the four kinds of prompt a value means to be, so that an error is that of its kind."""
    if not isinstance(prompt, list):
        return "text"
    first = prompt[0] if prompt else ""
    return "token_ids" if isinstance(first, int) else "token_id_lists" if isinstance(first, list) else "texts"


Prompt = Annotated[
    Annotated[Text, Tag("text")]
    | Annotated[list[Text], NOT_EMPTY, Tag("texts")]
    | Annotated[TokenIds, Tag("token_ids")]
    | Annotated[list[TokenIds], NOT_EMPTY, Tag("token_id_lists")],
    Discriminator(_kind),
]


class CompletionRequest(UnsupportedForms, StreamFields, SamplingFields):
    """The body of `/v1/completions`."""

    model: str
    prompt: Prompt
    """A text, a list of texts, token ids, or a list of lists of token ids. Each is completed `n` times."""
    max_tokens: int | None = Field(default=None, ge=0, le=MAX_INT32, description=f"Default: {DEFAULT_MAX_TOKENS}.")
    n: int = Field(default=1, ge=1, le=MAX_INT32)
    best_of: int | None = Field(default=None, ge=1, le=MAX_INT32)
    """Must be `n`: every choice is returned."""
    echo: bool = False
    """Whether the text begins with the prompt; not with `logprobs`."""
    logprobs: int | None = Field(default=None, ge=0, le=20)
    ignore_eos: bool = False
    """Whether the model's end of text does not end the text."""
    min_tokens: int = Field(default=0, ge=0, le=MAX_INT32)
    """Tokens before the text may end."""
    stop_token_ids: list[TokenId] = Field(default_factory=list, max_length=128)
    add_special_tokens: bool = True
    """Whether the tokens that begin a sequence are put before a prompt that is a text."""
    skip_special_tokens: bool = True
    """Whether special tokens make no text."""
    user: str | None = None
    suffix: Annotated[None, unsupported("texts are continued at their end only. Leave it out.")] = None
    prompt_embeds: Annotated[None, unsupported("send the prompt as text or token ids.")] = None
    prompt_logprobs: Annotated[None, unsupported("the log-probabilities of prompts are not computed. Leave it out.")] = None
    truncate_prompt_tokens: Annotated[None, unsupported("send the part of the prompt that is to be read.")] = None
    use_beam_search: Annotated[None, unsupported("texts are sampled. Leave it out.")] = None
    allowed_token_ids: EveryToken = None
    bad_words: EveryToken = None
    logprob_token_ids: Annotated[None, unsupported("the likeliest tokens are reported. Use logprobs.")] = None
    include_stop_str_in_output: Annotated[None, unsupported("texts end before a stop string. Leave it out.")] = None
    mode: Annotated[None, unsupported("plain text has no mode. Ask /v1/chat/completions.")] = None
