"""The request body of `/v1/chat/completions`: OpenAI's fields, vLLM's and ours.

Field meanings: https://platform.openai.com/docs/api-reference/chat/create. A field that is null counts as not sent, as in
OpenAI's API. What happens to any other field is a setting of the server (`autotool_server.api.body`).
"""

from typing import Annotated

from pydantic import Field

from autotool_server.api.chat_completions.formats import ResponseFormat
from autotool_server.api.chat_completions.messages import Message
from autotool_server.api.chat_completions.tools import FunctionCall, FunctionDefinition, FunctionTool, ToolChoice
from autotool_server.api.chat_completions.vllm_fields import RefusedFields, UnusedFields, VllmFields
from autotool_server.api.fields import MAX_INT32, OwnFields, SamplingFields, ServerTool, StreamFields, TemplateFields


class ChatFields(OwnFields, TemplateFields, StreamFields, SamplingFields):
    """OpenAI's fields that have an effect, and ours."""

    model: str
    messages: Annotated[list[Message], Field(min_length=1)]
    max_tokens: int | None = Field(default=None, ge=1, le=MAX_INT32)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=MAX_INT32)
    n: int = Field(default=1, ge=1, le=MAX_INT32)
    logprobs: bool = False
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    response_format: ResponseFormat | None = None
    tools: list[Annotated[FunctionTool | ServerTool, Field(discriminator="type")]] = Field(default=[])
    tool_choice: ToolChoice | None = None
    functions: list[FunctionDefinition] = Field(default=[])
    """Deprecated by OpenAI: like `tools`. A call is then the message's `function_call`."""
    function_call: FunctionCall | None = None
    """Deprecated by OpenAI: like `tool_choice`."""
    parallel_tool_calls: bool = True
    reasoning_effort: str | None = None
    tool_approvals: dict[str, bool] | None = None
    """Whether the user approves each call that waits for it at the end of the messages, by the call's id."""


class ChatRequest(RefusedFields, UnusedFields, VllmFields, ChatFields):
    """The body of `/v1/chat/completions`."""

    @property
    def thinking_budget(self) -> int | None:
        """vLLM's limit of the reasoning, without its way to say that there is none."""
        return None if self.thinking_token_budget == -1 else self.thinking_token_budget

    @property
    def lifts_reasoning_limit(self) -> bool:
        """Whether the reasoning has no limit but that of the whole turn, whatever the limits of effort and server."""
        return self.thinking_token_budget == -1 and self.max_reasoning_tokens is None

    @property
    def shows_token_ids(self) -> bool:
        """Whether the answer has token ids. Without the reasoning it has none, as in vLLM, since they would show it."""
        return self.return_token_ids and self.include_reasoning
