"""What the bodies of several protocols share: how fields are read, and the fields of this project."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError

from autotool_core.modes import Mode
from autotool_core.target import Target, TargetText
from autotool_server.conversation import request as conversation
from autotool_server.conversation.request import RequestedSampling, ServerToolName
from autotool_server.errors import UNSUPPORTED
from autotool_server.settings.generation import MIN_REPETITION_PENALTY

MAX_INT32 = 2**31 - 1
"""Largest count: engines hold counts in 32 bits."""


class Body(BaseModel):
    """A part of the body. Unknown fields and values of another type are refused, nulls are dropped."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: Any) -> Any:
        return {key: value for key, value in data.items() if value is not None} if isinstance(data, dict) else data


class History(Body):
    """A part of the history. What other servers and clients have added to it is left out."""

    model_config = ConfigDict(extra="ignore")


def unsupported(reason: str) -> BeforeValidator:
    """Return what refuses a field that would change the answer and that a protocol does not have, and says why.

    What asks for nothing is taken: null, false, an empty text or list, and the form of plain text.
    """

    def refuse(value: object) -> None:
        if value is not False and value not in ([], "", {"type": "text"}):
            raise PydanticCustomError(UNSUPPORTED, "This field is not supported", {"reason": reason})

    return BeforeValidator(refuse)


Unsupported = Annotated[None, unsupported("this server does not have it. Leave it out.")]
ChatOnly = Annotated[None, unsupported("only /v1/chat/completions has it.")]


class UnsupportedForms(Body):
    """The fields by which chat completions ask for a form of the text, in the bodies of protocols that do not have them."""

    response_format: ChatOnly = None
    structured_outputs: ChatOnly = None
    guided_json: ChatOnly = None
    guided_regex: ChatOnly = None
    guided_choice: ChatOnly = None
    guided_grammar: ChatOnly = None


Stop = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
"""A stop string."""

MAX_NAME = 256
UNWRITABLE = frozenset('<>"\\')


def _check_name(name: str) -> str:
    """Return the name if every tool-call format can write it in one line, without escapes."""
    if not name or name != name.strip() or not name.isprintable() or UNWRITABLE & {*name}:
        raise PydanticCustomError("name", 'A name is printable characters without < > " \\, and with no space at either end')
    return name


FunctionName = Annotated[str, StringConstraints(max_length=MAX_NAME), AfterValidator(_check_name)]
"""More names than OpenAI takes, as in vLLM: its clients send paths and namespaces."""


class Tool(Body):
    """A tool of any kind."""

    cache_control: Any = None
    """A mark of other servers' caches; no effect."""


class ServerTool(Tool):
    """A tool that the server executes, by its name in `GET /v1/tools`; `weather.*` is all of that namespace."""

    type: Literal["server"]
    name: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_.-]{1,64}(\.\*)?$")]


class ToolBudget(Body):
    """Limits of server tools in one request; the server's own limits apply where a field is not sent."""

    max_turns: int | None = Field(default=None, ge=1, le=MAX_INT32)
    """Turns that may call tools; one more turn, without tools, answers."""
    max_calls: int | None = Field(default=None, ge=1, le=MAX_INT32)
    max_seconds: float | None = Field(default=None, gt=0)


class OwnFields(Body):
    """The fields of this project."""

    mode: Mode | None = None
    tool_budget: ToolBudget | None = None
    reasoning_bias: float | None = Field(default=None, ge=-100, le=100)
    max_reasoning_tokens: int | None = Field(default=None, ge=0, le=MAX_INT32)
    target: TargetText | None = None
    """What `auto` is to cost, such as `thinking-rate=0.3`, `tokens=200` or `regret=2%`, in place of a reasoning bias."""

    @property
    def cost_target(self) -> Target | None:
        """The target."""
        return Target.parse(self.target) if self.target is not None else None

    @property
    def tool_limits(self) -> conversation.ToolBudget | None:
        """The limits of server tools."""
        return conversation.ToolBudget(**self.tool_budget.model_dump()) if self.tool_budget is not None else None


def server_tools(tools: Iterable[object]) -> list[ServerToolName]:
    """Return the server tools among the tools of a body."""
    given = [(index, tool) for index, tool in enumerate(tools) if isinstance(tool, ServerTool)]
    return [ServerToolName(tool.name, f"tools.{index}.name") for index, tool in given]


class TemplateFields(Body):
    """vLLM's field for what only the model's chat template knows."""

    chat_template_kwargs: dict[str, JsonValue] | None = None
    """Variables for the chat template, such as preserve_thinking, date_string or documents. Those by which the template learns
    the mode, such as enable_thinking, choose it."""


class StreamOptions(Body):
    """Options of a streamed answer."""

    include_usage: bool = False
    continuous_usage_stats: bool = False
    """With `include_usage`: every chunk has the usage so far; of its choice, in `/v1/completions`."""
    include_obfuscation: bool = False
    """No effect."""
    include_decision: bool = False
    """Chat completions: each decision of `auto` is an event of the stream as soon as the model has made it."""


class StreamFields(Body):
    """Whether the answer is a stream, and of what form."""

    stream: bool = False
    stream_options: StreamOptions | None = None

    @model_validator(mode="after")
    def _stream_options_need_stream(self) -> "StreamFields":
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options is only allowed with stream=true")
        return self


class SamplingFields(Body):
    """How tokens are drawn, and where the text stops: OpenAI's fields and vLLM's. The server has the defaults of sampling."""

    temperature: float | None = Field(default=None, ge=0, le=2)
    """Where a field of sampling is left out, the checkpoint's generation config holds, else the model's own probabilities."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=-1, le=MAX_INT32)
    min_p: float | None = Field(default=None, ge=0, le=1)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    repetition_penalty: float | None = Field(default=None, ge=MIN_REPETITION_PENALTY, le=2)
    seed: int | None = Field(default=None, ge=-(2**63), le=2**63 - 1)
    logit_bias: (
        dict[Annotated[str, StringConstraints(pattern=r"^[0-9]{1,9}$")], Annotated[float, Field(ge=-100, le=100)]] | None
    ) = None
    stop: Stop | Annotated[list[Stop], Field(max_length=16)] | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings."""
        if self.stop is None:
            return ()
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    @property
    def sampling(self) -> RequestedSampling:
        """The sampling that is asked for."""
        return RequestedSampling(
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=None if self.top_k is None else max(self.top_k, 0),
            min_p=self.min_p,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            repetition_penalty=self.repetition_penalty,
            seed=self.seed,
            logit_bias={int(token_id): bias for token_id, bias in (self.logit_bias or {}).items()},
        )
