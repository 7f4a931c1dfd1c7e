"""The output of the transformers engine, compared with plain forwards and `generate` of the same model."""

import asyncio
import json
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from support.engines import GREEDY, ask, collect
from support.transformers_engine import SCHEMA, TAG, TEXT, generated, raw_logprobs
from torch.utils._python_dispatch import TorchDispatchMode

from autotool_core.errors import InvalidRequestError
from autotool_server.engines.base import Sampling
from autotool_server.engines.transformers import TransformersEngine, batcher
from autotool_server.engines.transformers.sampler import Penalties, Sampler

# Against the model itself


async def test_greedy_is_generate(engine: TransformersEngine, model: Any, prompt: list[int]) -> None:
    output = await collect(engine, ask(prompt, 24))
    assert output.tokens == generated(model, prompt, 24)
    assert output.finish_reason == "length"


async def test_requests_in_one_batch_are_independent(engine: TransformersEngine, model: Any, prompt: list[int]) -> None:
    prompts = [prompt[start:] for start in (0, 3, 40)]
    others = [ask(prompt[5:], 16, Sampling(seed=1)), ask(prompt[9:], 16, Sampling(top_p=0.5, presence_penalty=1.0))]
    outputs = await asyncio.gather(*(collect(engine, request) for request in [ask(ids, 16) for ids in prompts] + others))
    assert [output.tokens for output in outputs[:3]] == [generated(model, ids, 16) for ids in prompts]


async def test_repetition_penalty_is_that_of_generate(engine: TransformersEngine, model: Any, prompt: list[int]) -> None:
    output = await collect(engine, ask(prompt, 16, Sampling(temperature=0, repetition_penalty=1.4)))
    assert output.tokens == generated(model, prompt, 16, repetition_penalty=1.4)
    assert output.tokens != generated(model, prompt, 16)


@pytest.mark.parametrize("pair", [(198, 28), (0, 1024)])
async def test_score_equals_a_plain_forward(
    engine: TransformersEngine, model: Any, prompt: list[int], pair: tuple[int, int]
) -> None:
    score = await engine.score("test", prompt, pair)
    raw = raw_logprobs(model, prompt, [0])[0]
    assert score.logprobs[0] - score.logprobs[1] == pytest.approx(float(raw[pair[0]] - raw[pair[1]]), abs=1e-3)


async def test_logprobs_are_raw(engine: TransformersEngine, model: Any, prompt: list[int]) -> None:
    sampling = Sampling(temperature=2.0, seed=5, logit_bias={198: 3.0}, frequency_penalty=1.0)
    output = await collect(engine, ask(prompt, 8, sampling, logprobs=3))
    raw = raw_logprobs(model, prompt, output.tokens)
    assert [entry.token_id for entry in output.logprobs] == output.tokens
    for entry, row in zip(output.logprobs, raw, strict=True):
        assert entry.logprob == pytest.approx(float(row[entry.token_id]), abs=1e-3)
        assert [logprob for _, logprob in entry.top] == pytest.approx(row.topk(3).values.tolist(), abs=1e-3)


async def test_zero_alternatives_differ_from_no_logprobs(engine: TransformersEngine, prompt: list[int]) -> None:
    assert [entry.top for entry in (await collect(engine, ask(prompt, 2, logprobs=0))).logprobs] == [(), ()]
    assert (await collect(engine, ask(prompt, 2))).logprobs == []


# The prompt's cache


