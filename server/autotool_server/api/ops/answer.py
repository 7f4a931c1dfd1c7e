"""How a route of operations answers a body: at once, without the engine's queue."""

from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from autotool_server.api import auth
from autotool_server.api import body as bodies
from autotool_server.api.disconnect import ClientGoneError, while_connected
from autotool_server.api.fields import Body
from autotool_server.api.metrics import CLIENT_GONE
from autotool_server.api.state import ServerState

BodyT = TypeVar("BodyT", bound=Body)
Work = Callable[[BodyT, ServerState], Awaitable[Body]]


async def answer(request: Request, body_type: type[BodyT], work: Work[BodyT]) -> Response:
    """Read the body of a request, and answer what `work` makes of it."""
    state = auth.enter(auth.every_key(request), request)
    _ = state.service  # refused while the engine starts, before the body is read
    try:
        with ExitStack() as stack:
            stack.enter_context(state.quotas.place(state.key))
            stack.enter_context(state.admission.slot(state.key_name))
            raw = await bodies.read(request, state, stack)
            with state.shutdown.cuts():
                return await while_connected(request.receive, _response(state, raw, body_type, work))
    except (ClientDisconnect, ClientGoneError):
        return Response(status_code=CLIENT_GONE)


async def _response(state: ServerState, raw: bytes, body_type: type[BodyT], work: Work[BodyT]) -> JSONResponse:
    run = state.service.texts.run
    parsed = await run(bodies.parse, body_type, raw, state.settings.unknown_fields)
    done = await work(parsed.body, state)
    return await run(lambda: JSONResponse(done.model_dump(), headers=bodies.ignored_header(parsed.ignored)))
