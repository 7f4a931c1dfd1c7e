"""The endpoint of a protocol: a request's whole way through HTTP, top to bottom."""

import asyncio
import inspect
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing
from dataclasses import replace
from functools import cache
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from autotool_core.errors import InvalidRequestError
from autotool_server import errors
from autotool_server.api import access_log, auth, traces
from autotool_server.api import body as bodies
from autotool_server.api.admission_queue import AdmissionQueue, Ticket
from autotool_server.api.disconnect import ClientGoneError, while_connected
from autotool_server.api.keys.quotas import Grant
from autotool_server.api.metrics import CLIENT_GONE
from autotool_server.api.openapi import documented
from autotool_server.api.protocol import Protocol, StreamWriter
from autotool_server.api.state import ServerState, state_of
from autotool_server.conversation.job import Job
from autotool_server.errors import OverloadedError, RateLimitedError
from autotool_server.request_id import REQUEST_ID
from autotool_server.tracing import spans

logger = logging.getLogger(__name__)

# Above this, rendering and tokenising take long enough to keep other requests waiting.
LARGE_BODY = 32 * 1024
MIN_TRACED_WAIT = 0.001
"""Seconds in the queue from which on they have a span of their own, which costs a hundredth of a small request."""


@cache
def router(protocol: Protocol[Any]) -> APIRouter:
    """Return the routes of a protocol, which find the server in their app: all apps of a process share them."""
    routes = protocol.routes()

    @routes.post(protocol.path, summary=f"POST {protocol.path}", description=inspect.getdoc(type(protocol)))
    @documented(protocol.operation)
    async def create(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction] the decorator keeps it
        return await _accept(protocol, request)

    return routes


async def _accept(protocol: Protocol[Any], request: Request) -> Response:
    """Accept a request. Its job runs while the response is sent, so that a client that leaves ends it."""
    arrived_at = time.perf_counter()
    state = state_of(request)
    with ExitStack() as stack:
        try:
            state = auth.enter(protocol.api_keys(request), request)
            _ = state.service  # refused while the engine starts, before the body is read
            stack.enter_context(state.quotas.place(state.key))
            # Before the body is read, so that a flood of large ones is refused cheaply.
            stack.enter_context(state.admission.slot(state.key_name))
            raw = await bodies.read(request, state, stack)
            with state.shutdown.cuts():
                body, job = await while_connected(request.receive, _prepare(protocol, state, raw, request.headers))
                grant = stack.enter_context(await state.quotas.admit(state.key, job))
                job = replace(job, arrived_at=arrived_at)
                ticket = stack.enter_context(_join(state.queue, job))
                detached = await protocol.detach(body, job, state)
                slot = ExitStack()
                response = JobResponse(protocol, body, job, state, grant=grant, ticket=ticket, slot=slot)
                # What it starts takes its first step later, so that an error here still releases everything.
                answer = response if detached is None else detached(response.run_detached())
                slot.push(stack.pop_all())
                return answer
        except (ClientDisconnect, ClientGoneError):
            state.metrics.refused(CLIENT_GONE)
            return Response(status_code=CLIENT_GONE)
        except Exception as error:
            response = errors.response(error, protocol.error_response)
            state.metrics.refused(response.status_code)
            _note_end(response.status_code, access_log.error_code(error))
            return response


def _join(queue: AdmissionQueue, job: Job) -> Ticket:
    try:
        return queue.join(job)
    except OverloadedError as error:
        _trace_end_of_wait(job, error)
        raise


def _trace_wait(job: Job) -> None:
    """Add the wait in the queue to the trace, unless there was none."""
    if (waited := job.queued.seconds) >= MIN_TRACED_WAIT:
        spans.current().past("admission", waited)


def _trace_end_of_wait(job: Job, error: BaseException) -> None:
    """Add the wait of a job to the trace that does not run: the queue or a stop has refused it, or its client has left."""
    waited = time.perf_counter() - job.queued.began if job.queued.began is not None else 0.0
    spans.current().past("admission", waited, spans.error_type(error))


def _note_end(status: int, error: str | None) -> None:
    """Note for the log and the trace how the current request has ended."""
    access_log.note_end(status, error)
    traces.note_end(status, error)


async def _prepare(protocol: Protocol[Any], state: ServerState, raw: bytes, headers: Headers) -> tuple[BaseModel, Job]:
    """Return the checked body and its job. A large body is worked on in threads, so that streams go on."""
    texts = state.service.texts
    run = texts.run if len(raw) > LARGE_BODY else texts.on_loop()
    with spans.entered(spans.current().child("prepare", {"autotool.body_bytes": len(raw)})):
        parsed = await run(bodies.parse, protocol.body_type, raw, state.settings.unknown_fields)
        body = protocol.with_headers(parsed.body, headers)
        loaded = await protocol.load(body, state)
        if loaded is not body:  # what a small body refers to may be large
            run = texts.run
        return loaded, await protocol.prepare(loaded, parsed.ignored, state, run)


