"""The requests of a job's turns: prompt, grammar and what the context has room for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from autotool_core.errors import InvalidRequestError
from autotool_core.grammar import AnswerShape
from autotool_core.modes import Mode
from autotool_core.profile import Profile
from autotool_core.prompt import PromptRenderer
from autotool_server.conversation.constraints import answer_shape, grammar
from autotool_server.conversation.messages import template_message
from autotool_server.conversation.plan import TurnLimits
from autotool_server.conversation.request import ConversationRequest, ToolChoice
from autotool_server.conversation.tool_loop import NextTurn, NoRoomError
from autotool_server.conversation.turn import TurnRequest
from autotool_server.engines.base import Engine
from autotool_server.settings import Effort
from autotool_server.tools.base import Tool


@dataclass(frozen=True, slots=True)
class RequestContext:
    """What all turns of a request share."""

    request: ConversationRequest
    mode: Mode
    server_tools: Mapping[str, Tool]
    """The server tools that the request names, by name."""
    effort: Effort | None = None

    @property
    def reasoning_bias(self) -> float:
        """Log-odds added to the long decision token: the request's, else the effort's, else 0."""
        if self.request.reasoning_bias is not None:
            return self.request.reasoning_bias
        return self.effort.bias if self.effort is not None else 0.0


class TurnRequests:
    """Makes the requests of turns for one served model."""

    def __init__(self, engine: Engine, renderer: PromptRenderer, profile: Profile) -> None:
        self._engine = engine
        self._renderer = renderer
        self._profile = profile

    def first(self, context: RequestContext) -> TurnRequest:
        """Return the request of the first turn. Raises InvalidRequestError, naming the field."""
        request = context.request
        self._check_logit_bias(request)
        shape = self._shape(context, request.tool_choice)
        prompt_ids = self._render(request, request.messages, shape, context.mode)
        structural_tag = self._grammar(context, shape)
        max_tokens = self._max_tokens(request, context.mode, len(prompt_ids))
        limits = self._limits(request, max_tokens, structural_tag)
        return _turn_request(context, request.id, context.mode, prompt_ids=prompt_ids, shape=shape, limits=limits)

    def prompt_ids(self, context: RequestContext) -> list[int]:
        """Return the token ids of the first turn's prompt, whatever the context has room for. Raises InvalidRequestError."""
        request = context.request
        return self._render(request, request.messages, self._shape(context, request.tool_choice), context.mode)

    def later(self, context: RequestContext, step: NextTurn) -> TurnRequest:
        """Return the request of a turn after the first, which may call any tool, or none. Raises NoRoomError."""
        request, mode = context.request, step.mode or context.mode
        shape = self._later_shape(context, may_call=step.may_call)
        messages = [*request.messages, *map(_history_message, step.messages)]
        prompt_ids = self._render(request, messages, shape, mode)
        room = self._room(request, mode, len(prompt_ids))
        max_tokens = room if request.max_tokens is None else min(room, request.max_tokens - step.spent)
        if max_tokens < 1:
            raise NoRoomError("context" if room < 1 else "length")
        limits = self._limits(request, max_tokens, self._grammar(context, shape))
        turn_id = f"{request.id}-t{step.number}"
        return _turn_request(context, turn_id, mode, prompt_ids=prompt_ids, shape=shape, limits=limits)

    def check_later_grammars(self, context: RequestContext) -> None:
        """Raise InvalidRequestError for what cannot be enforced in turns after the first, before the tool loop begins."""
        for may_call in (True, False):
            self._grammar(context, self._later_shape(context, may_call=may_call))

    def _render(
        self, request: ConversationRequest, messages: Sequence[Mapping[str, Any]], shape: AnswerShape, mode: Mode
    ) -> list[int]:
        try:
            return self._renderer.render(messages, shape.tools, mode)
        except InvalidRequestError as error:
            raise request.fields.rename(error) from None

    def _later_shape(self, context: RequestContext, *, may_call: bool) -> AnswerShape:
        # A tool choice demands a call of the first turn only, or the loop would never end.
        return self._shape(context, None if may_call else "none")

    def _shape(self, context: RequestContext, choice: ToolChoice | None) -> AnswerShape:
        return answer_shape(context.request, context.server_tools, choice, self._profile.strict_tools)

    def _grammar(self, context: RequestContext, shape: AnswerShape) -> str | None:
        return grammar(shape, self._profile.tool_format, context.request.fields)

    def _limits(self, request: ConversationRequest, max_tokens: int, structural_tag: str | None) -> TurnLimits:
        return TurnLimits(max_tokens, self._max_reasoning_tokens(request), structural_tag, request.max_tokens_is_ceiling)

    def _max_reasoning_tokens(self, request: ConversationRequest) -> int | None:
        return request.max_reasoning_tokens if self._renderer.can_think else None

    def _max_tokens(self, request: ConversationRequest, mode: Mode, prompt_tokens: int) -> int:
        """Return the limit of decoded tokens: the request's, else what the context has left. Raises InvalidRequestError."""
        room, wanted = self._room(request, mode, prompt_tokens), request.max_tokens
        if wanted is not None and request.max_tokens_is_ceiling:
            wanted = max(1, min(wanted, room))
        if room >= (1 if wanted is None else wanted):
            return room if wanted is None else wanted
        fields, context_length = request.fields, self._engine.max_model_len
        is_prompt_too_long = prompt_tokens >= context_length or wanted is None
        raise InvalidRequestError(
            f"The model's context is {context_length} tokens: the prompt has {prompt_tokens}, and "
            f"{(1 if wanted is None else wanted) + _reasoning_tokens(request, mode)} more are to be generated. Shorten either.",
            fields.messages if is_prompt_too_long else fields.max_tokens,
            code="context_length_exceeded",
        )

    def _room(self, request: ConversationRequest, mode: Mode, prompt_tokens: int) -> int:
        """Return how many tokens the context has left for the answer, after what may have to be injected."""
        taken = prompt_tokens + self._renderer.max_injected_tokens(mode) + _reasoning_tokens(request, mode)
        return self._engine.max_model_len - taken

    def _check_logit_bias(self, request: ConversationRequest) -> None:
        bias = request.sampling.logit_bias
        if bias and max(bias) >= len(self._engine.tokenizer):
            name = request.fields.logit_bias
            raise InvalidRequestError(f"{name} names a token id that is not in the vocabulary.", name)


def of_choice(request: TurnRequest, index: int) -> TurnRequest:
    """Return the request for one of several choices. Each has an id and a seed of its own, or all would be the same."""
    if index == 0:
        return request
    sampling = request.sampling
    if sampling.seed is not None:
        # Seeds have 64 bits.
        sampling = replace(sampling, seed=(sampling.seed + index + 2**63) % 2**64 - 2**63)
    return replace(request, id=f"{request.id}-{index}", choice=index, sampling=sampling)


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
        sampling=request.sampling,
        stop=request.stop,
        logprobs=request.logprobs,
        tools=shape.tools,
        parallel_tool_calls=request.parallel_tool_calls,
    )


def _history_message(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message of the transcript as if a follow-up request had sent it."""
    return template_message(**message)


def _reasoning_tokens(request: ConversationRequest, mode: Mode) -> int:
    if mode is Mode.SHORT or request.max_tokens_is_ceiling:
        return 0
    return request.max_reasoning_tokens or 0
