"""The items of an input: messages, reasoning, calls and their results.

Reference: https://platform.openai.com/docs/api-reference/responses/create#responses_create-input
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag

from autotool_server.api.fields import Body


class Part(Body):
    """A part of an item. Fields that this server does not know are kept as data."""

    model_config = ConfigDict(extra="allow")


class TextPart(Part):
    """A text, of any direction."""

    type: Literal["input_text", "output_text", "text"]
    text: str


class RefusalPart(Part):
    """A text by which the assistant refused."""

    type: Literal["refusal"]
    refusal: str


ContentPart = Annotated[TextPart | RefusalPart, Field(discriminator="type")]


def text_or_list(value: Any) -> str:
    """Return which alternative of a text or a list is meant, so that an error is that of the one."""
    return "text" if isinstance(value, str) else "list"


Content = Annotated[Annotated[str, Tag("text")] | Annotated[list[ContentPart], Tag("list")], Discriminator(text_or_list)]


class MessageItem(Part):
    """A message. Its type may be left out."""

    type: Literal["message"]
    role: Literal["user", "assistant", "system", "developer"]
    content: Content


class ReasoningText(Part):
    """A part of a reasoning item."""

    type: Literal["reasoning_text", "summary_text", "text"]
    text: str


class ReasoningItem(Part):
    """The reasoning of an earlier turn: its text, or a sealed text."""

    type: Literal["reasoning"]
    summary: list[ReasoningText] = Field(default_factory=list)
    content: list[ReasoningText] = Field(default_factory=list)
    encrypted_content: str | None = None

    @property
    def text(self) -> str | None:
        """The reasoning as it was decoded; None where the item does not hold it."""
        return "".join(part.text for part in self.content) or None


class FunctionCallItem(Part):
    """A call of a tool that the client executes."""

    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str


class FunctionCallOutputItem(Part):
    """The result of such a call."""

    type: Literal["function_call_output"]
    call_id: str
    output: Content


class ServerCallItem(Part):
    """A call of a server tool with its result, as an earlier answer showed it."""

    type: Literal["mcp_call"]
    id: str
    name: str
    arguments: str
    output: str | None = None
    error: Any = None


class ApprovalRequestItem(Part):
    """A call of a server tool that waits for the user's approval, as an earlier answer showed it."""

    type: Literal["mcp_approval_request"]
    id: str
    name: str
    arguments: str


class ApprovalResponseItem(Part):
    """The user's decision about such a call."""

    type: Literal["mcp_approval_response"]
    approval_request_id: str
    approve: bool


class ItemReference(Part):
    """An item of an earlier response that is in the store."""

    type: Literal["item_reference"]
    id: str


class ForeignItem(Part):
    """A step of a tool that this server does not have. It is left out and named."""

    type: Literal[
        "apply_patch_call",
        "apply_patch_call_output",
        "code_interpreter_call",
        "computer_call",
        "computer_call_output",
        "custom_tool_call",
        "custom_tool_call_output",
        "file_search_call",
        "image_generation_call",
        "local_shell_call",
        "local_shell_call_output",
        "mcp_list_tools",
        "shell_call",
        "shell_call_output",
        "tool_search_call",
        "tool_search_output",
        "web_search_call",
    ]


InputItem = Annotated[
    MessageItem
    | ReasoningItem
    | FunctionCallItem
    | FunctionCallOutputItem
    | ServerCallItem
    | ApprovalRequestItem
    | ApprovalResponseItem
    | ItemReference
    | ForeignItem,
    Field(discriminator="type"),
]


def _with_types(items: Any) -> Any:
    """Return the items with the types that OpenAI lets clients leave out."""
    return [_with_type(item) for item in items] if isinstance(items, list) else items


def _with_type(item: Any) -> Any:
    if not isinstance(item, dict) or item.get("type") is not None:
        return item
    if "role" in item:
        return {**item, "type": "message"}
    return {**item, "type": "item_reference"} if item.keys() - {"type"} == {"id"} else item


InputItems = Annotated[list[InputItem], BeforeValidator(_with_types)]
