"""Anthropic's Messages as a protocol.

Reference: https://platform.claude.com/docs/en/api/messages
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from autotool_core.errors import InvalidRequestError
from autotool_core.modes import Mode
from autotool_server import errors
from autotool_server.api import auth
from autotool_server.api import body as bodies
from autotool_server.api.disconnect import ClientGoneError, while_connected
from autotool_server.api.messages.errors import OVERLOADED, ErrorAnswer, describe
from autotool_server.api.messages.request import Abilities, conversation_request
from autotool_server.api.messages.responses import EventWriter, MessageBuilder, sse
from autotool_server.api.messages.schemas import CountRequest, MessagesRequest
from autotool_server.api.metrics import CLIENT_GONE
from autotool_server.api.openapi import Operation, documented
from autotool_server.api.protocol import Protocol
from autotool_server.api.state import ServerState
from autotool_server.conversation.job import Job
from autotool_server.conversation.request import ConversationRequest
from autotool_server.conversation.text_threads import Run

STATUSES = (400, 401, 403, 404, 429, 500, OVERLOADED)


class MessageAnswer(BaseModel):
    """A message of the assistant, with the decision record in `autotool`."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[dict[str, Any]]
    stop_reason: str
    stop_sequence: str | None
    usage: dict[str, Any]
    autotool: dict[str, Any]


class TokenCount(BaseModel):
    """The tokens of a prompt."""

    input_tokens: int


class Messages(Protocol[MessagesRequest]):
    """`POST /v1/messages` and `POST /v1/messages/count_tokens`."""

    path = "/v1/messages"
    body_type = MessagesRequest
    answer_type = MessageAnswer

    @property
    def operation(self) -> Operation:
        return replace(super().operation, error=ErrorAnswer, statuses=STATUSES)

    async def prepare(self, body: MessagesRequest, ignored: Sequence[str], state: ServerState, run: Run) -> Job:
        if body.messages[-1].role == "assistant":
            raise InvalidRequestError(
                "The conversation must not end with a message of the assistant: this server does not continue one.", "messages"
            )
        request = await run(_request_for, state, body)
        return await state.service.prepare(replace(request, ignored=(*request.ignored, *ignored)), run)

    def with_headers(self, body: MessagesRequest, headers: Headers) -> MessagesRequest:
        return body.with_betas(_betas(headers))

    def is_stream(self, body: MessagesRequest) -> bool:
        return body.stream

    def builder(self, body: MessagesRequest, job: Job, state: ServerState) -> MessageBuilder:
        return MessageBuilder(job, body)

    def writer(self, body: MessagesRequest, job: Job, state: ServerState) -> EventWriter:
        return EventWriter(job, body)

    def api_keys(self, request: Request) -> Sequence[str | None]:
        return auth.every_key(request)

    def headers(self, job: Job) -> dict[str, str]:
        return {"request-id": job.id.replace("msg_", "req_", 1)}

    def error_response(self, error: Exception) -> tuple[int, dict[str, Any], dict[str, str]]:
        return describe(error)

    def error_event(self, error: Exception) -> str:
        body = describe(error)[1]
        return sse("error", error=body["error"], request_id=body["request_id"])

    def routes(self) -> APIRouter:
        routes = APIRouter()

        @routes.post(f"{self.path}/count_tokens")
        @documented(Operation(CountRequest, TokenCount, ErrorAnswer, statuses=STATUSES))
        async def count_tokens(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction] the decorator keeps it
            return await self._count(request)

        return routes

    async def _count(self, request: Request) -> Response:
        """Answer how many tokens the prompt of a body has. It takes no slot, since nothing is decoded."""
        try:
            state = auth.enter(self.api_keys(request), request)
            _ = state.service  # refused while the engine starts, before the body is read
            with ExitStack() as stack:
                stack.enter_context(state.quotas.place(state.key))
                raw = await bodies.read(request, state, stack)
                with state.shutdown.cuts():
                    count = await while_connected(request.receive, _count_tokens(state, raw, _betas(request.headers)))
            return JSONResponse({"input_tokens": count})
        except (ClientDisconnect, ClientGoneError):
            return Response(status_code=CLIENT_GONE)
        except Exception as error:
            return errors.response(error, describe)


def _betas(headers: Headers) -> list[str]:
    return [name.strip() for value in headers.getlist("anthropic-beta") for name in value.split(",")]


async def _count_tokens(state: ServerState, raw: bytes, betas: Sequence[str]) -> int:
    run = state.service.texts.run
    parsed = await run(bodies.parse, CountRequest, raw, state.settings.unknown_fields)
    request = await run(_request_for, state, parsed.body.with_betas(betas))
    return len(await state.service.prompt_ids(request, run))


def _request_for(state: ServerState, body: MessagesRequest | CountRequest) -> ConversationRequest:
    service = state.service
    abilities = Abilities(Mode.AUTO not in service.renderer.refusals, service.template_abilities.late_system)
    return conversation_request(body, abilities)


PROTOCOL = Messages()
