"""The tools of the body of `/v1/chat/completions`, and what says which of them may be called."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from autotool_server.api.fields import Body, FunctionName, History, Tool


class FunctionDefinition(Body):
    """A function that the model may call. Other keys are allowed: many chat templates render them."""

    model_config = ConfigDict(extra="allow")

    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class FunctionTool(Tool):
    """A tool that the client executes."""

    type: Literal["function"]
    function: FunctionDefinition
    strict: bool | None = None
    """The function's own `strict`, as the Responses API has it."""


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
