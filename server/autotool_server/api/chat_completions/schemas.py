"""The request body of `/v1/chat/completions`: OpenAI's fields and ours.

Field meanings: https://platform.openai.com/docs/api-reference/chat/create. Any other field is refused by name,
never ignored. A field that is null counts as not sent, as in OpenAI's API.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from autotool_core.modes import Mode

MAX_INT32 = 2**31 - 1
"""Largest count: engines hold counts in 32 bits."""


class Body(BaseModel):
    """A part of the body. Unknown fields and values of another type are refused, nulls are dropped."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: Any) -> Any:
        return {key: value for key, value in data.items() if value is not None} if isinstance(data, dict) else data


class TextPart(Body):
    """A text part of a message. Other kinds of part are not supported."""

    type: Literal["text"]
    text: str


Text = str | list[TextPart]


def plain_text(content: Text | None) -> str:
    """Return the parts of a message's content as one text."""
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(part.text for part in content)


class InstructionMessage(Body):
    """A system or developer message."""

    role: Literal["system", "developer"]
    content: Text
    name: str | None = None


class UserMessage(Body):
    """A message of the user."""

    role: Literal["user"]
    content: Text
    name: str | None = None


class CalledFunction(Body):
    """Name and arguments of a call in the history."""

    name: str
    arguments: str


class ToolCall(Body):
    """A call made by the assistant."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction
    index: int | None = None


class AssistantMessage(Body):
    """An earlier answer. Its reasoning may have either of the names in use."""

    role: Literal["assistant"]
    content: Text | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[ToolCall] = []
    refusal: str | None = None
    name: str | None = None

    @model_validator(mode="after")
    def _has_one_reasoning(self) -> "AssistantMessage":
        if self.reasoning is not None and self.reasoning_content not in (None, self.reasoning):
            raise ValueError("reasoning and reasoning_content differ; send one of them")
        return self


class ToolMessage(Body):
    """The result of a tool call."""

    role: Literal["tool"]
    tool_call_id: str
    content: Text
    name: str | None = None


Message = Annotated[InstructionMessage | UserMessage | AssistantMessage | ToolMessage, Field(discriminator="role")]

FunctionName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")]


class FunctionDefinition(Body):
    """A function that the model may call. Other keys are allowed: many chat templates render them."""

    model_config = ConfigDict(extra="allow")

    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class FunctionTool(Body):
    """A tool that the client executes."""

    type: Literal["function"]
    function: FunctionDefinition


class ServerTool(Body):
    """A tool that the server executes, by its name in `GET /v1/tools`; `weather.*` is all of that namespace."""

    type: Literal["server"]
    name: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_.-]{1,64}(\.\*)?$")]


class ToolBudget(Body):
    """Limits of server tools in one request; the server's own limits apply where a field is not sent."""

    max_turns: int | None = Field(default=None, ge=1, le=MAX_INT32)
    """Turns that may call tools; one more turn, without tools, answers."""
    max_calls: int | None = Field(default=None, ge=1, le=MAX_INT32)
    max_seconds: float | None = Field(default=None, gt=0)


class NamedFunction(Body):
    """The function of a named tool choice."""

    name: str


class NamedToolChoice(Body):
    """The one tool that must be called."""

    type: Literal["function"]
    function: NamedFunction


ToolChoice = Literal["none", "auto", "required"] | NamedToolChoice


class JSONSchema(Body):
    """A named JSON schema."""

    name: str
    description: str | None = None
    schema_: dict[str, Any] | bool = Field(default_factory=dict, alias="schema")
    strict: bool | None = None


class ResponseFormat(Body):
    """The form of the answer's content."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JSONSchema | None = None

    @model_validator(mode="after")
    def _has_schema_if_json_schema(self) -> "ResponseFormat":
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise ValueError("json_schema is given exactly when type is json_schema")
        return self


class StreamOptions(Body):
    """Options of a streamed answer."""

    include_usage: bool = False


class TemplateArguments(Body):
    """The chat-template argument by which clients of other servers switch hybrid models; others are refused."""

    enable_thinking: bool | None = None


Stop = Annotated[str, StringConstraints(min_length=1, max_length=1024)]


class ChatRequest(Body):
    """The body of `/v1/chat/completions`."""

    model: str | None = None
    messages: Annotated[list[Message], Field(min_length=1)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: float = Field(default=1.0, ge=0, le=2)
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: int = Field(default=0, ge=-1, le=MAX_INT32)
    min_p: float = Field(default=0.0, ge=0, le=1)
    presence_penalty: float = Field(default=0.0, ge=-2, le=2)
    frequency_penalty: float = Field(default=0.0, ge=-2, le=2)
    repetition_penalty: float = Field(default=1.0, gt=0, le=2)
    max_tokens: int | None = Field(default=None, ge=1, le=MAX_INT32)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=MAX_INT32)
    n: int = Field(default=1, ge=1, le=MAX_INT32)
    stop: Stop | Annotated[list[Stop], Field(max_length=16)] | None = None
    seed: int | None = Field(default=None, ge=-(2**63), le=2**63 - 1)
    logprobs: bool = False
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    logit_bias: (
        dict[Annotated[str, StringConstraints(pattern=r"^[0-9]{1,9}$")], Annotated[float, Field(ge=-100, le=100)]] | None
    ) = None
    response_format: ResponseFormat | None = None
    tools: list[Annotated[FunctionTool | ServerTool, Field(discriminator="type")]] = []
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool = True
    reasoning_effort: str | None = None
    chat_template_kwargs: TemplateArguments | None = None
    user: str | None = None
    store: Literal[False] | None = None
    """Nothing is stored; clients may say so."""
    mode: Mode | None = None
    tool_budget: ToolBudget | None = None
    reasoning_bias: float | None = Field(default=None, ge=-100, le=100)
    max_reasoning_tokens: int | None = Field(default=None, ge=0, le=MAX_INT32)

    @model_validator(mode="after")
    def _stream_options_need_stream(self) -> "ChatRequest":
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options is only allowed with stream=true")
        return self

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings."""
        if self.stop is None:
            return ()
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)
