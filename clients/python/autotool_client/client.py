"""`AutoTool` and `AsyncAutoTool`: the official clients, whose `chat.completions.create` takes this server's fields too."""

import functools
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, Required, Unpack, overload

from openai import AsyncOpenAI, AsyncStream, OpenAI, Stream, Timeout
from openai.resources.chat import AsyncChat, AsyncCompletions, Chat, Completions
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsBase,
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)
from typing_extensions import TypedDict  # openai's kind; the standard library's cannot inherit from it

if TYPE_CHECKING:
    cached_property = property  # as openai does: type checkers hold a cached property to be no property
else:
    from functools import cached_property

DEFAULT_BASE_URL = "http://localhost:8000/v1"
FIELDS = ("mode", "reasoning_bias", "max_reasoning_tokens", "tool_budget")


class ToolBudget(TypedDict, total=False):
    """How far the server's own tools may go in one request (docs/tools.md)."""

    max_turns: int
    """Turns that may call tools; one more, without them, answers."""
    max_calls: int
    max_seconds: float
    """Counted from the request's first turn, decoding included."""


class Fields(TypedDict, total=False):
    """What `create` takes beside OpenAI's own fields."""

    mode: Literal["auto", "long", "short"] | None
    """None: the server's default."""
    reasoning_bias: float | None
    """Log-odds added to the long decision token in `auto`."""
    max_reasoning_tokens: int | None
    """The think block is closed when it has this many tokens; the answer keeps its own budget."""
    tool_budget: ToolBudget | None
    """None: the server's own limits."""
    extra_headers: Mapping[str, str] | None
    extra_query: Mapping[str, object] | None
    extra_body: Mapping[str, object] | None
    timeout: float | Timeout | None


class NonStreaming(CompletionCreateParamsNonStreaming, Fields, total=False):
    """Arguments of a `create` that returns a completion."""


class Streaming(CompletionCreateParamsStreaming, Fields, total=False):
    """Arguments of a `create` that returns a stream."""


class Either(CompletionCreateParamsBase, Fields, total=False):
    """Arguments of a `create` whose `stream` is known only at run time."""

    stream: Required[bool]


def _to_wire(params: dict[str, Any]) -> dict[str, Any]:
    """Move this server's fields into `extra_body`, where the official client takes fields it does not know."""
    ours = {name: params.pop(name, None) for name in FIELDS}
    given = {name: value for name, value in ours.items() if value is not None}
    return {**params, "extra_body": {**given, **(params.get("extra_body") or {})}}


class AutoToolCompletions(Completions):
    """`client.chat.completions`."""

    # The ignored finding: openai's own arguments also take its `omit`, which its TypedDicts do not say.
    @overload
    def create(self, **params: Unpack[NonStreaming]) -> ChatCompletion: ...
    @overload
    def create(self, **params: Unpack[Streaming]) -> Stream[ChatCompletionChunk]: ...
    @overload
    def create(self, **params: Unpack[Either]) -> ChatCompletion | Stream[ChatCompletionChunk]: ...
    def create(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, **params: Any
    ) -> ChatCompletion | Stream[ChatCompletionChunk]:
        """As `openai.OpenAI`'s, and `mode`, `reasoning_bias`, `max_reasoning_tokens`, `tool_budget` (see `Fields`)."""
        return super().create(**_to_wire(params))


class AsyncAutoToolCompletions(AsyncCompletions):
    """`client.chat.completions`."""

    # The ignored finding: openai's own arguments also take its `omit`, which its TypedDicts do not say.
    @overload
    async def create(self, **params: Unpack[NonStreaming]) -> ChatCompletion: ...
    @overload
    async def create(self, **params: Unpack[Streaming]) -> AsyncStream[ChatCompletionChunk]: ...
    @overload
    async def create(self, **params: Unpack[Either]) -> ChatCompletion | AsyncStream[ChatCompletionChunk]: ...
    async def create(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, **params: Any
    ) -> ChatCompletion | AsyncStream[ChatCompletionChunk]:
        """As `openai.AsyncOpenAI`'s, and `mode`, `reasoning_bias`, `max_reasoning_tokens`, `tool_budget` (see `Fields`)."""
        return await super().create(**_to_wire(params))


class AutoToolChat(Chat):
    """`client.chat`."""

    @cached_property
    def completions(self) -> AutoToolCompletions:
        """Chat completions, in a mode."""
        return AutoToolCompletions(self._client)


class AsyncAutoToolChat(AsyncChat):
    """`client.chat`."""

    @cached_property
    def completions(self) -> AsyncAutoToolCompletions:
        """Chat completions, in a mode."""
        return AsyncAutoToolCompletions(self._client)


P = ParamSpec("P")


def _with_defaults(init: Callable[P, None]) -> Callable[P, None]:
    """The constructor with this server's defaults for the base URL and the key, its signature kept for type checkers."""

    @functools.wraps(init)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        if kwargs.get("base_url") is None:
            kwargs["base_url"] = os.environ.get("AUTOTOOL_BASE_URL") or DEFAULT_BASE_URL
        if kwargs.get("api_key") is None:
            kwargs["api_key"] = os.environ.get("AUTOTOOL_API_KEY") or "none"
        init(*args, **kwargs)

    return wrapped


class AutoTool(OpenAI):
    """`openai.OpenAI` for this server.

    The base URL is `AUTOTOOL_BASE_URL`, else http://localhost:8000/v1; the key is `AUTOTOOL_API_KEY`, else `none`.
    """

    __init__ = _with_defaults(OpenAI.__init__)

    @cached_property
    def chat(self) -> AutoToolChat:
        """The chat API."""
        return AutoToolChat(self)


class AsyncAutoTool(AsyncOpenAI):
    """`openai.AsyncOpenAI` for this server, with the defaults of `AutoTool`."""

    __init__ = _with_defaults(AsyncOpenAI.__init__)

    @cached_property
    def chat(self) -> AsyncAutoToolChat:
        """The chat API."""
        return AsyncAutoToolChat(self)
