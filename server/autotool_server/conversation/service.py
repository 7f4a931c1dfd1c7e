"""From a request body to turns that can run: everything that can be refused is refused here, before the engine sees it."""

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from autotool_core import modes
from autotool_core.errors import InvalidRequestError
from autotool_core.grammar import AnswerShape
from autotool_core.modes import Mode
from autotool_core.profile import Profile
from autotool_core.prompt import PromptRenderer
from autotool_server.api.chat_completions.schemas import (
    AssistantMessage,
    ChatRequest,
    FunctionTool,
    Message,
    ServerTool,
    ToolBudget,
    ToolChoice,
    ToolMessage,
    plain_text,
)
from autotool_server.conversation.constraints import answer_shape, grammar
from autotool_server.conversation.tool_loop import Budget, Conversation, NextTurn, NoRoomError, ServerTools, ToolConversation
from autotool_server.conversation.turn import Turn, TurnRequest
from autotool_server.engines.base import Engine, Sampling
from autotool_server.settings import Settings
from autotool_server.tools.base import Tool
from autotool_server.tools.registry import Registry


@dataclass(frozen=True, slots=True)
class ChatJob:
    """A request that was accepted: one conversation per choice, all of the same prompt."""

    id: str
    model: str
    mode: Mode
    choices: Sequence[Conversation]
    stream: bool
    include_usage: bool

    @property
    def turns(self) -> list[Turn]:
        """Every turn of every choice."""
        return [turn for conversation in self.choices for turn in conversation.turns]

    @property
    def charged_turns(self) -> list[Turn]:
        """The turns whose prompt is charged: of one choice, since all choices have the same."""
        return self.choices[0].turns


@dataclass(frozen=True, slots=True)
class Ask:
    """What all turns of a request share."""

    id: str
    body: ChatRequest
    mode: Mode
    messages: Sequence[Mapping[str, Any]]
    tools: Mapping[str, Tool]
    """Those of the server that the request names."""


