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
from typing_extensions import TypedDict  # openai uses this one; the standard library's cannot inherit from it

if TYPE_CHECKING:
    cached_property = property  # as openai does: type checkers do not accept a cached property as a property
else:
    from functools import cached_property

DEFAULT_BASE_URL = "http://localhost:8000/v1"
FIELDS = ("mode", "reasoning_bias", "max_reasoning_tokens", "tool_budget")


class ToolBudget(TypedDict, total=False):
    """Limits on the server's own tools in one request (docs/guides/tools.md)."""

    max_turns: int
    """The maximal number of turns that may call tools; one more turn, without tools, answers."""
    max_calls: int
    max_seconds: float
    """The maximal time from the request's first turn on, decoding included."""


class Fields(TypedDict, total=False):
    """Arguments that `create` takes in addition to OpenAI's own fields."""

    mode: Literal["auto", "long", "short"] | None
    """The mode of thinking; None is the server's default."""
    reasoning_bias: float | None
    """Log-odds that are added to the long decision token in `auto`."""
    max_reasoning_tokens: int | None
    """The number of tokens at which the think block is closed; the answer keeps its own budget."""
    tool_budget: ToolBudget | None
    """Limits on the server's own tools; None is the server's own limits."""
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
    values = {name: params.pop(name, None) for name in FIELDS}
    given = {name: value for name, value in values.items() if value is not None}
    return {**params, "extra_body": {**given, **(params.get("extra_body") or {})}}


class AutoToolCompletions(Completions):
    """`client.chat.completions`."""

    # The ignored finding: openai's own arguments also accept its `omit`, which its TypedDicts do not include.
    @overload
    def create(self, **params: Unpack[NonStreaming]) -> ChatCompletion: ...
    @overload
    def create(self, **params: Unpack[Streaming]) -> Stream[ChatCompletionChunk]: ...
    @overload
    def create(self, **params: Unpack[Either]) -> ChatCompletion | Stream[ChatCompletionChunk]: ...
    def create(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, **params: Any
    ) -> ChatCompletion | Stream[ChatCompletionChunk]:
        """Create a completion as `openai.OpenAI` does; the fields of `Fields` are accepted too."""
        return super().create(**_to_wire(params))


class AsyncAutoToolCompletions(AsyncCompletions):
    """`client.chat.completions`."""

    # The ignored finding: openai's own arguments also accept its `omit`, which its TypedDicts do not include.
    @overload
    async def create(self, **params: Unpack[NonStreaming]) -> ChatCompletion: ...
    @overload
    async def create(self, **params: Unpack[Streaming]) -> AsyncStream[ChatCompletionChunk]: ...
    @overload
    async def create(self, **params: Unpack[Either]) -> ChatCompletion | AsyncStream[ChatCompletionChunk]: ...
    async def create(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, **params: Any
    ) -> ChatCompletion | AsyncStream[ChatCompletionChunk]:
        """Create a completion as `openai.AsyncOpenAI` does; the fields of `Fields` are accepted too."""
        return await super().create(**_to_wire(params))


class AutoToolChat(Chat):
    """`client.chat`."""

    @cached_property
    def completions(self) -> AutoToolCompletions:
        """Chat completions with the fields of this server."""
        return AutoToolCompletions(self._client)


class AsyncAutoToolChat(AsyncChat):
    """`client.chat`."""

    @cached_property
    def completions(self) -> AsyncAutoToolCompletions:
        """Chat completions with the fields of this server."""
        return AsyncAutoToolCompletions(self._client)


P = ParamSpec("P")


def _with_defaults(init: Callable[P, None]) -> Callable[P, None]:
    """Return the constructor with this server's defaults for the base URL and the key; type checkers see its signature."""

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
