"""OpenAI's completions as a protocol: plain text, without a chat template or modes.

Reference: https://platform.openai.com/docs/api-reference/completions/create
"""

from collections.abc import Sequence

from openai.types import Completion

from autotool_core.tokenizer import Tokenizer
from autotool_server.api.completions.logprobs import LogprobLists
from autotool_server.api.completions.request import plain_request, prompts
from autotool_server.api.completions.responses import ChunkWriter, CompletionBuilder
from autotool_server.api.completions.schemas import CompletionRequest
from autotool_server.api.protocol import Protocol
from autotool_server.api.state import ServerState
from autotool_server.conversation import plain
from autotool_server.conversation.job import Job
from autotool_server.conversation.text_threads import Run


class Completions(Protocol[CompletionRequest]):
    """`POST /v1/completions`."""

    path = "/v1/completions"
    body_type = CompletionRequest
    answer_type = Completion

    async def prepare(self, body: CompletionRequest, ignored: Sequence[str], state: ServerState, run: Run) -> Job:
        return await run(lambda: plain.prepare(state.service, plain_request(body, ignored)))

    def is_stream(self, body: CompletionRequest) -> bool:
        return body.stream

    def builder(self, body: CompletionRequest, job: Job, state: ServerState) -> CompletionBuilder:
        return CompletionBuilder(job, _echoed(body, state.tokenizer), _logprobs(body, job, state.tokenizer))

    def writer(self, body: CompletionRequest, job: Job, state: ServerState) -> ChunkWriter:
        options = body.stream_options
        include_usage = options is not None and options.include_usage
        return ChunkWriter(
            job,
            _echoed(body, state.tokenizer),
            _logprobs(body, job, state.tokenizer),
            include_usage=include_usage,
            continuous_usage=options is not None and options.continuous_usage_stats,
        )


def _echoed(body: CompletionRequest, tokenizer: Tokenizer) -> list[str]:
    """Return what the text of each choice begins with."""
    if not body.echo:
        return [""] * (len(prompts(body)) * body.n)
    # By the backend, as the text is decoded: the tokenizer itself may drop spaces.
    decode = tokenizer.backend_tokenizer.decode
    texts = [prompt if isinstance(prompt, str) else decode(prompt, skip_special_tokens=False) for prompt in prompts(body)]
    return [text for text in texts for _ in range(body.n)]


def _logprobs(body: CompletionRequest, job: Job, tokenizer: Tokenizer) -> list[LogprobLists] | None:
    if body.logprobs is None:
        return None
    kept = () if body.skip_special_tokens else tokenizer.all_special_ids
    return [LogprobLists(tokenizer, kept) for _ in job.choices]


PROTOCOL = Completions()
