"""The requests of a job's turns: prompt, grammar and what the context has room for."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from autotool_core.errors import InvalidRequestError
from autotool_core.grammar import AnswerShape
from autotool_core.least_tokens import least_tokens
from autotool_core.modes import Mode
from autotool_core.profile import Profile
from autotool_core.prompt import PromptRenderer
from autotool_server.conversation.budgets import DefaultBudgets, RequestedBudgets, turn_limits
from autotool_server.conversation.constraints import answer_shape
from autotool_server.conversation.loop_types import NextTurn, NoRoomError
from autotool_server.conversation.messages import template_message
from autotool_server.conversation.plan import TurnLimits
from autotool_server.conversation.request import AllowedTools, ConversationRequest, ToolChoice
from autotool_server.conversation.turn_request import TurnRequest
from autotool_server.engines.base import Engine, Sampling
from autotool_server.settings import Effort
from autotool_server.targets.controller import Controller
from autotool_server.tools.base import Tool

FIRST, CALLING, CLOSING = range(3)
"""The kinds of turns: the first, a later one that may call tools, and one that may not."""


@dataclass(frozen=True, slots=True)
class RequestContext:
    """What all turns of a request share."""

    request: ConversationRequest
    mode: Mode
    server_tools: Mapping[str, Tool]
    """The server tools that the request names, by name, whatever its `tool_choice`."""
    effort: Effort | None = None
    template_arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Variables for the chat template, beside those that tell it the mode."""
    sampling: Sampling = field(default_factory=Sampling)
    """The request's, with the server's defaults for what it leaves out."""
    priority: int = 0
    """The request's, as far as its caller may have it; lower is run earlier."""
    target: Controller | None = None
    """What holds the target of the request's answers in `auto`; None without one."""
    grammars: Sequence[str | None] = ()
    """The grammar of each shape of `TurnRequests.shapes`; none where no schema constrains an answer."""

    def grammar(self, turn: int) -> str | None:
        """Return the grammar of a kind of turn: FIRST, CALLING or CLOSING."""
        return self.grammars[turn] if self.grammars else None

    @property
    def reasoning_bias(self) -> float:
        """Log-odds added to the long decision token: the request's, else the effort's, else 0."""
        if self.request.reasoning_bias is not None:
            return self.request.reasoning_bias
        return self.effort.bias if self.effort is not None else 0.0