async def test_generation_reuses_the_scored_prompt(engine: TransformersEngine) -> None:
    prompt = engine.tokenizer.encode("Nobody has asked this before, so nothing of it is cached yet. " * 6)
    forwards: list[int] = []
    hook = engine._parts.model.register_forward_pre_hook(
        lambda _module, _args, kwargs: forwards.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    try:
        score = await engine.score("test", prompt, (198, 28))
        output = await collect(engine, ask([*prompt, 198], 2))
    finally:
        hook.remove()
    shared = len(prompt) // batcher.PAGE_TOKENS * batcher.PAGE_TOKENS
    assert (score.cached_tokens, output.cached_tokens) == (0, shared)
    assert forwards == [len(prompt), len(prompt) + 1 - shared, 1]


async def test_long_prompt_is_prefilled_in_steps(engine: TransformersEngine, model: Any) -> None:
    prompt = engine.tokenizer.encode(TEXT * 60)[: batcher.STEP_TOKENS * 2 - 8]
    # The other one is the first in the first step, and takes so much of it that two are too few for the long one.
    other, output = await asyncio.gather(collect(engine, ask(prompt[7:90], 20)), collect(engine, ask(prompt, 4)))
    assert output.tokens == generated(model, prompt, 4)
    assert other.tokens == generated(model, prompt[7:90], 20)


# Where decoding ends


async def test_stop_token_is_the_last(engine: TransformersEngine, prompt: list[int]) -> None:
    free = (await collect(engine, ask(prompt, 12))).tokens
    stop = free[5]
    output = await collect(engine, ask(prompt, 12, stop_token_ids=(stop, 3)))
    assert output.tokens == free[: free.index(stop) + 1]
    assert output.finish_reason == "stop"


async def test_end_of_sequence_stops_only_if_listed(engine: TransformersEngine, prompt: list[int]) -> None:
    end = engine.eos_token_ids[0]
    always = Sampling(temperature=0, logit_bias={end: 1000.0})
    assert (await collect(engine, ask(prompt, 3, always))).tokens == [end] * 3
    output = await collect(engine, ask(prompt, 3, always, stop_token_ids=(end,)))
    assert (output.tokens, output.finish_reason) == ([end], "stop")


async def test_properties_of_the_checkpoint(engine: TransformersEngine) -> None:
    assert engine.max_model_len == 1024
    assert engine.eos_token_ids == (2,)
    await engine.health()


# Sampling


async def test_seed_repeats_in_any_company(engine: TransformersEngine, prompt: list[int]) -> None:
    # Hot, since this model is so sure of its tokens that two draws may well be the same.
    seven, eight, unseeded = (Sampling(temperature=3.0, seed=seed) for seed in (7, 8, None))
    alone = await collect(engine, ask(prompt, 12, seven))
    requests = [ask(prompt, 12, sampling) for sampling in (eight, seven, unseeded)]
    outputs = await asyncio.gather(*(collect(engine, request) for request in requests))
    assert outputs[1].tokens == alone.tokens
    assert len({tuple(output.tokens) for output in outputs}) == 3


@pytest.mark.parametrize("narrow", [Sampling(top_k=1), Sampling(top_p=1e-6), Sampling(min_p=1.0), Sampling(temperature=1e-6)])
async def test_narrowest_sampling_is_greedy(engine: TransformersEngine, prompt: list[int], narrow: Sampling) -> None:
    assert (await collect(engine, ask(prompt, 8, narrow))).tokens == (await collect(engine, ask(prompt, 8))).tokens


async def test_top_k_keeps_k(engine: TransformersEngine, prompt: list[int]) -> None:
    output = await collect(engine, ask(prompt, 24, Sampling(temperature=5.0, top_k=3, seed=1), logprobs=3))
    ranks = [[token for token, _ in entry.top].index(entry.token_id) for entry in output.logprobs]
    assert set(ranks) == {0, 1, 2}


async def test_bias_forces_and_bans(engine: TransformersEngine, prompt: list[int]) -> None:
    first = (await collect(engine, ask(prompt, 1))).tokens[0]
    banned = await collect(engine, ask(prompt, 8, Sampling(temperature=0, logit_bias={first: -1000.0})))
    assert first not in banned.tokens
    forced = await collect(engine, ask(prompt, 3, Sampling(logit_bias={1027: 1000.0})))
    assert forced.tokens == [1027] * 3


@pytest.mark.parametrize(
    "sampling", [Sampling(temperature=0, presence_penalty=99), Sampling(temperature=0, frequency_penalty=99)]
)
async def test_output_penalties_leave_the_prompt_alone(engine: TransformersEngine, sampling: Sampling) -> None:
    ids = engine.tokenizer.encode(" one two three" * 12)
    # The token that the answer begins with is one of the prompt, which a penalty of those would ban.
    prompt = [*(await collect(engine, ask(ids, 1))).tokens, *ids]
    free = (await collect(engine, ask(prompt, 9))).tokens
    output = await collect(engine, ask(prompt, 9, sampling))
    assert len(set(free)) < len(free)
    assert len(set(output.tokens)) == len(output.tokens)
    assert output.tokens[0] == free[0]
    assert free[0] in prompt


def sampler(sampling: Sampling, prompt_ids: Sequence[int] = (0,), vocabulary: int = 4) -> Sampler:
    return Sampler(ask(prompt_ids, sampling=sampling), vocabulary, torch.device("cpu"), None)


@pytest.mark.parametrize(
    ("sampling", "weights"),
    [
        (Sampling(seed=0), [8, 4, 2, 2]),
        (Sampling(seed=0, temperature=0.5), [64, 16, 4, 4]),
        (Sampling(seed=0, top_p=0.7), [8, 4, 0, 0]),
        # In any other order the minimum would let the third token in or the second one out.
        (Sampling(seed=0, temperature=0.5, min_p=0.2), [64, 16, 0, 0]),
        (Sampling(seed=0, logit_bias={1: math.log(2)}, top_k=2), [8, 8, 0, 0]),
    ],
)
def test_distribution(sampling: Sampling, weights: list[int]) -> None:
    chooser, draws = sampler(sampling), 20_000
    counts = Counter(chooser.sample(torch.tensor([8.0, 4.0, 2.0, 2.0]).log()) for _ in range(draws))
    for token, weight in enumerate(weights):
        assert counts[token] / draws == pytest.approx(weight / sum(weights), abs=0.015)
        assert bool(counts[token]) == bool(weight)


class Operations(TorchDispatchMode):
    """Counts the operations on tensors."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def test_a_bias_of_every_token_costs_no_more_steps_than_that_of_one() -> None:
    counts: list[int] = []
    for biases in ({0: 1.0}, {token: float(token) for token in range(1000)}):
        chooser = sampler(Sampling(temperature=0, logit_bias=biases), vocabulary=1000)
        with Operations() as operations:
            chooser.sample(torch.zeros(1000))
        counts.append(operations.count)
    assert counts[0] == counts[1]


def test_penalties_count_as_in_vllm() -> None:
    sampling = Sampling(presence_penalty=0.5, frequency_penalty=0.25, repetition_penalty=2.0)
    penalties = Penalties(sampling, [0], 4, torch.device("cpu"))
    penalties.count(1)
    penalties.count(1)
    assert penalties.apply(torch.tensor([2.0, 2.0, 2.0, -2.0])).tolist() == [1.0, 1.0 - 0.5 - 2 * 0.25, 2.0, -2.0]
    penalties.count(3)
    assert penalties.apply(torch.tensor([2.0, 2.0, 2.0, -2.0])).tolist() == [1.0, 0.0, 2.0, -4.0 - 0.5 - 0.25]


# Grammar


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(temperature=1.5, seed=3), Sampling(seed=4, frequency_penalty=2.0)])
async def test_grammar_makes_json(engine: TransformersEngine, prompt: list[int], sampling: Sampling) -> None:
    output = await collect(engine, ask(prompt, 80, sampling, structural_tag=TAG, stop_token_ids=(2,)))
    assert output.finish_reason == "stop"
    assert output.tokens[-1] == 2
    value = json.loads(engine.tokenizer.decode(output.tokens[:-1]))
    assert set(value) == {"city", "size"}
    assert isinstance(value["size"], int)


async def test_grammar_ends_without_stop_tokens(engine: TransformersEngine, prompt: list[int]) -> None:
    output = await collect(engine, ask(prompt, 80, structural_tag=TAG))
    assert (output.finish_reason, output.tokens[-1]) == ("stop", engine.eos_token_ids[0])


async def test_grammar_is_cut_at_max_tokens(engine: TransformersEngine, prompt: list[int]) -> None:
    output = await collect(engine, ask(prompt, 3, structural_tag=TAG))
    assert (output.finish_reason, len(output.tokens)) == ("length", 3)


async def test_grammar_of_a_tool_call_uses_the_markers(engine: TransformersEngine, prompt: list[int]) -> None:
    content = {"type": "json_schema", "json_schema": SCHEMA, "max_whitespace_cnt": 1}
    tag = {"type": "tag", "begin": "<tool_call>\n", "content": content, "end": "\n</tool_call>"}
    request = ask(prompt, 80, structural_tag=json.dumps({"type": "structural_tag", "format": tag}))
    text = engine.tokenizer.decode((await collect(engine, request)).tokens)
    assert text.startswith("<tool_call>\n{")
    assert "\n</tool_call>" in text


@pytest.mark.parametrize("tag", ["{", '{"type": "structural_tag"}', TAG.replace('"integer"', '"secret-of-the-body"')])
async def test_invalid_grammar_is_refused_without_an_echo(engine: TransformersEngine, prompt: list[int], tag: str) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        await collect(engine, ask(prompt, structural_tag=tag))
    assert refusal.value.field == "response_format"
    assert "secret" not in str(refusal.value)
    assert engine.in_flight() == 0
