"""Quotes of chat completions as a protocol of their own, with the body of a chat completion."""

from collections.abc import Sequence
from dataclasses import replace

from autotool_server.api.chat_completions.request import conversation_request
from autotool_server.api.chat_completions.schemas import ChatRequest
from autotool_server.api.protocol import Protocol
from autotool_server.api.quotes.answers import Quote, QuoteBuilder
from autotool_server.api.state import ServerState
from autotool_server.conversation import quoting
from autotool_server.conversation.job import Job
from autotool_server.conversation.text_threads import Run


class Quotes(Protocol[ChatRequest]):
    """`POST /v1/chat/completions/quote`: says which mode a chat completion would have, and how much it is likely to take."""

    path = "/v1/chat/completions/quote"
    body_type = ChatRequest
    answer_type = Quote

    async def prepare(self, body: ChatRequest, ignored: Sequence[str], state: ServerState, run: Run) -> Job:
        request = await run(conversation_request, body)
        return await quoting.prepare(state.service, replace(request, ignored=(*request.ignored, *ignored)), run)

    def builder(self, body: ChatRequest, job: Job, state: ServerState) -> QuoteBuilder:
        return QuoteBuilder(job, state.history)


PROTOCOL = Quotes()