class TurnRequests:
    """Makes the requests of turns for one served model."""

    def __init__(self, engine: Engine, renderer: PromptRenderer, profile: Profile, budgets: DefaultBudgets) -> None:
        self.least_tokens = least_tokens(engine.tokenizer)
        """Returns the least number of tokens of a text."""
        self._engine = engine
        self._budgets = budgets
        self._renderer = renderer
        self._profile = profile

    def first(self, context: RequestContext) -> TurnRequest:
        """Return the request of the first turn. Raises InvalidRequestError, naming the field."""
        request = context.request
        self._check_token_ids(request)
        shape = self._shape(context, request.tool_choice)

        def check(texts: Sequence[str]) -> None:
            # Tokenising takes seconds and much memory for a prompt that is many times too long.
            self._check_room(request, context.mode, sum(map(self.least_tokens, texts)), "at least ")

        prompt_ids = self._render(context, request.messages, shape, context.mode, check=check)
        self._check_room(request, context.mode, len(prompt_ids))
        limits = self._limits(context, context.mode, len(prompt_ids), context.grammar(FIRST))
        return _turn_request(context, request.id, context.mode, prompt_ids=prompt_ids, shape=shape, limits=limits)

    def prompt_ids(self, context: RequestContext, *, generation_prompt: bool = True) -> list[int]:
        """Return the token ids of the first turn's prompt, whatever the context has room for. Raises InvalidRequestError."""
        request = context.request
        shape = self._shape(context, request.tool_choice)
        return self._render(context, request.messages, shape, context.mode, generation_prompt=generation_prompt)

    def shapes(self, context: RequestContext, *, in_loop: bool) -> Sequence[AnswerShape]:
        """Return what the answers of a request's turns may be, by the kind of turn. Raises InvalidRequestError.

        They are made before the first turn, so that what cannot be enforced is refused before the tool loop begins.
        """
        first = self._shape(context, context.request.tool_choice)
        return [first, *(self._later_shape(context, may_call=may_call) for may_call in (True, False) if in_loop)]

    def later(self, context: RequestContext, step: NextTurn) -> TurnRequest:
        """Return the request of a turn after the first, which may call any tool, or none. Raises NoRoomError."""
        request, mode = context.request, step.mode or context.mode
        shape = self._later_shape(context, may_call=step.may_call)
        messages = [*request.messages, *map(_history_message, step.messages)]
        prompt_ids = self._render(context, messages, shape, mode)
        room = self._room(mode, len(prompt_ids))
        if room < 1 or (request.max_tokens is not None and request.max_tokens <= step.spent):
            raise NoRoomError("context" if room < 1 else "length")
        structural_tag = context.grammar(CALLING if step.may_call else CLOSING)
        limits = self._limits(context, mode, len(prompt_ids), structural_tag, spent=step.spent)
        turn_id = f"{request.id}-t{step.number}"
        return _turn_request(context, turn_id, mode, prompt_ids=prompt_ids, shape=shape, limits=limits)

    def _render(
        self,
        context: RequestContext,
        messages: Sequence[Mapping[str, Any]],
        shape: AnswerShape,
        mode: Mode,
        **options: Any,
    ) -> list[int]:
        self._check_tools_are_shown(context, messages, shape)
        try:
            tools = [*map(_rendered_tool, shape.tools)]
            return self._renderer.render(messages, tools, mode, arguments=context.template_arguments, **options)
        except InvalidRequestError as error:
            raise context.request.fields.rename(error) from None

    def _check_tools_are_shown(
        self, context: RequestContext, messages: Sequence[Mapping[str, Any]], shape: AnswerShape
    ) -> None:
        """Raise InvalidRequestError for tools of which the model would know nothing: no message names them either."""
        if not shape.tools or self._renderer.template.shows_tools:
            return
        written = json.dumps([message.get("content") for message in messages])
        if not all(tool["function"]["name"] in written for tool in shape.tools):
            raise InvalidRequestError(
                "The model's chat template does not show it tools. Serve the checkpoint with a chat template that does, or "
                "describe each tool by its name in a message.",
                context.request.fields.tools,
            )

    def _later_shape(self, context: RequestContext, *, may_call: bool) -> AnswerShape:
        choice = context.request.tool_choice
        # A tool choice demands a call of the first turn only, or the loop would never end.
        later = replace(choice, required=False) if isinstance(choice, AllowedTools) else None
        if may_call and context.request.tool_choice != "none":
            return self._shape(context, later)
        # A model that has called tools may go on to write calls, which nobody would run.
        return replace(self._shape(context, "none"), calls="none")

    def _shape(self, context: RequestContext, choice: ToolChoice | None) -> AnswerShape:
        return answer_shape(context.request, context.server_tools, choice, self._profile.strict_tools)

    def _limits(
        self, context: RequestContext, mode: Mode, prompt_tokens: int, structural_tag: str | None, *, spent: int = 0
    ) -> TurnLimits:
        """Return the limits of a turn before which `spent` tokens were charged to the request's limit."""
        request, effort = context.request, context.effort
        asked = RequestedBudgets(
            None if request.max_tokens is None else request.max_tokens - spent,
            request.max_reasoning_tokens,
            effort.budget if effort is not None else None,
            is_total=request.max_tokens_is_total,
            decides=mode is Mode.AUTO,
        )
        can_think = self._renderer.can_think and mode is not Mode.SHORT
        limits = turn_limits(asked, self._budgets, self._room(mode, prompt_tokens), structural_tag, can_think=can_think)
        least = min(request.min_tokens, limits.max_tokens)
        return replace(limits, stop_token_ids=request.stop_token_ids, min_tokens=least)

    def _check_room(self, request: ConversationRequest, mode: Mode, prompt_tokens: int, known: str = "") -> None:
        """Raise InvalidRequestError if the prompt leaves no room in the context. `known`: how well its tokens are known."""
        if self._room(mode, prompt_tokens) < 1:
            raise InvalidRequestError(
                f"The model's context is {self._engine.max_model_len} tokens, and the prompt has {known}{prompt_tokens}, which "
                "leaves no room for an answer. Shorten it.",
                request.fields.messages,
                code="context_length_exceeded",
            )

    def _room(self, mode: Mode, prompt_tokens: int) -> int:
        """Return how many tokens the context has left, after what may have to be injected."""
        return self._engine.max_model_len - prompt_tokens - self._renderer.max_injected_tokens(mode)

    def _check_token_ids(self, request: ConversationRequest) -> None:
        fields = request.fields
        for name, ids in ((fields.logit_bias, request.sampling.logit_bias), (fields.stop_token_ids, request.stop_token_ids)):
            if ids and max(ids) >= len(self._engine.tokenizer):
                raise InvalidRequestError(f"{name} names a token id that is not in the vocabulary.", name)


def of_choice(request: TurnRequest, index: int) -> TurnRequest:
    """Return the request for one of several choices. Each has an id and a seed of its own, or all would be the same."""
    if index == 0:
        return request
    return replace(request, id=f"{request.id}-{index}", choice=index, sampling=sampling_of_choice(request.sampling, index))


def sampling_of_choice(sampling: Sampling, index: int) -> Sampling:
    """Return the sampling of one of several choices of a prompt, whose seed is its own."""
    if sampling.seed is None:
        return sampling
    # Seeds have 64 bits.
    return replace(sampling, seed=(sampling.seed + index + 2**63) % 2**64 - 2**63)


def _turn_request(
    context: RequestContext,
    turn_id: str,
    mode: Mode,
    *,
    prompt_ids: Sequence[int],
    shape: AnswerShape,
    limits: TurnLimits,
) -> TurnRequest:
    request = context.request
    return TurnRequest(
        id=turn_id,
        choice=0,
        prompt_ids=prompt_ids,
        mode=mode,
        reasoning_bias=context.reasoning_bias,
        limits=limits,
        sampling=context.sampling,
        stop=request.stop,
        ignore_eos=request.ignore_eos,
        skip_special_tokens=request.skip_special_tokens,
        logprobs=request.logprobs,
        priority=context.priority,
        tools=shape.tools,
        parallel_tool_calls=request.parallel_tool_calls,
        target=context.target,
    )


def _rendered_tool(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a tool as the model reads it: `strict` is about the grammar, and not every protocol has it."""
    function = {name: value for name, value in tool["function"].items() if name != "strict"}
    return {**tool, "function": function}


def _history_message(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message of the transcript as if a follow-up request had sent it."""
    return template_message(**message)
