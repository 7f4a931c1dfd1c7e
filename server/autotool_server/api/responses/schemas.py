"""The request body of `/v1/responses`: OpenAI's fields, those that vLLM adds, and ours.

Field meanings: https://platform.openai.com/docs/api-reference/responses/create. A field that is null counts as not sent.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, PrivateAttr, Tag

from autotool_server.api.fields import (
    MAX_INT32,
    Body,
    FunctionName,
    OwnFields,
    SamplingFields,
    ServerTool,
    TemplateFields,
    Unsupported,
    UnsupportedForms,
)
from autotool_server.api.responses.items import InputItem, InputItems, MessageItem, text_or_list

MAX_METADATA = 16


class FunctionTool(Body):
    """A function that the client executes."""

    model_config = ConfigDict(extra="ignore")

    type: Literal["function"]
    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class OtherTool(Body):
    """A tool of a kind that this server does not run. It is left out and named."""

    model_config = ConfigDict(extra="ignore")

    type: str


def _tool_kind(tool: Any) -> str:
    kind = tool.get("type") if isinstance(tool, dict) else getattr(tool, "type", None)
    return kind if kind in ("function", "server") else "other"


Tool = Annotated[
    Annotated[FunctionTool, Tag("function")] | Annotated[ServerTool, Tag("server")] | Annotated[OtherTool, Tag("other")],
    Discriminator(_tool_kind),
]


class NamedToolChoice(Body):
    """The one tool that must be called."""

    type: Literal["function", "server"]
    name: str


class AllowedTool(Body):
    """A tool of an `allowed_tools` choice."""

    model_config = ConfigDict(extra="ignore")

    type: str
    name: str | None = None


class AllowedTools(Body):
    """The tools that may be called, of all that are given."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: Annotated[list[AllowedTool], Field(min_length=1)]


class OtherToolChoice(Body):
    """A choice of a tool that this server does not run. It is refused."""

    model_config = ConfigDict(extra="allow")

    type: str


def _choice_kind(choice: Any) -> str:
    if isinstance(choice, str):
        return "option"
    kind = choice.get("type") if isinstance(choice, dict) else getattr(choice, "type", None)
    return {"function": "named", "server": "named", "allowed_tools": "allowed_tools"}.get(str(kind), "other")


ToolChoice = Annotated[
    Annotated[Literal["none", "auto", "required"], Tag("option")]
    | Annotated[NamedToolChoice, Tag("named")]
    | Annotated[AllowedTools, Tag("allowed_tools")]
    | Annotated[OtherToolChoice, Tag("other")],
    Discriminator(_choice_kind),
]


class TextFormat(Body):
    """Any text."""

    type: Literal["text"]


class ObjectFormat(Body):
    """Any JSON object."""

    type: Literal["json_object"]


class SchemaFormat(Body):
    """JSON of a schema."""

    type: Literal["json_schema"]
    name: str
    schema_: dict[str, Any] | bool = Field(alias="schema")
    description: str | None = None
    strict: bool | None = None


class TextOptions(Body):
    """The form of the answer's text. Its verbosity is taken and changes nothing."""

    format: Annotated[TextFormat | ObjectFormat | SchemaFormat, Field(discriminator="type")] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class Reasoning(Body):
    """Effort and summary. The summary is the whole reasoning: this server has no second model to shorten it."""

    effort: str | None = None
    summary: Literal["auto", "concise", "detailed", "none"] | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | None = None
    context: str | None = None
    mode: str | None = None


class StreamOptions(Body):
    """Options of a stream. Its events are not padded, whatever `include_obfuscation` says."""

    include_obfuscation: bool | None = None


class ResponsesRequest(UnsupportedForms, OwnFields, TemplateFields, SamplingFields):
    """The body of `/v1/responses`."""

    model: str
    input: Annotated[Annotated[str, Tag("text")] | Annotated[InputItems, Tag("list")], Discriminator(text_or_list)] = Field(
        default_factory=list
    )
    instructions: str | None = None
    previous_response_id: str | None = None
    store: bool | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    background: bool = False
    include: list[str] = Field(default_factory=list)
    metadata: Annotated[dict[str, str], Field(max_length=MAX_METADATA)] | None = None
    max_output_tokens: int | None = Field(default=None, ge=1, le=MAX_INT32)
    max_tool_calls: int | None = Field(default=None, ge=1, le=MAX_INT32)
    top_logprobs: int = Field(default=0, ge=0, le=20)
    tools: list[Tool] = Field(default_factory=list)
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool = True
    text: TextOptions = TextOptions()
    reasoning: Reasoning = Reasoning()
    truncation: Literal["auto", "disabled"] | None = None
    conversation: Any = None
    prompt: Any = None

    # These change no text.
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    prompt_cache_options: Any = None
    service_tier: str | None = None
    client_metadata: Any = None
    access_programs: Any = None
    background_options: Any = None

    # Chat completions have these; here they would be left out silently, and the text would be another.
    stop_token_ids: Unsupported = None
    min_tokens: Unsupported = None
    web_search_options: Unsupported = None
    audio: Unsupported = None

    _earlier: tuple[InputItem, ...] = PrivateAttr(default=())
    _chain: tuple[str, ...] = PrivateAttr(default=())

    @property
    def items(self) -> list[InputItem]:
        """The input as items, without those of earlier responses."""
        if isinstance(self.input, str):
            return [MessageItem(type="message", role="user", content=self.input)]
        return self.input

    @property
    def earlier(self) -> tuple[InputItem, ...]:
        """The items of earlier responses that come before the input."""
        return self._earlier

    @property
    def chain(self) -> tuple[str, ...]:
        """The ids of earlier responses that this one follows, oldest first."""
        return self._chain

    def loaded(
        self, items: Sequence[InputItem], earlier: Sequence[InputItem] = (), chain: Sequence[str] = ()
    ) -> "ResponsesRequest":
        """Return the body with its items as they were read from the store, and with what it follows."""
        body = self.model_copy(update={"input": list(items)})
        body._earlier, body._chain = tuple(earlier), tuple(chain)
        return body

    @property
    def includes_logprobs(self) -> bool:
        """Whether log-probabilities are asked for."""
        return "message.output_text.logprobs" in self.include

    @property
    def includes_sealed_reasoning(self) -> bool:
        """Whether the reasoning is asked for in sealed form."""
        return "reasoning.encrypted_content" in self.include

    @property
    def wants_summary(self) -> bool:
        """Whether a summary of the reasoning is asked for."""
        return (self.reasoning.summary or self.reasoning.generate_summary or "none") != "none"
