"""`AutoTool` and `AsyncAutoTool`: the official clients, whose `chat.completions.create` takes this server's fields too."""

import functools
import inspect
import os
from collections.abc import Awaitable, Callable, Mapping
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

from autotool_client.approvals import calls_to_ask_about, keep_whole_transcript, resumed
from autotool_client.record import PendingCall

if TYPE_CHECKING:
    cached_property = property  # as openai does: type checkers do not accept a cached property as a property
else:
    from functools import cached_property

DEFAULT_BASE_URL = "http://localhost:8000/v1"
FIELDS = ("mode", "reasoning_bias", "target", "max_reasoning_tokens", "tool_budget", "tool_approvals")


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
    target: str | None
    """What `auto` is to cost, in place of a bias: `thinking-rate=0.3`, `tokens=200` or `regret=2%`."""
    max_reasoning_tokens: int | None
    """The number of tokens at which the think block is closed; the answer keeps its own budget."""
    tool_budget: ToolBudget | None
    """Limits on the server's own tools; None is the server's own limits."""
    tool_approvals: Mapping[str, bool] | None
    """Whether each of the calls runs that the conversation ends with and that need approval, by the calls' ids."""
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

    def create_with_approval(self, approve: Callable[[PendingCall], bool], **params: Unpack[NonStreaming]) -> ChatCompletion:
        """Create a completion; each call of a server tool that needs approval runs if `approve` returns True for it.

        The transcript in the answer's record is that of all requests together: what to append to the given messages. An
        answer that calls functions of the client too is returned as it is.
        """
        request: Any = params
        answer = self.create(**request)
        while calls := calls_to_ask_about(answer):
            request = resumed(request, answer, {call.id: approve(call) for call in calls})
            answer = self.create(**request)
        keep_whole_transcript(answer, request, params)
        return answer


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

    async def create_with_approval(
        self, approve: Callable[[PendingCall], bool | Awaitable[bool]], **params: Unpack[NonStreaming]
    ) -> ChatCompletion:
        """Create a completion as `AutoToolCompletions.create_with_approval` does; `approve` may be a coroutine function."""
        request: Any = params
        answer = await self.create(**request)
        while calls := calls_to_ask_about(answer):
            request = resumed(request, answer, {call.id: await _decided(approve(call)) for call in calls})
            answer = await self.create(**request)
        keep_whole_transcript(answer, request, params)
        return answer


async def _decided(decision: bool | Awaitable[bool]) -> bool:
    return await decision if inspect.isawaitable(decision) else decision


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


def complete_url(url: str) -> str:
    """Return the base URL of a server: `http://` and `/v1` are added to a URL that has no scheme or no path.

    >>> complete_url("localhost:8000")
    'http://localhost:8000/v1'
    >>> complete_url("https://example.com/proxy/v1")
    'https://example.com/proxy/v1'
    """
    url = url.strip()
    scheme, separator, rest = url.rpartition("://")
    host, _, path = rest.partition("/")
    return f"{scheme or 'http'}{separator or '://'}{host}/{path.strip('/') or 'v1'}"


P = ParamSpec("P")


def _with_defaults(init: Callable[P, None]) -> Callable[P, None]:
    """Return the constructor with this server's defaults for the base URL and the key; type checkers see its signature."""

    @functools.wraps(init)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        base_url = kwargs.get("base_url") or os.environ.get("AUTOTOOL_BASE_URL") or DEFAULT_BASE_URL
        kwargs["base_url"] = complete_url(base_url) if isinstance(base_url, str) else base_url
        if kwargs.get("api_key") is None:
            kwargs["api_key"] = os.environ.get("AUTOTOOL_API_KEY") or "none"
        init(*args, **kwargs)

    return wrapped


class AutoTool(OpenAI):
    """`openai.OpenAI` for this server.

    The base URL is `AUTOTOOL_BASE_URL`, else http://localhost:8000/v1; `/v1` may be left out of a URL without a path. The key
    is `AUTOTOOL_API_KEY`, else `none`.
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
