"""The tools of the body of `/v1/chat/completions`, and what says which of them may be called."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from autotool_server.api.chat_completions.fields import MAX_INT32, Body, History

MAX_NAME = 256
UNWRITABLE = frozenset('<>"\\')


def _check_name(name: str) -> str:
    """Return the name if every tool-call format can write it in one line, without escapes."""
    if not name or name != name.strip() or not name.isprintable() or UNWRITABLE & {*name}:
        raise PydanticCustomError("name", 'A name is printable characters without < > " \\, and with no space at either end')
    return name


FunctionName = Annotated[str, StringConstraints(max_length=MAX_NAME), AfterValidator(_check_name)]
"""More names than OpenAI takes, as in vLLM: its clients send paths and namespaces."""


class FunctionDefinition(Body):
    """A function that the model may call. Other keys are allowed: many chat templates render them."""

    model_config = ConfigDict(extra="allow")

    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Body):
    """A tool of any kind."""

    cache_control: Any = None
    """A mark of other servers' caches; no effect."""


class FunctionTool(Tool):
    """A tool that the client executes."""

    type: Literal["function"]
    function: FunctionDefinition
    strict: bool | None = None
    """The function's own `strict`, as the Responses API has it."""


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


class NamedFunction(Body):
    """The function of a named tool choice."""

    name: str


class NamedToolChoice(Body):
    """The one tool that must be called."""

    type: Literal["function"]
    function: NamedFunction


class AllowedFunctionName(History):
    """The name of an allowed function; the rest of its definition may stand beside it."""

    name: str


class AllowedFunction(History):
    """A function that may be called."""

    type: Literal["function"]
    function: AllowedFunctionName

    @property
    def named(self) -> tuple[str, str]:
        """The tool's name, and the field that has it."""
        return self.function.name, "function.name"


class AllowedServerTool(History):
    """A server tool that may be called."""

    type: Literal["server"]
    name: str

    @property
    def named(self) -> tuple[str, str]:
        """The tool's name, and the field that has it."""
        return self.name, "name"


class AllowedTools(Body):
    """Some of the tools. The others stay in the prompt, so that it stays in the prefix cache."""

    mode: Literal["auto", "required"]
    tools: Annotated[list[Annotated[AllowedFunction | AllowedServerTool, Field(discriminator="type")]], Field(min_length=1)]


class AllowedToolsChoice(Body):
    """The tools that may be called, of all that are given."""

    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


ToolChoice = Literal["none", "auto", "required"] | Annotated[NamedToolChoice | AllowedToolsChoice, Field(discriminator="type")]
FunctionCall = Literal["none", "auto"] | NamedFunction
