"""The request body of `/v1/completions`: OpenAI's fields, and vLLM's where they have a meaning here.

Field meanings: https://platform.openai.com/docs/api-reference/completions/create. A field that is null counts as not sent.
"""

from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag, WithJsonSchema, model_validator

from autotool_server.api.fields import MAX_INT32, Body, SamplingFields
from autotool_server.conversation.plain import DEFAULT_MAX_TOKENS

Unsupported = Annotated[Any, WithJsonSchema({"type": "null"})]
"""A field that would change the text and is not supported; `request` refuses it with its reason."""

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


class StreamOptions(Body):
    """Options of a streamed answer."""

    include_usage: bool = False
    include_obfuscation: bool = False
    continuous_usage_stats: bool = False
    """Whether every chunk has the usage so far of its choice; with include_usage only."""


class CompletionRequest(SamplingFields):
    """The body of `/v1/completions`."""

    model: str
    prompt: Prompt
    """A text, a list of texts, token ids, or a list of lists of token ids. Each is completed `n` times."""
    stream: bool = False
    stream_options: StreamOptions | None = None
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
    suffix: Unsupported = None
    """Not supported: a 400 unless it is empty, like the fields after it."""
    response_format: Unsupported = None
    structured_outputs: Unsupported = None
    guided_json: Unsupported = None
    guided_regex: Unsupported = None
    guided_choice: Unsupported = None
    guided_grammar: Unsupported = None
    prompt_embeds: Unsupported = None
    prompt_logprobs: Unsupported = None
    use_beam_search: Unsupported = None
    truncate_prompt_tokens: Unsupported = None
    allowed_token_ids: Unsupported = None
    bad_words: Unsupported = None
    logprob_token_ids: Unsupported = None
    include_stop_str_in_output: Unsupported = None
    mode: Unsupported = None

    @model_validator(mode="after")
    def _stream_options_need_stream(self) -> "CompletionRequest":
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options is only allowed with stream=true")
        return self
