"""OpenAI's chat completions as a protocol.

Reference: https://platform.openai.com/docs/api-reference/chat/create
"""

from openai.types.chat import ChatCompletion

from autotool_server.api.chat_completions.request import conversation_request
from autotool_server.api.chat_completions.responses import ChunkWriter, CompletionBuilder
from autotool_server.api.chat_completions.schemas import ChatRequest
from autotool_server.api.protocol import Protocol
from autotool_server.api.state import ServerState
from autotool_server.conversation.job import Job
from autotool_server.conversation.request import ConversationRequest


class ChatCompletions(Protocol[ChatRequest]):
    """`POST /v1/chat/completions`."""

    path = "/v1/chat/completions"
    body_type = ChatRequest
    answer_type = ChatCompletion

    def conversation_request(self, body: ChatRequest) -> ConversationRequest:
        return conversation_request(body)

    def is_stream(self, body: ChatRequest) -> bool:
        return body.stream

    def builder(self, body: ChatRequest, job: Job, state: ServerState) -> CompletionBuilder:
        return CompletionBuilder(job, state.tokenizer, state.settings.reasoning_fields, logprobs=body.logprobs)

    def writer(self, body: ChatRequest, job: Job, state: ServerState) -> ChunkWriter:
        include_usage = body.stream_options is not None and body.stream_options.include_usage
        return ChunkWriter(job, state.tokenizer, state.settings.reasoning_fields, include_usage=include_usage)


PROTOCOL = ChatCompletions()