class ChatService:
    """Turns request bodies into jobs for one served model."""

    def __init__(
        self, engine: Engine, profile: Profile, model: str, settings: Settings, registry: Registry | None = None
    ) -> None:
        self.engine = engine
        self.model = model
        self.settings = settings
        self.registry = registry or Registry()
        self.started = int(time.time())
        self.renderer = PromptRenderer(engine.tokenizer, profile)
        self._profile = profile

    def prepare(self, body: ChatRequest) -> ChatJob:
        """Validate, resolve the mode, render the prompt. Raises InvalidRequestError, naming the field."""
        budget = self._budget(body.tool_budget or ToolBudget())
        tools = self._server_tools(body)
        ask = Ask(f"chatcmpl-{uuid.uuid4().hex}", body, self._mode(body), [_message(one) for one in body.messages], tools)
        first = self._first(ask)
        turns = [self._turn(_choice(first, index)) for index in range(self._choices(body))]
        if tools:
            choices = [ToolConversation(turns[0], lambda step: self._turn(self._later(ask, step)), self._loop(ask, budget))]
        else:
            choices = [Conversation(turn) for turn in turns]
        include_usage = body.stream_options is not None and body.stream_options.include_usage
        return ChatJob(ask.id, self.model, ask.mode, choices, body.stream, include_usage)

    def _turn(self, request: TurnRequest) -> Turn:
        return Turn(self.engine, self.renderer, self._profile, request)

    def _first(self, ask: Ask) -> TurnRequest:
        shape = self._shape(ask, ask.body.tool_choice)
        request = self._request(ask, ask.id, ask.mode, shape, ())
        return replace(request, max_tokens=self._max_tokens(ask.body, ask.mode, len(request.prompt_ids)))

    def _later(self, ask: Ask, step: NextTurn) -> TurnRequest:
        """A turn after the first, which may call what it likes, or nothing. Raises NoRoomError."""
        mode = step.mode or ask.mode
        # What a tool choice demanded was of the first turn, or the loop would have no end.
        shape = self._shape(ask, None if step.may_call else "none")
        request = self._request(ask, f"{ask.id}-t{step.number}", mode, shape, step.messages)
        room = self._room(ask.body, mode, len(request.prompt_ids))
        asked = ask.body.answer_tokens
        left = room if asked is None else min(room, asked - step.spent)
        if left < 1:
            raise NoRoomError("context" if room < 1 else "length")
        return replace(request, max_tokens=left)

    def _request(
        self, ask: Ask, turn_id: str, mode: Mode, shape: AnswerShape, said: Sequence[Mapping[str, Any]]
    ) -> TurnRequest:
        body = ask.body
        return TurnRequest(
            id=turn_id,
            choice=0,
            prompt_ids=self.renderer.render([*ask.messages, *map(_rendered, said)], shape.tools, mode),
            mode=mode,
            reasoning_bias=body.reasoning_bias,
            max_tokens=0,
            max_reasoning_tokens=body.max_reasoning_tokens if self.renderer.can_think else None,
            stop=body.stops,
            sampling=self._sampling(body),
            structural_tag=self._grammar(ask, shape),
            logprobs=_logprobs(body),
            tools=shape.tools,
            parallel_tool_calls=body.parallel_tool_calls,
        )

    def _server_tools(self, body: ChatRequest) -> Mapping[str, Tool]:
        named = {tool.name: f"tools.{at}.name" for at, tool in enumerate(body.tools) if isinstance(tool, ServerTool)}
        if body.tool_budget is not None and not named:
            raise InvalidRequestError("tool_budget is only allowed with server tools in tools.", "tool_budget")
        if not named:
            return {}
        if body.n > 1:
            raise InvalidRequestError("n must be 1 with server tools, which would run once for each.", "n")
        if not self._renders_results:
            raise InvalidRequestError("The model's chat template has no place for results of tools.", "tools")
        chosen = self.registry.choose(named)
        return {} if body.tool_choice == "none" else chosen

    @cached_property
    def _renders_results(self) -> bool:
        call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        result = {"role": "tool", "tool_call_id": "c", "content": "result"}
        said = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "", "tool_calls": [call]}, result]
        return self.renderer.renders_text("result", said)

    def _loop(self, ask: Ask, budget: Budget) -> ServerTools:
        for choice in (None, "none"):
            # Of the turns after the first: what cannot be enforced is refused before the loop begins.
            self._grammar(ask, self._shape(ask, choice))
        names = frozenset(tool.function.name for tool in ask.body.tools if isinstance(tool, FunctionTool))
        escalate = self.settings.escalate and Mode.LONG not in self.renderer.refusals
        return ServerTools(ask.tools, names, budget, self.registry.secrets, escalate)

    def _shape(self, ask: Ask, choice: ToolChoice | None) -> AnswerShape:
        return answer_shape(ask.body, ask.tools, choice, self._profile.strict_tools)

    def _grammar(self, ask: Ask, shape: AnswerShape) -> str | None:
        return grammar(shape, self._profile.tool_format)

    def _budget(self, asked: ToolBudget) -> Budget:
        settings = self.settings
        ceilings = {
            "max_turns": settings.max_tool_turns,
            "max_calls": settings.max_tool_calls,
            "max_seconds": settings.max_tool_seconds,
        }
        given = asked.model_dump(exclude_none=True)
        for name, value in given.items():
            if value > ceilings[name]:
                raise InvalidRequestError(f"{name} can be at most {ceilings[name]:g} here.", f"tool_budget.{name}")
        return Budget(**(ceilings | given))

    def _mode(self, body: ChatRequest) -> Mode:
        name, alias = (self.model, None) if body.model in (None, self.model) else modes.split_alias(body.model)
        if name != self.model:
            raise InvalidRequestError(
                "This model is not served here. GET /v1/models lists what is.", "model", code="model_not_found", status=404
            )
        thinking = body.chat_template_kwargs.enable_thinking if body.chat_template_kwargs is not None else None
        return modes.resolve(body.mode, alias, body.reasoning_effort, self.settings.default_mode, enable_thinking=thinking)

    def _choices(self, body: ChatRequest) -> int:
        if body.n > self.settings.max_choices:
            raise InvalidRequestError(f"n can be at most {self.settings.max_choices} here.", "n")
        return body.n

    def _max_tokens(self, body: ChatRequest, mode: Mode, prompt_tokens: int) -> int:
        """How many tokens may be decoded, after what may have to be injected; the rest of the context if nothing is asked."""
        if None not in (body.max_tokens, body.max_completion_tokens) and body.max_tokens != body.max_completion_tokens:
            raise InvalidRequestError("max_tokens and max_completion_tokens disagree. Send only the latter.", "max_tokens")
        room, asked = self._room(body, mode, prompt_tokens), body.answer_tokens
        if room < (asked or 1):
            more = (asked or 1) + _reasoning_tokens(body, mode)
            raise InvalidRequestError(
                f"The model's context is {self.engine.max_model_len} tokens: the prompt has {prompt_tokens}, and "
                f"{more} more are to be generated. Shorten either.",
                "messages" if prompt_tokens >= self.engine.max_model_len or asked is None else "max_completion_tokens",
                code="context_length_exceeded",
            )
        return asked or room

    def _room(self, body: ChatRequest, mode: Mode, prompt_tokens: int) -> int:
        """How many tokens the context has left for the answer."""
        taken = prompt_tokens + self.renderer.max_injected_tokens(mode) + _reasoning_tokens(body, mode)
        return self.engine.max_model_len - taken

    def _sampling(self, body: ChatRequest) -> Sampling:
        bias = {int(token): value for token, value in (body.logit_bias or {}).items()}
        if bias and max(bias) >= len(self.engine.tokenizer):
            raise InvalidRequestError("logit_bias names a token id that is not in the vocabulary.", "logit_bias")
        return Sampling(
            temperature=body.temperature,
            top_p=body.top_p,
            top_k=max(body.top_k, 0),
            min_p=body.min_p,
            presence_penalty=body.presence_penalty,
            frequency_penalty=body.frequency_penalty,
            repetition_penalty=body.repetition_penalty,
            seed=body.seed,
            logit_bias=bias,
        )


