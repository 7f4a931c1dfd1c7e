"""The request body of `/v1/messages`: Anthropic's fields and ours.

Field meanings: https://platform.claude.com/docs/en/api/messages/create. Unknown keys of messages and of their blocks, such as
`cache_control`, are passed over. A field that is null counts as not sent.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Discriminator, Field, PrivateAttr, StringConstraints, Tag, field_validator, model_validator

from autotool_core.errors import InvalidRequestError
from autotool_server.api.fields import MAX_INT32, Body, OwnFields, ServerTool, Stop

INTERLEAVED_THINKING = "interleaved-thinking-2025-05-14"
"""Anthropic's name of a beta feature: https://platform.claude.com/docs/en/build-with-claude/extended-thinking"""

NO_THREADS = "thread_unsupported_request"
"""Anthropic's code of the error that a conversation cannot be held by the server."""

Count = Annotated[int, Field(ge=1, le=MAX_INT32)]


class Part(Body):
    """A part of the conversation, whose unknown keys are passed over."""

    model_config = ConfigDict(extra="ignore")


class TextBlock(Part):
    """A text."""

    type: Literal["text"]
    text: str


class ThinkingBlock(Part):
    """Reasoning of an earlier answer. Its text is empty where the client asked for answers without it."""

    type: Literal["thinking"]
    thinking: str = ""
    signature: str = ""


class RedactedThinkingBlock(Part):
    """Reasoning of an earlier answer that the client could not read."""

    type: Literal["redacted_thinking"]
    data: str = ""


class ToolUseBlock(Part):
    """A call made by the assistant."""

    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, Any] = Field(default_factory=dict[str, Any])


def _kind_of_text(value: Any) -> str:
    return "text" if isinstance(value, str) else "blocks"


Text = Annotated[
    Annotated[str, Tag("text")] | Annotated[list[TextBlock], Tag("blocks")],
    # So that the error of a block names the block, and not the text that it might have been.
    Discriminator(_kind_of_text),
]


class ToolResultBlock(Part):
    """The result of a call."""

    type: Literal["tool_result"]
    tool_use_id: str
    content: Text = ""
    is_error: bool = False


UserBlock = Annotated[TextBlock | ToolResultBlock, Field(discriminator="type")]
AssistantBlock = Annotated[TextBlock | ThinkingBlock | RedactedThinkingBlock | ToolUseBlock, Field(discriminator="type")]


class UserMessage(Part):
    """A message of the user; results of calls are in it too."""

    role: Literal["user"]
    content: str | list[UserBlock]


class AssistantMessage(Part):
    """An earlier answer."""

    role: Literal["assistant"]
    content: str | list[AssistantBlock]


class SystemMessage(Part):
    """Instructions in the middle of the conversation."""

    role: Literal["system"]
    content: Text = ""
    clear_at: Literal["next_user_message", "never"] = "never"
    """Until when the model reads them."""


Message = Annotated[UserMessage | AssistantMessage | SystemMessage, Field(discriminator="role")]


class CustomTool(Body):
    """A tool that the client executes."""

    type: Literal["custom"] = "custom"
    name: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_.-]{1,128}$")]
    description: str | None = None
    input_schema: dict[str, Any]
    strict: bool | None = None
    cache_control: Any = None
    eager_input_streaming: bool | None = None
    allowed_callers: Any = None
    defer_loading: bool | None = None
    """Every tool is loaded: there is no search for tools."""


class OtherTool(Part):
    """A tool that Anthropic executes, or whose schema only its models know. It is left out."""

    type: str


def _kind_of_tool(tool: Any) -> str:
    kind = tool.get("type") if isinstance(tool, dict) else getattr(tool, "type", None)
    if kind in (None, "custom"):
        return "custom"
    return "server" if kind == "server" else "other"


Tool = Annotated[
    Annotated[CustomTool, Tag("custom")] | Annotated[ServerTool, Tag("server")] | Annotated[OtherTool, Tag("other")],
    Discriminator(_kind_of_tool),
]


