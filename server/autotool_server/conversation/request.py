"""A request as the conversation understands it, whatever protocol it came in."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from autotool_core.errors import InvalidRequestError
from autotool_core.modes import Mode
from autotool_core.target import Target
from autotool_server.engines.base import Sampling


@dataclass(frozen=True, slots=True)
class ClientTool:
    """A function that the client executes."""

    function: Mapping[str, Any]
    """OpenAI's function object: `name`, `description`, `parameters` (a JSON schema), `strict`."""
    field: str
    """The path of the function in the request's body, for errors."""


@dataclass(frozen=True, slots=True)
class ServerToolName:
    """A tool that the server executes, or a whole namespace of them (`weather.*`)."""

    name: str
    field: str
    """The path of the name in the request's body, for errors."""


@dataclass(frozen=True, slots=True)
class NamedTool:
    """The one tool that must be called."""

    name: str


@dataclass(frozen=True, slots=True)
class AllowedTools:
    """The tools that may be called, of all that are offered."""

    fields: Mapping[str, str]
    """The path in the request's body, for errors, by the tool's name."""
    required: bool = False
    """Whether at least one must be called."""


ToolChoice = Literal["none", "auto", "required"] | NamedTool | AllowedTools


@dataclass(frozen=True, slots=True)
class ToolBudget:
    """Limits of server tools that a request asks for; the server's own limits apply where a value is None."""

    max_turns: int | None = None
    """Turns that may call tools; one more turn, without tools, answers."""
    max_calls: int | None = None
    max_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class FieldNames:
    """A protocol's names of the parts of a request, so that an error names a field that the client sent."""

    model: str = "model"
    mode: str = "mode"
    messages: str = "messages"
    tools: str = "tools"
    tool_choice: str = "tool_choice"
    tool_choice_name: str = "tool_choice.name"
    content_format: str = "content_schema"
    content_schema: str = "content_schema"
    max_tokens: str = "max_tokens"
    min_tokens: str = "min_tokens"
    num_choices: str = "num_choices"
    tool_budget: str = "tool_budget"
    tool_approvals: str = "tool_approvals"
    decision: str = "tool_approvals"
    """What decides about a call that waits for the user's approval, as the subject of a sentence."""
    decide: str = "Decide about it in tool_approvals."
    """The sentence that says how to decide about such a call."""
    logit_bias: str = "logit_bias"
    stop_token_ids: str = "stop_token_ids"  # noqa: S105 the name of a field
    template_arguments: str = "chat_template_kwargs"
    effort: str = "effort"
    max_reasoning_tokens: str = "max_reasoning_tokens"
    stop: str = "stop"
    parameters: str = "parameters"
    """The key of a tool's JSON schema, inside the tool."""

    def rename(self, error: InvalidRequestError) -> InvalidRequestError:
        """Return an error of the renderer with the protocol's name of its field."""
        field = getattr(self, error.field or "", error.field)
        return InvalidRequestError(str(error), field, code=error.code, status=error.status)


GENERIC_FIELDS = FieldNames()


@dataclass(frozen=True, slots=True)
class RequestedSampling:
    """The sampling that a request asks for, by the names of `Sampling`. None is left out: the server's default holds."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    logit_bias: Mapping[int, float] = field(default_factory=dict[int, float])

    def filled(self, defaults: Sampling) -> Sampling:
        """Return the sampling of the engine: what is left out is that of the defaults."""
        given = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return replace(defaults, **{name: value for name, value in given.items() if value is not None})


@dataclass(frozen=True, slots=True)
class ConversationRequest:
    """What a protocol asks of a conversation. `conversation.service` says what it refuses.

    Messages are what chat templates take: `role` (`system`, `user`, `assistant` or `tool`), `content` (text), and
    `reasoning`, `tool_calls`, `tool_call_id`, `name` where a message has them (`conversation.messages`).
    """

    messages: Sequence[Mapping[str, Any]]
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Unique among all requests; the engine's request ids begin with it."""
    model: str | None = None
    """The model's name or an alias such as `name:long`; None for the served model."""
    mode: Mode | None = None
    mode_hints: Mapping[str, Mode] = field(default_factory=dict[str, Mode])
    """Modes that other fields of the body ask for, by the field's name."""
    template_arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Variables for the chat template, JSON values by their names; those that tell it the mode choose the mode."""
    effort: str | None = None
    """How much to think: a name of the setting `effort`, which gives mode, bias and budget where the request does not."""
    effort_sets_mode: bool = True
    """Whether the effort chooses the mode too; a mode of the request that differs is then refused."""
    reasoning_bias: float | None = None
    """Log-odds added to the long decision token; None for those of the effort, else 0."""
    target: Target | None = None
    """What `auto` is to cost; None for the target of the caller, the alias or the server, if they have one."""
    max_tokens: int | None = None
    """Limit of decoded tokens; of the answer alone if `max_reasoning_tokens` is given. None for the server's default."""
    max_tokens_is_total: bool = False
    """Whether `max_tokens` bounds reasoning and answer together even where `max_reasoning_tokens` is given."""
    max_reasoning_tokens: int | None = None
    """Limit of tokens in the think block; None for the effort's or the server's."""
    sampling: RequestedSampling = field(default_factory=RequestedSampling)
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    """Tokens that end the answer, as stop strings do: in the think block they are text."""
    ignore_eos: bool = False
    """Whether the tokens that end a turn are text like any other."""
    min_tokens: int = 0
    """Decoded tokens before the answer may end, of the answer alone if `max_reasoning_tokens` is given."""
    skip_special_tokens: bool = True
    """Whether the text leaves out special tokens; without them it never has the token that ends it."""
    priority: int | None = None
    """Lower is run earlier; None for the caller's own."""
    logprobs: int | None = None
    """Number of alternatives reported beside each content token's log-probability; None reports nothing."""
    num_choices: int = 1
    client_tools: Sequence[ClientTool] = ()
    server_tools: Sequence[ServerToolName] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool = True
    tool_budget: ToolBudget | None = None
    tool_approvals: Mapping[str, bool] | None = None
    """Whether the user approves each call that waits for it at the end of the messages, by the call's id."""
    can_ask_approval: bool = True
    """Whether the protocol has a way to ask the user for it; if not, tools that need approval are refused."""
    content_schema: Mapping[str, Any] | bool | None = None
    """JSON schema of the answer's content; None leaves it free."""
    content_format: Mapping[str, Any] | None = None
    """The content's grammar in place of a schema, as the format of an xgrammar structural tag."""
    answer_id: str | None = None
    """The id that the answer shows, which a client chose; None for `id`."""
    fields: FieldNames = GENERIC_FIELDS
    ignored: tuple[str, ...] = ()
    """What the protocol left out of the body because this server does not have it; the decision record names it."""

    @property
    def schema_fields(self) -> Mapping[str, str]:
        """The paths of the JSON schemas of the client's tools in the request's body, by the tool's name."""
        return {tool.function["name"]: f"{tool.field}.{self.fields.parameters}" for tool in self.client_tools}
