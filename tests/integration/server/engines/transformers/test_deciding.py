"""Decisions that are settled in the request that goes on from them, against a score and a new request for what follows."""

import asyncio
import functools
from collections.abc import Iterator, Sequence
from contextlib import aclosing, contextmanager

import pytest
import torch
from support.engines import ask, collect
from support.transformers_engine import TEXT, nothing_left

from autotool_core.errors import EngineError
from autotool_server.engines.base import Sampling
from autotool_server.engines.transformers import TransformersEngine, batcher
from autotool_server.engines.transformers.sampler import Continuation, Sampler

PAIR = (198, 28)
PREFIXES = {198: [198, 31, 40], 28: [28, 500]}


class Likelier:
    """Takes the likelier token of a pair, and the rest of its prefix."""

    def __init__(
        self, engine: TransformersEngine, max_tokens: int = 12, sampling: Sampling | None = None, stops: Sequence[int] = ()
    ) -> None:
        self._engine, self._max_tokens = engine, max_tokens
        self._sampling, self._stops = sampling or Sampling(temperature=0), stops
        self.logprobs: list[float] = []
        self.prefix: list[int] = []

    def decide(self, logits: torch.Tensor) -> Continuation:
        self.logprobs = logits[list(PAIR)].tolist()
        self.prefix = PREFIXES[PAIR[self.logprobs.index(max(self.logprobs))]]
        parts = self._engine._parts
        sampler = Sampler(ask([0], sampling=self._sampling), parts.vocab_size, torch.device("cpu"), None)
        return Continuation(self.prefix, self._max_tokens, self._stops, sampler)


async def decided(engine: TransformersEngine, prompt: Sequence[int], decider: Likelier) -> list[int]:
    tokens: list[int] = []
    async with aclosing(engine._batcher.decide(prompt, decider)) as chunks:
        async for chunk in chunks:
            tokens += chunk.token_ids
    return tokens


async def expected(engine: TransformersEngine, prompt: Sequence[int], max_tokens: int = 12) -> tuple[list[int], float]:
    """Return the tokens of a score and a new request, and the difference of the score's log-probabilities."""
    score = await engine.score("test", prompt, PAIR)
    prefix = PREFIXES[PAIR[score.logprobs.index(max(score.logprobs))]]
    output = await collect(engine, ask([*prompt, *prefix], max_tokens))
    return output.tokens, score.logprobs[0] - score.logprobs[1]


@contextmanager
def rows_of_forwards(engine: TransformersEngine) -> Iterator[list[int]]:
    rows: list[int] = []
    hook = engine._parts.model.register_forward_pre_hook(
        lambda _module, _args, kwargs: rows.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    yield rows
    hook.remove()


async def test_tokens_are_those_of_a_score_and_a_new_request(engine: TransformersEngine, prompt: list[int]) -> None:
    starts = (0, 3, 21, 40)
    alone = [await expected(engine, prompt[start:]) for start in starts]
    deciders = [Likelier(engine) for _ in starts]
    # First in the batch, so that rows with tokens follow those that have none because they decided.
    requests = asyncio.gather(*map(functools.partial(decided, engine), (prompt[start:] for start in starts), deciders))
    greedy = asyncio.create_task(collect(engine, ask(prompt[9:], 20)))
    sampled = asyncio.create_task(collect(engine, ask(prompt[9:], 20, Sampling(seed=1))))
    together, plain, _ = await asyncio.gather(requests, greedy, sampled)
    assert together == [tokens for tokens, _ in alone]
    assert [decider.logprobs[0] - decider.logprobs[1] for decider in deciders] == pytest.approx(
        [difference for _, difference in alone], abs=1e-3
    )
    assert plain.tokens == (await collect(engine, ask(prompt[9:], 20))).tokens
    await nothing_left(engine)


async def test_the_prompt_is_computed_once_and_only_the_prefix_after_it(engine: TransformersEngine) -> None:
    prompt = engine.tokenizer.encode("Nothing of this has been asked before either, so that it takes a whole prefill. " * 7)
    decider = Likelier(engine, 3)
    with rows_of_forwards(engine) as rows:
        await decided(engine, prompt, decider)
    assert rows == [len(prompt), len(decider.prefix), 1, 1]


async def test_pages_of_what_was_decided_are_shared_with_the_next_turn(engine: TransformersEngine) -> None:
    prompt = engine.tokenizer.encode("The next turn begins with all of this, as a conversation does. " * 8)
    decider = Likelier(engine, 40)
    tokens = await decided(engine, prompt, decider)
    following = [*prompt, *decider.prefix, *tokens]
    output = await collect(engine, ask([*following, 5], 1))
    # The last token of an answer is not in the cache.
    assert output.cached_tokens == (len(following) - 1) // batcher.PAGE_TOKENS * batcher.PAGE_TOKENS
    assert (await collect(engine, ask(following, 8))).tokens == (await expected_of_a_fresh_cache(engine, following))


async def expected_of_a_fresh_cache(engine: TransformersEngine, prompt: Sequence[int]) -> list[int]:
    ids = torch.tensor([prompt])
    # The engine's own model has the attention of its batches.
    model = type(engine._parts.model).from_pretrained(engine.checkpoint)
    output = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=8, eos_token_id=None)
    return output[0, len(prompt) :].tolist()


async def test_a_prefix_that_exceeds_a_step_is_prefilled_in_several(
    engine: TransformersEngine, prompt: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    rest = engine.tokenizer.encode(TEXT * 40)[: batcher.STEP_TOKENS + 70]
    for token in PAIR:
        monkeypatch.setitem(PREFIXES, token, [token, *rest])
    tokens, _ = await expected(engine, prompt, 4)
    with rows_of_forwards(engine) as rows:
        assert await decided(engine, prompt, Likelier(engine, 4)) == tokens
    assert rows[-5:] == [batcher.STEP_TOKENS, 71, 1, 1, 1]


async def test_what_follows_ends_by_the_limits_of_its_own(engine: TransformersEngine, prompt: list[int]) -> None:
    free = await decided(engine, prompt, Likelier(engine))
    stop = free[4]
    assert await decided(engine, prompt, Likelier(engine, stops=(stop,))) == free[: free.index(stop) + 1]
    assert await decided(engine, prompt, Likelier(engine, 1)) == free[:1]


class Broken:
    def decide(self, logits: torch.Tensor) -> Continuation:
        raise ZeroDivisionError


async def test_a_decider_that_fails_ends_its_own_request(engine: TransformersEngine, prompt: list[int]) -> None:
    async def fail() -> None:
        async with aclosing(engine._batcher.decide(prompt, Broken())) as chunks:
            with pytest.raises(EngineError):
                await anext(chunks)

    output, _ = await asyncio.gather(collect(engine, ask(prompt, 8)), fail())
    assert output.tokens == (await collect(engine, ask(prompt, 8))).tokens
    await nothing_left(engine)


async def test_leaving_after_the_decision_leaves_nothing(engine: TransformersEngine, prompt: list[int]) -> None:
    async with aclosing(engine._batcher.decide(prompt, Likelier(engine, 500))) as chunks:
        await anext(chunks)
    await nothing_left(engine)