class JobResponse(Response):
    """Runs a job and sends its answer, for as long as the client is there. Releases the slot at the end."""

    def __init__(
        self,
        protocol: Protocol[Any],
        body: BaseModel,
        job: Job,
        state: ServerState,
        *,
        grant: Grant,
        ticket: Ticket,
        slot: ExitStack,
    ) -> None:
        self._protocol = protocol
        self._body = body
        self._job = job
        self._state = state
        self._grant = grant
        self._ticket = ticket
        self._slot = slot
        self._is_detached = False
        self._status = 200
        self._error: str | None = None
        self._is_stream = protocol.is_stream(body)
        self._is_started = False
        self._writer: StreamWriter | None = None
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the job. An error before the response has started is answered when the job is accounted for."""
        if response := await self._run(scope, receive, send):
            await response(scope, receive, send)

    async def run_detached(self) -> JSONResponse | None:
        """Run the job without its client. Return the response to an error."""

        async def never_leaves() -> Message:
            return await asyncio.Future()

        async def discard(_: Message) -> None:
            pass

        self._is_detached = True
        with access_log.in_background(), spans.entered(spans.current().child("background")):
            return await self._run({"type": "http"}, never_leaves, discard)

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> JSONResponse | None:
        """Run, and account for the job however it ends. Return the response to an error, if one is still to be sent."""
        started = time.perf_counter()
        with self._slot:
            try:
                access_log.note_job(self._job, is_stream=self._is_stream)
                answering = self._stream(send) if self._is_stream else self._complete(scope, receive, send)
                await while_connected(receive, answering)
            except ClientGoneError as error:
                self._failed(CLIENT_GONE, error)
            except asyncio.CancelledError as error:
                self._failed(CLIENT_GONE, error)
                raise
            except Exception as error:
                self._failed(self._protocol.error_response(error)[0], error)
                if self._is_started:
                    raise
                return errors.response(error, self._protocol.error_response)
            finally:
                self._grant.status = self._status
                self._state.metrics.ended(self._job, started, self._status, spans.current().exemplar)
                if self._status == HTTPStatus.OK:
                    self._state.note_answered(self._job)
                traces.note_job(self._job, is_stream=self._is_stream)
                _note_end(self._status, self._error)
        return None

    def _failed(self, status: int, error: BaseException) -> None:
        """Keep what the metrics and the log say of an error."""
        self._status, self._error = status, access_log.error_code(error)

    async def _wait(self) -> None:
        """Wait to be admitted. A stop refuses what waits, but for background responses, which have been accepted."""
        if self._ticket.is_waiting:
            shutdown = self._state.shutdown
            try:
                with shutdown.cuts() if self._is_detached else shutdown.arrives():
                    await self._ticket.admission(is_limited=not self._is_detached)
            except BaseException as error:
                _trace_end_of_wait(self._job, error)
                raise
        _trace_wait(self._job)

    async def _complete(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._wait()
        builder = self._protocol.builder(self._body, self._job, self._state)
        with self._state.shutdown.cuts():
            async with aclosing(self._job.run()) as outputs:
                async for choice, output in outputs:
                    builder.add(choice, output)
        await self._protocol.finish(self._body, self._job, self._state, builder)
        response = JSONResponse(builder.build(), headers=self._headers())
        self._is_started = True
        await response(scope, receive, send)

    def _headers(self) -> dict[str, str]:
        """Return the protocol's headers, those of the key's limits, and the one that names the fields which were left out."""
        return {**self._protocol.headers(self._job), **self._grant.headers, **bodies.ignored_header(self._job.ignored)}

    async def _stream(self, send: Send) -> None:
        """Send events. The status waits for the first output, so that a refusal is a status and not a 200."""
        await self._wait()
        async with aclosing(self._events()) as events:
            with self._state.shutdown.cuts():
                first = await anext(events)
            headers = {"content-type": self._protocol.stream_media_type, "cache-control": "no-cache", **self._headers()}
            raw_headers = [(name.encode(), value.encode()) for name, value in headers.items()]
            self._is_started = True
            await send({"type": "http.response.start", "status": 200, "headers": raw_headers})
            try:
                with self._state.shutdown.cuts():
                    await send({"type": "http.response.body", "body": first, "more_body": True})
                    async for event in events:
                        await send({"type": "http.response.body", "body": event, "more_body": True})
            except Exception as error:
                # The status is sent already: the error is an event of the stream.
                if not isinstance(error, OverloadedError | RateLimitedError | InvalidRequestError):
                    logger.exception("stream of request %s failed", REQUEST_ID.get())
                self._failed(self._protocol.error_response(error)[0], error)
                event = (self._writer and self._writer.fail(error)) or self._protocol.error_event(error)
                await send({"type": "http.response.body", "body": event.encode(), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _events(self) -> AsyncGenerator[bytes]:
        writer = self._writer = self._protocol.writer(self._body, self._job, self._state)
        async with aclosing(self._job.run()) as outputs:
            async for choice, output in outputs:
                if text := writer.write(choice, output):
                    yield text.encode()
        await self._protocol.finish(self._body, self._job, self._state, writer)
        yield writer.end().encode()
