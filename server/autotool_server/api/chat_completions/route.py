"""`POST /v1/chat/completions`: a request's whole way through the server, top to bottom."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import ExitStack, aclosing

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from autotool_core.errors import InvalidRequestError
from autotool_server.api.chat_completions.responses import ChunkWriter, CompletionBuilder
from autotool_server.api.chat_completions.schemas import ChatRequest
from autotool_server.api.disconnect import ClientGoneError, while_connected
from autotool_server.api.metrics import CLIENT_GONE
from autotool_server.api.state import ServerState, state_of
from autotool_server.conversation.service import ChatJob, ChatService
from autotool_server.conversation.tool_loop import Conversation, Notice, Output
from autotool_server.conversation.turn import TurnOutput
from autotool_server.errors import describe, invalid_body

logger = logging.getLogger(__name__)
router = APIRouter()

# Above this, rendering and tokenising take long enough to keep other requests waiting.
LARGE_BODY = 32 * 1024


@router.post("/v1/chat/completions")
async def create_chat_completion(request: Request) -> Response:
    """Answer a conversation. The answer runs as the response is sent, so that a client that leaves ends it."""
    state = state_of(request)
    with ExitStack() as stack:
        try:
            state.authorize(request)
            service = state.service
            raw = await _read(request, state.settings.max_body_bytes)
            # Before the work of rendering, so that a flood is turned away cheaply.
            stack.enter_context(state.admission.slot())
            job = await asyncio.to_thread(_accept, service, raw) if len(raw) > LARGE_BODY else _accept(service, raw)
        except ClientDisconnect:
            state.metrics.refused(CLIENT_GONE)
            return Response(status_code=CLIENT_GONE)
        except Exception as error:
            state.metrics.refused(describe(error)[0])
            raise
        return ChatResponse(job, state, stack.pop_all())


async def _read(request: Request, limit: int) -> bytes:
    """The body, read no further than the limit."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > limit:
            raise InvalidRequestError(f"The body is larger than {limit} bytes.", code="body_too_large", status=413)
    return bytes(body)


def _accept(service: ChatService, raw: bytes) -> ChatJob:
    try:
        body = json.loads(raw)
        # Half of a surrogate pair can be written in JSON, but is no character: no tokenizer and no answer can hold it.
        json.dumps(body, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise InvalidRequestError("The body is not valid JSON in UTF-8.", code="invalid_json") from None
    if not isinstance(body, dict):
        raise InvalidRequestError("The body must be a JSON object.", code="invalid_json")
    try:
        asked = ChatRequest.model_validate_json(raw)
    except ValidationError as error:
        raise invalid_body(error, body) from None
    return service.prepare(asked)


class ChatResponse(Response):
    """Runs a job and sends its answer, for as long as the client is there. Gives the slot back at the end."""

    def __init__(self, job: ChatJob, state: ServerState, slot: ExitStack) -> None:
        self._job = job
        self._state = state
        self._slot = slot
        self._status = 200
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run, and account for it whatever happened."""
        started = time.perf_counter()
        with self._slot:
            answer = self._stream(send) if self._job.stream else self._complete(scope, receive, send)
            try:
                await while_connected(receive, answer)
            except (ClientGoneError, asyncio.CancelledError) as error:
                self._status = CLIENT_GONE
                if isinstance(error, asyncio.CancelledError):
                    raise
            except Exception as error:
                self._status = describe(error)[0]
                raise
            finally:
                self._state.metrics.ended(self._job, started, self._status)

    async def _complete(self, scope: Scope, receive: Receive, send: Send) -> None:
        builder = CompletionBuilder(self._job, self._state.tokenizer, self._state.settings.reasoning_fields)
        async with aclosing(run(self._job.choices)) as outputs:
            async for conversation, output in outputs:
                if output is not None:
                    builder.add(conversation.choice, output)
        await JSONResponse(builder.build().model_dump(mode="json", exclude_unset=True))(scope, receive, send)

    async def _stream(self, send: Send) -> None:
        """Send chunks. The status waits for the first output, so that a refusal is a status and not a 200."""
        async with aclosing(self._chunks()) as chunks:
            first = await anext(chunks)
            headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            try:
                await send({"type": "http.response.body", "body": first, "more_body": True})
                async for chunk in chunks:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            except Exception as error:
                # The status is out: what is left is to say so in the stream.
                logger.exception("stream failed")
                self._status = describe(error)[0]
                await send({"type": "http.response.body", "body": _error_event(error), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _chunks(self) -> AsyncGenerator[bytes]:
        writer = ChunkWriter(self._job, self._state.tokenizer, self._state.settings.reasoning_fields)
        choices, started = self._job.choices, set[int]()
        left = len(choices)
        async with aclosing(run(choices)) as outputs:
            async for conversation, output in outputs:
                text = "" if conversation.choice in started else writer.start(conversation.choice)
                started.add(conversation.choice)
                left -= output is None
                text += _written(writer, conversation, output, last=left == 0)
                if text:
                    yield text.encode()
        yield writer.end().encode()


def _error_event(error: Exception) -> bytes:
    return f"data: {json.dumps(describe(error)[1])}\n\n".encode()


def _written(writer: ChunkWriter, conversation: Conversation, output: Output | None, *, last: bool) -> str:
    match output:
        case None:
            return writer.finish(conversation, last=last)
        case Notice():
            return writer.notice(output)
        case TurnOutput():
            return writer.output(conversation.choice, output)


async def run(choices: Sequence[Conversation]) -> AsyncGenerator[tuple[Conversation, Output | None]]:
    """The outputs of all choices as they come; None ends one."""
    if len(choices) == 1:
        async with aclosing(choices[0].run()) as outputs:
            async for output in outputs:
                yield choices[0], output
        yield choices[0], None
        return
    queue = asyncio.Queue[tuple[Conversation, Output | Exception | None]](maxsize=len(choices))
    tasks = [asyncio.create_task(_relay(conversation, queue)) for conversation in choices]
    try:
        left = len(choices)
        while left:
            conversation, output = await queue.get()
            if isinstance(output, Exception):
                raise output
            left -= output is None
            yield conversation, output
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _relay(conversation: Conversation, queue: asyncio.Queue[tuple[Conversation, Output | Exception | None]]) -> None:
    try:
        async with aclosing(conversation.run()) as outputs:
            async for output in outputs:
                await queue.put((conversation, output))
    except Exception as error:
        await queue.put((conversation, error))
    else:
        await queue.put((conversation, None))
