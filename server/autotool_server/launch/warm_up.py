"""The requests that a server sends to itself before it is ready, because the first of each kind is slow.

Libraries are imported, processes for schemas started, grammars compiled and kernels chosen when they are first needed. A client
would wait for that, and a balancer that sends requests as soon as a server is ready would send them into the wait.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import aclosing, suppress

from autotool_core.errors import InvalidRequestError
from autotool_server.conversation.request import ClientTool, ConversationRequest
from autotool_server.conversation.service import ConversationService
from autotool_server.errors import OverloadedError

logger = logging.getLogger(__name__)

MESSAGES = ({"role": "user", "content": "What is the time?"},)
MAX_TOKENS = 2
REMOTE_SECONDS = 30.0
"""The time that a remote engine gets for all of them. It may be busy with other clients, or hang."""
TOOL = ClientTool(
    {
        "name": "get_time",
        "description": "Tell the time.",
        "parameters": {"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]},
    },
    "tools.0.function",
)


async def warm_up(service: ConversationService) -> None:
    """Answer a request of each kind. Raises EngineError if the engine of this process has failed.

    A request that fails by itself is left to the client who sends such a one.
    """
    limit = None if service.engine.in_process else REMOTE_SECONDS
    with suppress(TimeoutError):
        async with asyncio.timeout(limit):
            # At the same time, because one imports and compiles what the others do not need.
            tried = [_try(service, request) for request in _requests(service)]
            errors = await asyncio.gather(*tried, return_exceptions=True)
        for error in filter(None, errors):
            raise error


async def _try(service: ConversationService, request: ConversationRequest) -> None:
    try:
        await _answer(service, request)
    except (InvalidRequestError, OverloadedError):
        return  # the checkpoint, its template, its context or its grammars have no place for it
    except Exception as error:  # whatever a request of this kind would answer with 500 or 503
        if not service.engine.in_process:
            return  # a remote engine may be back at any time
        await service.engine.health()
        logger.warning("A request of the warm-up failed, as those of clients may (%s).", type(error).__name__, exc_info=True)


def _requests(service: ConversationService) -> Iterator[ConversationRequest]:
    """Return a request in the default mode, one that must call a tool, and one whose answer has a schema."""
    # With a bias of their own they have no target, whose controller is to learn from clients alone.
    common = {"mode": service.default_mode, "max_tokens": MAX_TOKENS, "reasoning_bias": 0.0}
    yield ConversationRequest(MESSAGES, **common)
    yield ConversationRequest(MESSAGES, **common, client_tools=(TOOL,), tool_choice="required")
    yield ConversationRequest(MESSAGES, **common, content_schema={"type": "object"})


async def _answer(service: ConversationService, request: ConversationRequest) -> None:
    job = await service.prepare(request, service.texts.run)
    async with aclosing(job.run()) as outputs:
        async for _ in outputs:
            pass
