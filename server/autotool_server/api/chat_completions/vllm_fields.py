"""Fields of the body of `/v1/chat/completions` that are vLLM's, and those of OpenAI's that change nothing here.

vLLM's: https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html
"""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from autotool_server.api.chat_completions.formats import Choices, Grammar, JsonSchema, Regex, StructuredOutputs
from autotool_server.api.fields import MAX_INT32, Body, Unsupported

INT64 = 2**63


class UnusedFields(Body):
    """Fields that cannot change the answer's text: they are taken and have no effect."""

    user: str | None = None
    store: bool | None = None
    """Nothing is stored."""
    metadata: dict[str, Any] | None = None
    service_tier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    cache_control: Any = None
    safety_identifier: str | None = None
    prediction: dict[str, Any] | None = None
    modalities: list[Literal["text"]] | None = None
    verbosity: str | None = None
    cache_salt: str | None = None
    session_id: str | None = None
    stream_interval: int | None = None
    length_penalty: float | None = None
    truncation_side: str | None = None
    guided_decoding_backend: str | None = None
    media_io_kwargs: dict[str, Any] | None = None
    mm_processor_kwargs: dict[str, Any] | None = None
    spaces_between_special_tokens: bool | None = None


class RefusedFields(Body):
    """Fields that would change the answer and that this server does not have, or has with one value only."""

    audio: Unsupported = None
    web_search_options: Unsupported = None
    documents: Unsupported = None
    chat_template: Unsupported = None
    prompt_logprobs: Unsupported = None
    logprob_token_ids: Unsupported = None
    truncate_prompt_tokens: Unsupported = None
    allowed_token_ids: Unsupported = None
    bad_words: Unsupported = None
    repetition_detection: Unsupported = None
    guided_whitespace_pattern: Unsupported = None
    echo: Literal[False] = False
    best_of: Literal[1] = 1
    use_beam_search: Literal[False] = False
    watermarking: Literal[False] = False
    add_generation_prompt: Literal[True] = True
    continue_final_message: Literal[False] = False
    add_special_tokens: Literal[False] = False
    include_stop_str_in_output: Literal[False] = False


class VllmFields(Body):
    """vLLM's fields."""

    ignore_eos: bool = False
    """The tokens that end a turn do not end the answer."""
    min_tokens: int = Field(default=0, ge=0, le=MAX_INT32)
    """Decoded tokens before the answer may end; of the answer alone if the reasoning has a limit."""
    stop_token_ids: list[Annotated[int, Field(ge=0, le=MAX_INT32)]] = Field(default=[], max_length=1024)
    """Tokens that end the answer, and are no part of it. In the think block they do not count, like `stop`."""
    skip_special_tokens: bool = True
    """false shows the text of special tokens in the answer, but not that of the token that ends it."""
    include_reasoning: bool = True
    """false leaves the reasoning out of the answer; it is decoded and counted all the same."""
    thinking_token_budget: int | None = Field(default=None, ge=-1, le=MAX_INT32)
    """The same as `max_reasoning_tokens`; -1 is no limit but that of the whole answer, whatever the server's default."""
    priority: int | None = Field(default=None, ge=-INT64, lt=INT64)
    """The lower it is, the earlier the request runs if it must wait. Left out: 0, or that of the key, which is also the best
    that the request may ask for."""
    return_token_ids: bool = False
    """The answer has `prompt_token_ids`, and each choice `token_ids`: every token after the prompt, those that the server has
    put there included. Not with server tools."""
    request_id: Annotated[str, StringConstraints(min_length=1, max_length=256)] | None = None
    """The answer's id is `chatcmpl-` and this."""
    structured_outputs: StructuredOutputs | None = None
    guided_json: JsonSchema | None = None
    guided_regex: Regex | None = None
    guided_choice: Choices | None = None
    guided_grammar: Grammar | None = None

    @property
    def guided_forms(self) -> dict[str, Any]:
        """The older forms of structured outputs that are given, by name."""
        forms = {"json": self.guided_json, "regex": self.guided_regex}
        forms |= {"choice": self.guided_choice, "grammar": self.guided_grammar}
        return {name: form for name, form in forms.items() if form is not None}
