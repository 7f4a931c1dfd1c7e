"""From a request body to turns that can run: everything that can be refused is refused here, before the engine sees it."""

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import jsonschema
import xgrammar

from autotool_core import modes
from autotool_core.errors import InvalidRequestError
from autotool_core.grammar import AnswerShape, structural_tag
from autotool_core.json_schema import unenforceable
from autotool_core.modes import Mode
from autotool_core.profile import Profile
from autotool_core.prompt import PromptRenderer
from autotool_server.engines.base import Engine, Sampling
from autotool_server.generation import Turn, TurnRequest
from autotool_server.schemas import AssistantMessage, ChatRequest, Message, NamedToolChoice, ToolMessage, plain_text
from autotool_server.settings import Settings

ANY_OBJECT: Mapping[str, Any] = {"type": "object"}


@dataclass(frozen=True, slots=True)
class ChatJob:
    """A request that was accepted: one turn per choice, all of the same prompt."""

    id: str
    model: str
    mode: Mode
    turns: Sequence[Turn]
    stream: bool
    include_usage: bool


class ChatService:
    """Turns request bodies into jobs for one served model."""

    def __init__(self, engine: Engine, profile: Profile, model: str, settings: Settings) -> None:
        self.engine = engine
        self.model = model
        self.settings = settings
        self.started = int(time.time())
        self.renderer = PromptRenderer(engine.tokenizer, profile)
        self._profile = profile

    def prepare(self, body: ChatRequest) -> ChatJob:
        """Validate, resolve the mode, render the prompt. Raises InvalidRequestError, naming the field."""
        mode = self._mode(body)
        shape = _answer_shape(body)
        prompt_ids = self.renderer.render(_messages(body.messages), shape.tools, mode)
        request = TurnRequest(
            id=f"chatcmpl-{uuid.uuid4().hex}",
            choice=0,
            prompt_ids=prompt_ids,
            mode=mode,
            reasoning_bias=body.reasoning_bias,
            max_tokens=self._max_tokens(body, mode, len(prompt_ids)),
            max_reasoning_tokens=body.max_reasoning_tokens if self.renderer.can_think else None,
            stop=body.stops,
            sampling=self._sampling(body),
            structural_tag=self._grammar(shape),
            logprobs=_logprobs(body),
            tools=shape.tools,
            parallel_tool_calls=body.parallel_tool_calls,
        )
        turns = [
            Turn(self.engine, self.renderer, self._profile, _choice(request, index)) for index in range(self._choices(body))
        ]
        include_usage = body.stream_options is not None and body.stream_options.include_usage
        return ChatJob(request.id, self.model, mode, turns, body.stream, include_usage)

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
        reasoning = (body.max_reasoning_tokens or 0) if mode is not Mode.SHORT else 0
        room = self.engine.max_model_len - prompt_tokens - self.renderer.most_injected(mode) - reasoning
        asked = body.answer_tokens
        if room < (asked or 1):
            raise InvalidRequestError(
                f"The model's context is {self.engine.max_model_len} tokens: the prompt has {prompt_tokens}, and "
                f"{(asked or 1) + reasoning} more are to be generated. Shorten either.",
                "messages" if prompt_tokens >= self.engine.max_model_len or asked is None else "max_completion_tokens",
                code="context_length_exceeded",
            )
        return asked or room

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

    def _grammar(self, shape: AnswerShape) -> str | None:
        tag = structural_tag(shape, self._profile.tool_format)
        if tag is None:
            return None
        for field, schema in _enforced(shape):
            if feature := unenforceable(schema):
                raise InvalidRequestError(f"{feature} in a JSON schema cannot be enforced here. Leave it out.", field)
        if not _compiles(tag):
            field = "response_format" if shape.schema is not None else "tools"
            raise InvalidRequestError("A JSON schema cannot be made a grammar. Use a simpler schema.", field)
        return tag


def _messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    return [_message(message) for message in messages]


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


def _answer_shape(body: ChatRequest) -> AnswerShape:
    """What the answer may be, from tools, tool_choice and response_format."""
    tools = _tools(body)
    choice = body.tool_choice
    if choice not in (None, "none") and not tools:
        raise InvalidRequestError("tool_choice is only allowed where tools are given.", "tool_choice")
    if isinstance(choice, NamedToolChoice):
        named = [tool for tool in tools if tool["function"]["name"] == choice.function.name]
        if not named:
            raise InvalidRequestError("tool_choice names a function that is not in tools.", "tool_choice.function.name")
        return AnswerShape(named, "one", schema=_content_schema(body))
    offered = () if choice == "none" else tools
    return AnswerShape(
        offered, "required" if choice == "required" else "allowed", body.parallel_tool_calls, _content_schema(body)
    )


def _tools(body: ChatRequest) -> list[dict[str, Any]]:
    names: set[str] = set()
    for at, tool in enumerate(body.tools):
        field = f"tools.{at}.function"
        if tool.function.name in names:
            raise InvalidRequestError("Two tools have the same name.", f"{field}.name")
        names.add(tool.function.name)
        _check_schema(tool.function.parameters, f"{field}.parameters")
    return [tool.model_dump(exclude_none=True) for tool in body.tools]


def _content_schema(body: ChatRequest) -> Mapping[str, Any] | bool | None:
    form = body.response_format
    if form is None or form.type == "text":
        return None
    if form.json_schema is None:
        return ANY_OBJECT
    _check_schema(form.json_schema.schema_, "response_format.json_schema.schema")
    return form.json_schema.schema_


def _check_schema(schema: Mapping[str, Any] | bool | None, field: str) -> None:
    try:
        jsonschema.Draft202012Validator.check_schema(schema if schema is not None else ANY_OBJECT)
    except jsonschema.SchemaError as error:
        where = "/".join(map(str, error.absolute_path)) or "its top level"
        raise InvalidRequestError(f"This is not a valid JSON schema (at {where[:80]}).", field) from None
    except RecursionError:
        raise InvalidRequestError("This JSON schema is nested too deeply.", field) from None


def _enforced(shape: AnswerShape) -> Iterator[tuple[str, Any]]:
    if shape.schema is not None:
        yield "response_format.json_schema.schema", shape.schema
    for tool in shape.tools:
        yield "tools", tool["function"].get("parameters") or {}


@lru_cache(maxsize=64)
def _compiles(tag: str) -> bool:
    try:
        xgrammar.Grammar.from_structural_tag(tag)
    except RuntimeError:
        return False
    return True


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