def _message(message: Message) -> dict[str, Any]:
    """A message as chat templates expect it: text content, reasoning under both names, developer as system."""
    role = "system" if message.role == "developer" else message.role
    refusal = message.refusal if isinstance(message, AssistantMessage) else None
    rendered: dict[str, Any] = {"role": role, "content": plain_text(message.content) or refusal or ""}
    if isinstance(message, ToolMessage):
        rendered |= {"tool_call_id": message.tool_call_id}
    if isinstance(message, AssistantMessage):
        reasoning = message.reasoning_content if message.reasoning is None else message.reasoning
        if reasoning is not None:
            rendered |= {"reasoning": reasoning, "reasoning_content": reasoning}
        if message.tool_calls:
            rendered["tool_calls"] = [call.model_dump(exclude={"index"}) for call in message.tool_calls]
    if message.name is not None:
        rendered["name"] = message.name
    return rendered


def _rendered(said: Mapping[str, Any]) -> dict[str, Any]:
    """A message of the transcript, as if a follow-up request had sent it."""
    kind = AssistantMessage if said["role"] == "assistant" else ToolMessage
    return _message(kind.model_validate(said))


def _reasoning_tokens(body: ChatRequest, mode: Mode) -> int:
    return (body.max_reasoning_tokens or 0) if mode is not Mode.SHORT else 0


def _logprobs(body: ChatRequest) -> int | None:
    if body.top_logprobs is not None and not body.logprobs:
        raise InvalidRequestError("top_logprobs is only allowed with logprobs=true.", "top_logprobs")
    return (body.top_logprobs or 0) if body.logprobs else None


def _choice(request: TurnRequest, index: int) -> TurnRequest:
    """The request of one of several choices: its own id, and its own seed, or all would be the same."""
    seed = request.sampling.seed
    # Within 64 bits, as seeds are.
    sampling = request.sampling if seed is None else replace(request.sampling, seed=(seed + index + 2**63) % 2**64 - 2**63)
    return replace(request, id=f"{request.id}-{index}", choice=index, sampling=sampling) if index else request
