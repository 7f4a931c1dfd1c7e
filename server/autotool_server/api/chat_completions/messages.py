"""The messages of the body of `/v1/chat/completions`."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from autotool_server.api.fields import History, Unsupported


class TextPart(History):
    """A text part of a message, also as the Responses API calls it. Other kinds of part are not supported."""

    type: Literal["text", "input_text", "output_text"]
    text: str


class RefusalPart(History):
    """A part in which a model refused to answer."""

    type: Literal["refusal"]
    refusal: str

    @property
    def text(self) -> str:
        """The refusal."""
        return self.refusal


AnswerPart = Annotated[TextPart | RefusalPart, Field(discriminator="type")]
Text = str | list[TextPart]


def plain_text(content: str | list[TextPart] | list[AnswerPart] | None) -> str:
    """Return the parts of a message's content as one text."""
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(part.text for part in content)


class InstructionMessage(History):
    """A system or developer message."""

    role: Literal["system", "developer"]
    content: Text
    name: str | None = None


class UserMessage(History):
    """A message of the user."""

    role: Literal["user"]
    content: Text
    name: str | None = None


class CalledFunction(History):
    """Name and arguments of a call in the history."""

    name: str
    arguments: str


class ToolCall(History):
    """A call made by the assistant."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class AssistantMessage(History):
    """An earlier answer. Its reasoning may have either of the names in use."""

    role: Literal["assistant"]
    content: str | list[AnswerPart] | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[ToolCall] = Field(default=[])
    function_call: CalledFunction | None = None
    """The call in the form before `tool_calls`; the function message after it is its result."""
    refusal: str | None = None
    name: str | None = None
    audio: Unsupported = None

    @model_validator(mode="after")
    def _has_one_reasoning(self) -> "AssistantMessage":
        if self.reasoning is not None and self.reasoning_content not in (None, self.reasoning):
            raise ValueError("reasoning and reasoning_content differ; send one of them")
        return self


class _Result(History):
    """The result of a call. A null is an empty one."""

    content: Text

    @model_validator(mode="before")
    @classmethod
    def _null_is_empty(cls, data: Any) -> Any:
        is_null = isinstance(data, dict) and "content" in data and data["content"] is None
        return {**data, "content": ""} if is_null else data


class ToolMessage(_Result):
    """The result of a tool call."""

    role: Literal["tool"]
    tool_call_id: str
    name: str | None = None


class FunctionMessage(_Result):
    """The result of a `function_call`."""

    role: Literal["function"]
    name: str


Message = Annotated[
    InstructionMessage | UserMessage | AssistantMessage | ToolMessage | FunctionMessage, Field(discriminator="role")
]
