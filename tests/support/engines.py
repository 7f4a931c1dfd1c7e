"""Requests and outputs for tests of engines."""

import asyncio
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from prometheus_client import REGISTRY
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from autotool_server.engines.base import Engine, EngineRequest, FinishReason, Sampling, TokenDelta, TokenLogprob

GREEDY = Sampling(temperature=0)
MAX_NUM_SEQS = 16
"""Requests that the engines of the integration tests decode at once. Many in a batch cost little more than a few."""
MAX_NUM_BATCHED_TOKENS = 256
"""Tokens of prompts that the vLLM engine of the integration tests takes in a step: a longer prompt is split."""
_numbers = count()


@dataclass
class Output:
    """A whole generation."""

    tokens: list[int] = field(default_factory=list[int])
    logprobs: list[TokenLogprob] = field(default_factory=list[TokenLogprob])
    finish_reason: FinishReason | None = None
    cached_tokens: int = 0


def ask(prompt_ids: Sequence[int], max_tokens: int = 8, sampling: Sampling = GREEDY, **rest: Any) -> EngineRequest:
    return EngineRequest(f"test-{next(_numbers)}", prompt_ids, max_tokens, sampling=sampling, **rest)


async def collect(engine: Engine, request: EngineRequest) -> Output:
    """Collect everything that a request yields, and check that the deltas follow the contract."""
    output = Output()
    async with aclosing(engine.generate(request)) as deltas:
        async for delta in deltas:
            assert delta.token_ids
            assert output.finish_reason is None
            add_delta(output, delta)
    assert output.finish_reason is not None
    return output


def add_delta(output: Output, delta: TokenDelta) -> None:
    output.tokens += delta.token_ids
    output.logprobs += delta.logprobs or ()
    output.finish_reason = delta.finish_reason
    output.cached_tokens += delta.cached_tokens


async def until(condition: Callable[[], object], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 engines have no event for this
            await asyncio.sleep(0.05)


def held_by_vllm(url: str | None) -> float:
    """Return the requests that run or wait in vLLM's scheduler, of the server at `url`, or of this process if it is None."""
    if url is None:
        return _held(REGISTRY.collect())
    with urllib.request.urlopen(f"{url}/metrics") as page:  # noqa: S310 - our own loopback server
        return _held(text_string_to_metric_families(page.read().decode()))


def _held(families: Any) -> float:
    wanted = ("vllm:num_requests_running", "vllm:num_requests_waiting")
    matches: list[Metric] = [family for family in families if family.name in wanted]
    assert len(matches) == len(wanted)
    return sum(sample.value for family in matches for sample in family.samples)
