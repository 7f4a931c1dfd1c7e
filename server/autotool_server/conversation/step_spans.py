"""The spans of engine steps, by the conventions of OpenTelemetry for generative models and attributes `autotool.*` of our own.

Conventions: https://github.com/open-telemetry/semantic-conventions-genai, in development; docs/guides/traces.md has the table.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from autotool_server.conversation.ledger import Ledger
from autotool_server.engines.base import Engine, EngineRequest
from autotool_server.tracing import spans
from autotool_server.tracing.spans import Attributes, Span

CACHED = "gen_ai.usage.cache_read.input_tokens"
FINISH = "gen_ai.response.finish_reasons"
_PROVIDER = "autotool"


@dataclass(frozen=True, slots=True)
class StepSpans:
    """The spans of the steps of one turn. `describe` returns what only the turn knows, when the step has ended."""

    engine: Engine
    model: str
    """The name under which the model is served."""
    ledger: Ledger
    operation: str
    """What the conventions call a generation: `chat` or `text_completion`."""
    describe: Callable[[], Attributes]

    @contextmanager
    def decision(self, prompt_ids: Sequence[int]) -> Iterator[Span]:
        """Surround the step that decodes the decision token."""
        with self._step("decide", prompt_ids, dict) as span:
            yield span

    @contextmanager
    def generation(self, request: EngineRequest) -> Iterator[EngineRequest]:
        """Surround a generation. Yields the request with the headers of the span."""
        with self._step(self.operation, request.prompt_ids, lambda: _asked(request)) as span:
            yield replace(request, trace_headers=span.headers) if span.headers else request

    @contextmanager
    def _step(self, operation: str, prompt_ids: Sequence[int], asked: Callable[[], Attributes]) -> Iterator[Span]:
        """Start a span, and note in the end what the step was asked and has used, however it ends."""
        decoded, reasoned = self.ledger.completion_tokens, self.ledger.reasoning_tokens
        kind = "internal" if self.engine.in_process else "client"
        with spans.current().child(f"{operation} {self.model}", kind=kind) as span:
            try:
                yield span
            finally:
                if span.is_recording:
                    span.set(
                        {
                            "gen_ai.operation.name": operation,
                            "gen_ai.provider.name": _PROVIDER,
                            "gen_ai.request.model": self.model,
                            "gen_ai.usage.input_tokens": len(prompt_ids),
                            "gen_ai.usage.output_tokens": self.ledger.completion_tokens - decoded,
                            "gen_ai.usage.reasoning.output_tokens": self.ledger.reasoning_tokens - reasoned,
                            **asked(),
                            **self.describe(),
                        }
                    )


def _asked(request: EngineRequest) -> Attributes:
    return {
        "gen_ai.request.max_tokens": request.max_tokens,
        "gen_ai.request.temperature": float(request.sampling.temperature),
    }
