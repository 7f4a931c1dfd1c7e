"""The request body of `/v1/decisions`.

Reference: https://developers.openai.com/api/reference/resources/decisions (public beta of 2026). Images are refused by name.
"""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, StrictBool, StrictStr, Tag, model_validator

from autotool_server.api.fields import Body, Unsupported
from autotool_server.api.responses.items import text_or_list

MAX_QUESTIONS = 400
"""OpenAI's limit."""
MAX_CHOICES = 52
"""One letter for each, of the alphabet in both cases; OpenAI has 255."""
MAX_LEVELS = 10
"""One digit for each, as at OpenAI."""


class TextPart(Body):
    """A text."""

    type: Literal["input_text", "output_text"]
    text: str
    prompt_cache_breakpoint: Any = None
    """No effect."""


class JsonPart(Body):
    """An object, or a list of objects, which the model reads as JSON."""

    type: Literal["input_json"]
    data: dict[str, Any] | list[dict[str, Any]]


class RefusalPart(Body):
    """A text by which the assistant refused."""

    type: Literal["refusal"]
    refusal: str


Part = Annotated[TextPart | JsonPart | RefusalPart, Field(discriminator="type")]
Content = Annotated[Annotated[str, Tag("text")] | Annotated[list[Part], Tag("list")], Discriminator(text_or_list)]


class Item(Body):
    """An item of an input. What only another server understands of it is left out."""

    model_config = ConfigDict(extra="ignore")


class MessageItem(Item):
    """A message. Its type may be left out."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: Content


class CallItem(Item):
    """A call of a tool."""

    type: Literal["function_call", "custom_tool_call"]
    call_id: str
    name: str
    arguments: str = ""
    """Those of a function."""
    input: str = ""
    """That of a custom tool."""


class ResultItem(Item):
    """The result of a call."""

    type: Literal["function_call_output", "custom_tool_call_output"]
    call_id: str
    output: Content


class ReasoningItem(Item):
    """The reasoning of an earlier turn, which is left out."""

    type: Literal["reasoning"]


def _kind(value: Any) -> str:
    """Return which kind of item a value is meant to be, so that an error is that of the one."""
    kind = value.get("type", "message") if isinstance(value, dict) else getattr(value, "type", "message")
    if kind in ("function_call", "custom_tool_call"):
        return "call"
    if kind in ("function_call_output", "custom_tool_call_output"):
        return "result"
    return "reasoning" if kind == "reasoning" else "message"


InputItem = Annotated[
    Annotated[MessageItem, Tag("message")]
    | Annotated[CallItem, Tag("call")]
    | Annotated[ResultItem, Tag("result")]
    | Annotated[ReasoningItem, Tag("reasoning")],
    Discriminator(_kind),
]


class Question(Body):
    """A question of any kind."""

    name: str | None = None
    instructions: Content


class Predicate(Question):
    """Whether a statement about the input is true."""

    type: Literal["predicate"]


class Option(Body):
    """One of the choices."""

    value: StrictStr | StrictBool
    description: str | None = None


class Choice(Question):
    """Which of several options fits the input."""

    type: Literal["choice"]
    choices: Annotated[list[Option], Field(min_length=2, max_length=MAX_CHOICES)]

    @model_validator(mode="after")
    def _are_unique(self) -> "Choice":
        # A text and a boolean of the same spelling are different choices.
        if len({(type(option.value), option.value) for option in self.choices}) < len(self.choices):
            raise ValueError("each choice must be unique")
        return self


class Level(Body):
    """One of the levels of a score."""

    label: str
    description: str | None = None


class Score(Question):
    """Which of several ordered levels the input reaches."""

    type: Literal["score"]
    levels: Annotated[list[Level], Field(min_length=2, max_length=MAX_LEVELS)]


class DecisionRequest(Body):
    """The body of `/v1/decisions`."""

    model: str
    input: Annotated[
        Annotated[str, Tag("text")] | Annotated[list[InputItem], Tag("list"), Field(min_length=1)], Discriminator(text_or_list)
    ]
    questions: Annotated[
        list[Annotated[Predicate | Choice | Score, Field(discriminator="type")]],
        Field(min_length=1, max_length=MAX_QUESTIONS),
    ]
    safety_identifier: str | None = None
    """No effect."""
    prompt_cache_key: str | None = None
    """No effect: the input is in the engine's prefix cache for all of its questions."""
    prompt_cache_options: dict[str, Any] | None = None
    """No effect."""
    stream: Unsupported = None