class ToolChoice(Body):
    """Whether tools may or must be called."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool = False

    @model_validator(mode="after")
    def _has_name_if_tool(self) -> "ToolChoice":
        if (self.type == "tool") != (self.name is not None):
            raise ValueError("name is given exactly when type is tool")
        return self


class ThinkingConfig(Body):
    """Whether to think: Anthropic's way to choose the mode."""

    type: Literal["enabled", "disabled", "adaptive", "between_tools"]
    budget_tokens: Count | None = None
    display: Literal["summarized", "omitted", "updates"] = "summarized"
    """`omitted`: the answer has thinking blocks without text, whose signatures hold it; otherwise they have their text."""

    @model_validator(mode="after")
    def _has_budget_if_enabled(self) -> "ThinkingConfig":
        if (self.type == "enabled") != (self.budget_tokens is not None):
            raise ValueError("budget_tokens is given exactly when type is enabled")
        return self


class OutputFormat(Body):
    """The form of the answer's text."""

    type: Literal["json_schema"]
    schema_: dict[str, Any] = Field(alias="schema")


class OutputConfig(Body):
    """How much to think, and the form of the answer."""

    effort: str | None = None
    format: OutputFormat | None = None


class MessagesBody(OwnFields):
    """What a request for an answer and one for a count of tokens have in common."""

    model: str
    messages: list[Message] = Field(min_length=1)
    system: Text = ""
    stream: bool = False
    temperature: float | None = Field(default=None, ge=0, le=1)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=0, le=MAX_INT32)
    stop_sequences: list[Stop] = Field(default_factory=list[Stop], max_length=16)
    tools: list[Tool] = Field(default_factory=list[Tool])
    tool_choice: ToolChoice | None = None
    thinking: ThinkingConfig | None = None
    output_config: OutputConfig = OutputConfig()
    output_format: OutputFormat | None = None
    """The older place of `output_config.format`."""
    mcp_servers: list[Any] = Field(default_factory=list[Any])
    """Left out: this server connects to those that its operator has configured."""
    cache_control: Any = None
    """This field and the following ones change nothing."""
    context_management: Any = None
    container: Any = None
    metadata: Any = None
    service_tier: Any = None
    inference_geo: Any = None
    speed: Any = None
    diagnostics: Any = None
    billing_policy: Any = None
    fallbacks: Any = None
    fallback_credit_token: Any = None
    betas: Any = None
    user_profile_id: Any = None
    workspace_id: Any = None
    compaction: None = None
    """Not supported: the answer would be another."""
    thread: None = None
    """Not supported: the client holds the conversation. After its error the official tool runners go on without it."""

    _betas: frozenset[str] = PrivateAttr(default=frozenset())

    def with_betas(self, betas: Iterable[str]) -> Self:
        """Return the body with the features that the header `anthropic-beta` names."""
        body = self.model_copy()
        body._betas = frozenset(betas)
        return body

    @property
    def interleaves_thinking(self) -> bool:
        """Whether `budget_tokens` is that of all thinking between calls of tools, which may be more than `max_tokens`."""
        return INTERLEAVED_THINKING in self._betas

    @field_validator("compaction", mode="before")
    @classmethod
    def _is_not_supported(cls, _: Any) -> None:
        raise ValueError("this server does not support it; leave it out")

    @field_validator("thread", mode="before")
    @classmethod
    def _has_no_threads(cls, _: Any) -> None:
        message = "This server holds no threads: leave thread out, and send the whole conversation."
        raise InvalidRequestError(message, "thread", code=NO_THREADS)


class MessagesRequest(MessagesBody):
    """The body of `/v1/messages`."""

    max_tokens: Count
    """Limit of decoded tokens, those of reasoning included; it is cut to what the context has left."""

    @property
    def shows_thinking(self) -> bool:
        """Whether thinking blocks have their text in the answer."""
        return self.thinking is None or self.thinking.display != "omitted"


class CountRequest(MessagesBody):
    """The body of `/v1/messages/count_tokens`."""

    max_tokens: Count | None = None
