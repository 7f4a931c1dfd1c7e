"""OpenAI's Responses API as a protocol.

Reference: https://platform.openai.com/docs/api-reference/responses
"""

import asyncio
import json
import logging
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any, cast

from fastapi import APIRouter
from openai.types.responses import Response as OpenAIResponse
from starlette.responses import JSONResponse, Response

from autotool_server.api.protocol import Detached, Protocol, ResponseBuilder, StreamWriter
from autotool_server.api.responses import loading, truncation
from autotool_server.api.responses.builder import EventWriter, ResponsesBuilder
from autotool_server.api.responses.request import conversation_request
from autotool_server.api.responses.resources import Resources
from autotool_server.api.responses.response import ResponseObject
from autotool_server.api.responses.routes import router
from autotool_server.api.responses.schemas import ResponsesRequest
from autotool_server.api.responses.stored import stored_items
from autotool_server.api.state import ServerState
from autotool_server.conversation.job import Job
from autotool_server.conversation.service import ConversationService
from autotool_server.conversation.text_threads import Run

logger = logging.getLogger(__name__)


class Responses(Protocol[ResponsesRequest]):
    """`POST /v1/responses`, and the routes of stored responses."""

    path = "/v1/responses"
    body_type = ResponsesRequest
    answer_type = OpenAIResponse

    def start(self, state: ServerState) -> None:
        state.own(Resources)

    def routes(self) -> APIRouter:
        return router(self)

    async def load(self, body: ResponsesRequest, state: ServerState) -> ResponsesRequest:
        return await loading.load(body, state.own(Resources), state.key_name)

    async def prepare(self, body: ResponsesRequest, ignored: Sequence[str], state: ServerState, run: Run) -> Job:
        request = await run(conversation_request, body)
        budget, ceiling = request.tool_budget, state.settings.max_tool_calls
        if body.max_tool_calls is not None and budget is not None and budget.max_calls == body.max_tool_calls:
            # An upper bound, so that the server's own lower one satisfies it.
            request = replace(request, tool_budget=replace(budget, max_calls=min(ceiling, body.max_tool_calls)))
        request = replace(request, ignored=(*request.ignored, *ignored))
        prepare = truncation.prepare if body.truncation == "auto" else ConversationService.prepare
        return await prepare(state.service, request, run)

    def is_stream(self, body: ResponsesRequest) -> bool:
        return body.stream

    def builder(self, body: ResponsesRequest, job: Job, state: ServerState) -> ResponsesBuilder:
        return ResponsesBuilder(_response(body, job, state), body, state.tokenizer, state.own(Resources).seal)

    def writer(self, body: ResponsesRequest, job: Job, state: ServerState) -> EventWriter:
        return EventWriter(_response(body, job, state), body, state.tokenizer, state.own(Resources).seal)

    async def finish(
        self, body: ResponsesRequest, job: Job, state: ServerState, output: ResponseBuilder | StreamWriter
    ) -> None:
        response = cast("ResponsesBuilder | EventWriter", output).response
        if body.background:
            await _try_to_store(response, _end(response, state))
        elif response.value["store"]:
            await _try_to_store(response, _save(body, response, state))

    async def detach(self, body: ResponsesRequest, job: Job, state: ServerState) -> Detached | None:
        if not body.background:
            return None
        # Made once: the service, which it needs, may be withdrawn while it is saved.
        response = _response(body, job, state)
        await _save(body, response, state)

        def start(run: Coroutine[Any, Any, JSONResponse | None]) -> Response:
            queued = JSONResponse({**response.value, "status": "queued"})
            state.own(Resources).run(job.id, _in_background(response, state, run))
            return queued

        return start


def _response(body: ResponsesRequest, job: Job, state: ServerState) -> ResponseObject:
    is_stored = state.own(Resources).has_store and body.store is not False
    return ResponseObject(job, body, state.service.registry, is_stored=is_stored)


async def _save(body: ResponsesRequest, response: ResponseObject, state: ServerState) -> None:
    inputs, key_name = stored_items(body.items), state.key_name
    await state.own(Resources).use_store(lambda store: store.save(response.value, inputs, body.chain, key_name), "store")


async def _end(response: ResponseObject, state: ServerState) -> None:
    await state.own(Resources).use_store(lambda store: store.end(response.value), "store")


async def _try_to_store(response: ResponseObject, storing: Coroutine[Any, Any, None]) -> None:
    """Store a response. If the store fails, the answer goes on without it: it is worth more to the client than an error."""
    try:
        await storing
    except Exception:
        logger.exception("response %s could not be stored", response.value["id"])
        response.value["store"] = False


async def _in_background(response: ResponseObject, state: ServerState, run: Coroutine[Any, Any, JSONResponse | None]) -> None:
    """Run a job to its end. If it fails or is cancelled, also by the server's stop, the stored response says so."""
    try:
        failure = await run
    except asyncio.CancelledError:
        response.cancel()
        await _try_to_store(response, _end(response, state))
        raise
    if failure is not None:
        if state.shutdown.is_cut:
            response.cancel()
        else:
            response.fail(json.loads(bytes(failure.body))["error"]["message"])
        await _try_to_store(response, _end(response, state))


PROTOCOL = Responses()
