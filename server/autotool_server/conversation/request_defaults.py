"""What a request gets that leaves it out: the sampling and the limit of tokens of the generation config."""

from dataclasses import dataclass, field, replace
from typing import Any

from autotool_server.conversation.request import ConversationRequest
from autotool_server.engines.base import Sampling
from autotool_server.settings import GenerationConfig, Settings

SAMPLING_NAMES = (
    *("temperature", "top_p", "top_k", "min_p"),
    *("repetition_penalty", "presence_penalty", "frequency_penalty"),
)
"""What a generation config says of sampling, by the names of `Sampling`."""


@dataclass(frozen=True, slots=True)
class RequestDefaults:
    """The defaults of one server."""

    sampling: Sampling = field(default_factory=Sampling)
    max_tokens: int | None = None
    """Limit of decoded tokens where the request sets none; None leaves it to `conversation.budgets`."""
    max_tokens_limit: int | None = None
    """The largest number of tokens that a request may have decoded, the reasoning included."""

    @classmethod
    def of(cls, settings: Settings, config: GenerationConfig) -> "RequestDefaults":
        """Return the defaults by a generation config, which the settings override.

        A limit that the operator gave bounds every request, one of the checkpoint only those without a limit, as in vLLM.
        """
        override = settings.override_generation_config
        chosen = config.overridden_by(override)
        is_operators = settings.generation_config not in ("auto", "vllm") or override.max_new_tokens is not None
        return cls(
            Sampling(**_given_sampling(chosen)),
            chosen.max_new_tokens if settings.default_max_tokens is None else None,
            chosen.max_new_tokens if is_operators else None,
        )

    def bounded(self, request: ConversationRequest) -> ConversationRequest:
        """Return a request with the limits of tokens that hold for it."""
        asked = self.max_tokens if request.max_tokens is None else request.max_tokens
        limit, reasoning = self.max_tokens_limit, request.max_reasoning_tokens
        if limit is None:
            return request if asked == request.max_tokens else replace(request, max_tokens=asked)
        if asked is None or asked >= limit:
            return replace(request, max_tokens=limit, max_tokens_is_total=True)
        if reasoning is None or request.max_tokens_is_total:
            return replace(request, max_tokens=asked)
        return replace(request, max_tokens=asked, max_reasoning_tokens=min(reasoning, limit - asked))

    def bounded_text(self, max_tokens: int) -> int:
        """Return the limit that holds for plain text."""
        return max_tokens if self.max_tokens_limit is None else min(max_tokens, self.max_tokens_limit)


def _given_sampling(config: GenerationConfig) -> dict[str, Any]:
    given = {name: value for name in SAMPLING_NAMES if (value := getattr(config, name)) is not None}
    if config.do_sample is False:
        given["temperature"] = 0.0
    if "top_k" in given:
        given["top_k"] = max(given["top_k"], 0)
    return given
