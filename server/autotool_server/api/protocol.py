"""The contract of a protocol: a path, a body, the way in (body to request) and the way out (outputs to JSON or to a stream).

A protocol is one folder of `autotool_server.api` whose module `protocol` has `PROTOCOL`, an instance of a subclass of
`Protocol`. The app finds it there by `protocols`; nothing else has to name it.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import Any, ClassVar, Generic, TypeVar

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response

from autotool_core.errors import InvalidRequestError
from autotool_server import api, errors
from autotool_server.api import auth
from autotool_server.api.openapi import Operation
from autotool_server.api.state import ServerState
from autotool_server.conversation.choice import Choice, Output
from autotool_server.conversation.job import Job
from autotool_server.conversation.request import ConversationRequest
from autotool_server.conversation.text_threads import Run

BodyT = TypeVar("BodyT", bound=BaseModel)

Detached = Callable[[Coroutine[Any, Any, JSONResponse | None]], Response]
"""Starts the coroutine that runs a job, which returns the response to an error, and returns the response to the request."""


class ResponseBuilder(ABC):
    """Collects a job's outputs into one JSON answer."""

    @abstractmethod
    def add(self, choice: Choice, output: Output) -> None:
        """Take in the next output of a choice."""

    @abstractmethod
    def build(self) -> dict[str, Any]:
        """Return the answer as JSON values, after the last output."""


class StreamWriter(ABC):
    """Writes a job's outputs as the events of a stream, server-sent ones unless the protocol's media type is another."""

    @abstractmethod
    def write(self, choice: Choice, output: Output) -> str:
        """Return the events of an output; empty where it has none."""

    @abstractmethod
    def end(self) -> str:
        """Return the events that end the stream."""

    def fail(self, error: Exception) -> str | None:
        """Return the events of an error after the first output; None for the protocol's `error_event`."""
        return None


class Protocol(ABC, Generic[BodyT]):
    """One protocol.

    Errors of its requests have OpenAI's shape unless it overrides `error_response` and `error_event`. Errors of routing (404,
    405) always have OpenAI's shape.
    """

    path: ClassVar[str]
    """Path of the endpoint, such as `/v1/chat/completions`."""
    stream_media_type: ClassVar[str] = "text/event-stream; charset=utf-8"
    body_type: type[BodyT]
    """The request's body; unknown fields and bad values are refused by name."""
    answer_type: ClassVar[type[BaseModel] | None] = None
    """The whole answer, for the OpenAPI document."""

    @property
    def operation(self) -> Operation:
        """What the endpoint takes and answers, for the OpenAPI document."""
        return Operation(self.body_type, self.answer_type, stream_media_type=self.stream_media_type)

    @abstractmethod
    async def prepare(self, body: BodyT, ignored: Sequence[str], state: ServerState, run: Run) -> Job:
        """Return the job of a body. Raises InvalidRequestError. `ignored`: paths of unknown fields that were left out.

        `run` runs what takes long for a large body.
        """

    def is_stream(self, body: BodyT) -> bool:
        """Whether the client wants a stream. A protocol that has none leaves this and `writer` as they are."""
        return False

    @abstractmethod
    def builder(self, body: BodyT, job: Job, state: ServerState) -> ResponseBuilder:
        """Return what collects the whole answer."""

    def writer(self, body: BodyT, job: Job, state: ServerState) -> StreamWriter:
        """Return what writes the stream. Raises InvalidRequestError where the protocol has none."""
        raise InvalidRequestError(f"{self.path} has no stream. Leave stream out.", "stream")

    def start(self, state: ServerState) -> None:
        """Make what the protocol keeps for an app. Raises AutoToolError for a setting that cannot be used."""

    def routes(self) -> APIRouter:
        """Return a router with the protocol's other routes, such as those of stored answers; the endpoint is added to it."""
        return APIRouter()

    def with_headers(self, body: BodyT, headers: Headers) -> BodyT:
        """Return the body with what the request's headers add to it."""
        return body

    async def load(self, body: BodyT, state: ServerState) -> BodyT:
        """Return the body with what it refers to, such as an earlier answer, read from where it is stored.

        The body itself if it refers to nothing: another one counts as large.
        """
        return body

    async def finish(self, body: BodyT, job: Job, state: ServerState, output: ResponseBuilder | StreamWriter) -> None:
        """Do what must be done after the last output and before the end of the answer is sent, such as storing it."""

    async def detach(self, body: BodyT, job: Job, state: ServerState) -> Detached | None:
        """Return None if the client waits for the job, else what starts the job without it."""
        return None

    def api_keys(self, request: Request) -> Sequence[str | None]:
        """Return the API keys that a request carries, one of which must be the server's; None where it carries none."""
        return [auth.bearer_key(request)]

    def headers(self, job: Job) -> dict[str, str]:
        """Return the headers of a job's answer that only this protocol has."""
        return {}

    def error_response(self, error: Exception) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Return the status, body and headers that answer an error."""
        return errors.describe(error)

    def error_event(self, error: Exception) -> str:
        """Return the event of an error in a stream whose status is sent already."""
        return f"data: {json.dumps(self.error_response(error)[1])}\n\n"


class ConversationProtocol(Protocol[BodyT]):
    """A protocol of conversations that are read from the body alone."""

    @abstractmethod
    def conversation_request(self, body: BodyT) -> ConversationRequest:
        """Return the protocol-neutral request. Raises InvalidRequestError, naming the field."""

    async def prepare(self, body: BodyT, ignored: Sequence[str], state: ServerState, run: Run) -> Job:
        request = await run(self.conversation_request, body)
        return await state.service.prepare(replace(request, ignored=(*request.ignored, *ignored)), run)


def protocols() -> Iterator[Protocol[Any]]:
    """Yield the protocol of every folder of this package that has one."""
    for module in iter_modules(api.__path__, f"{api.__name__}."):
        if module.ispkg and find_spec(f"{module.name}.protocol") is not None:
            yield import_module(f"{module.name}.protocol").PROTOCOL
