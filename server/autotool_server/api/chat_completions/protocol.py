"""OpenAI's chat completions as a protocol.

Reference: https://platform.openai.com/docs/api-reference/chat/create
"""

from openai.types.chat import ChatCompletion

from autotool_server.api.chat_completions.answers import REASONING_NAMES, AnswerOptions
from autotool_server.api.chat_completions.request import conversation_request
from autotool_server.api.chat_completions.responses import ChunkWriter, CompletionBuilder
from autotool_server.api.chat_completions.schemas import ChatRequest
from autotool_server.api.fields import StreamOptions
from autotool_server.api.protocol import ConversationProtocol
from autotool_server.api.state import ServerState
from autotool_server.conversation.job import Job
from autotool_server.conversation.request import ConversationRequest


class ChatCompletions(ConversationProtocol[ChatRequest]):
    """`POST /v1/chat/completions`."""

    path = "/v1/chat/completions"
    body_type = ChatRequest
    answer_type = ChatCompletion

    def conversation_request(self, body: ChatRequest) -> ConversationRequest:
        return conversation_request(body)

    def is_stream(self, body: ChatRequest) -> bool:
        return body.stream

    def builder(self, body: ChatRequest, job: Job, state: ServerState) -> CompletionBuilder:
        return CompletionBuilder(job, state.tokenizer, _options(body, state))

    def writer(self, body: ChatRequest, job: Job, state: ServerState) -> ChunkWriter:
        return ChunkWriter(job, state.tokenizer, _options(body, state))


def _options(body: ChatRequest, state: ServerState) -> AnswerOptions:
    stream = body.stream_options or StreamOptions()
    return AnswerOptions(
        reasoning_names=REASONING_NAMES[state.settings.reasoning_fields] if body.include_reasoning else (),
        logprobs=body.logprobs,
        token_ids=body.shows_token_ids,
        include_usage=stream.include_usage,
        continuous_usage=stream.include_usage and stream.continuous_usage_stats,
        include_decision=stream.include_decision,
        function_call=bool(body.functions),
        service_tier=body.service_tier is not None,
    )


PROTOCOL = ChatCompletions()
