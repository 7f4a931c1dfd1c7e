"""The transformers engine against ground truth: plain forwards and `generate` of the same model."""

import asyncio
import json
import math
import os
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import torch
from support.engines import GREEDY, Output, ask, collect, until
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM
from transformers.generation.continuous_batching.requests import RequestStatus

from autotool_core.errors import EngineError, InvalidRequestError
from autotool_server.engines.base import EngineRequest, Sampling
from autotool_server.engines.transformers import TransformersEngine, batcher
from autotool_server.engines.transformers.sampler import Penalties, Sampler

TEXT = "The old lighthouse keeper wrote a letter every evening. He told of ships, of storms and of the quiet sea. "


def leftovers(engine: TransformersEngine) -> int:
    """Everything that the engine and the manager below it hold for requests, counted."""
    manager = engine._batcher._manager
    scheduler, cache = manager.batch_processor.scheduler, manager.batch_processor.cache
    return (
        engine.in_flight()
        + len(scheduler.active_requests)
        + len(scheduler.waiting_requests)
        + len(scheduler.waiting_requests_order)
        + len(scheduler._requests_to_cancel)
        + manager.input_queue.qsize()
        + manager.output_router.output_queue.qsize()
        + len(manager.output_router.result_handlers)
        + sum(len(allocator.block_table) for allocator in cache.cache_allocators.values())
    )


async def nothing_left(engine: TransformersEngine) -> None:
    await until(lambda: leftovers(engine) == 0)


def states(engine: TransformersEngine) -> list[RequestStatus]:
    scheduler = engine._batcher._manager.batch_processor.scheduler
    return [state.status for state in list(scheduler.active_requests.values())]


@pytest.fixture(scope="module")
async def engine(default_model_dir: Path) -> AsyncIterator[TransformersEngine]:
    engine = TransformersEngine(str(default_model_dir))
    await engine.start()
    yield engine
    await nothing_left(engine)
    await engine.stop()


@pytest.fixture(scope="module")
def model(default_model_dir: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(default_model_dir)


@pytest.fixture(scope="module")
def prompt(engine: TransformersEngine) -> list[int]:
    return engine.tokenizer.encode(TEXT * 4)


@pytest.fixture(scope="module")
def tiny_model_dir(default_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of the default one's vocabulary: for how requests are handled, not for what they say."""
    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = AutoTokenizer.from_pretrained(default_model_dir)
    torch.manual_seed(0)
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=512,
        )
    ).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
async def tiny(tiny_model_dir: Path) -> AsyncIterator[TransformersEngine]:
    engine = TransformersEngine(str(tiny_model_dir), max_num_seqs=2)
    await engine.start()
    yield engine
    await engine.stop()


def raw_logprobs(model: Any, prompt_ids: Sequence[int], tokens: Sequence[int]) -> torch.Tensor:
    """Of every token that could stand where `tokens` stand; shape (tokens, vocabulary)."""
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt_ids, *tokens]])).logits[0]
    return logits[len(prompt_ids) - 1 : -1].log_softmax(-1)


def generated(model: Any, prompt_ids: Sequence[int], max_tokens: int, **options: Any) -> list[int]:
    output = model.generate(
        torch.tensor([prompt_ids]), do_sample=False, max_new_tokens=max_tokens, eos_token_id=None, **options
    )
    return output[0, len(prompt_ids) :].tolist()


# Against the model itself


async def test_greedy_is_generate(engine: TransformersEngine, model: Any, prompt: list[int]) -> None:
    output = await collect(engine, ask(prompt, 24))
    assert output.tokens == generated(model, prompt, 24)
    assert output.finish_reason == "length"


async def test_requests_in_one_batch_do_not_disturb_each_other(
    engine: TransformersEngine, model: Any, prompt: list[int]
) -> None:
    prompts = [prompt[start:] for start in (0, 3, 40)]
    others = [ask(prompt[5:], 16, Sampling(seed=1)), ask(prompt[9:], 16, Sampling(top_p=0.5, presence_penalty=1.0))]
    outputs = await asyncio.gather(*(collect(engine, request) for request in [ask(ids, 16) for ids in prompts] + others))
    assert [output.tokens for output in outputs[:3]] == [generated(model, ids, 16) for ids in prompts]


async def test_repetition_penalty_is_that_of_generate(engine: TransformersEngine, model: Any, prompt: list[int]) -> None:
    output = await collect(engine, ask(prompt, 16, Sampling(temperature=0, repetition_penalty=1.4)))
    assert output.tokens == generated(model, prompt, 16, repetition_penalty=1.4)
    assert output.tokens != generated(model, prompt, 16)


@pytest.mark.parametrize("pair", [(198, 28), (0, 49152)])
async def test_score_is_a_plain_forward(
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


async def test_no_alternatives_and_no_logprobs_are_told_apart(engine: TransformersEngine, prompt: list[int]) -> None:
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
    prompt = engine.tokenizer.encode(TEXT * 60)[: batcher.STEP_TOKENS * 2 + 50]
    output, other = await asyncio.gather(collect(engine, ask(prompt, 4)), collect(engine, ask(prompt[7:90], 20)))
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


async def test_what_the_checkpoint_says(engine: TransformersEngine) -> None:
    assert engine.max_model_len == 8192
    assert engine.eos_token_ids == (2,)
    await engine.health()


# Sampling


async def test_seed_repeats_in_any_company(engine: TransformersEngine, prompt: list[int]) -> None:
    alone = await collect(engine, ask(prompt, 12, Sampling(seed=7)))
    beside = [ask(prompt, 12, Sampling(seed=8)), ask(prompt, 12, Sampling(seed=7)), ask(prompt, 12, Sampling())]
    eight, seven, unseeded = await asyncio.gather(*(collect(engine, request) for request in beside))
    assert seven.tokens == alone.tokens
    assert len({tuple(output.tokens) for output in (seven, eight, unseeded)}) == 3


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
    forced = await collect(engine, ask(prompt, 3, Sampling(logit_bias={49155: 1000.0})))
    assert forced.tokens == [49155] * 3


@pytest.mark.parametrize(
    "sampling", [Sampling(temperature=0, presence_penalty=99), Sampling(temperature=0, frequency_penalty=99)]
)
async def test_output_penalties_leave_the_prompt_alone(engine: TransformersEngine, sampling: Sampling) -> None:
    prompt = engine.tokenizer.encode(" one two three" * 12)
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
    counts = Counter(chooser.choose(torch.tensor([8.0, 4.0, 2.0, 2.0]).log()) for _ in range(draws))
    for token, weight in enumerate(weights):
        assert counts[token] / draws == pytest.approx(weight / sum(weights), abs=0.015)
        assert bool(counts[token]) == bool(weight)


def test_penalties_count_as_in_vllm() -> None:
    sampling = Sampling(presence_penalty=0.5, frequency_penalty=0.25, repetition_penalty=2.0)
    penalties = Penalties(sampling, [0], 4, torch.device("cpu"))
    penalties.note(1)
    penalties.note(1)
    assert penalties.apply(torch.tensor([2.0, 2.0, 2.0, -2.0])).tolist() == [1.0, 1.0 - 0.5 - 2 * 0.25, 2.0, -2.0]
    penalties.note(3)
    assert penalties.apply(torch.tensor([2.0, 2.0, 2.0, -2.0])).tolist() == [1.0, 0.0, 2.0, -4.0 - 0.5 - 0.25]


# Grammar

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}, "size": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["city", "size"],
    "additionalProperties": False,
}
TAG = json.dumps({"type": "structural_tag", "format": {"type": "json_schema", "json_schema": SCHEMA, "max_whitespace_cnt": 1}})


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
    content = {"type": "json_schema", "json_schema": SCHEMA}
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


# Leaving


async def test_leaving_while_decoding(engine: TransformersEngine, prompt: list[int]) -> None:
    for rest in ({}, {"structural_tag": TAG}, {"logprobs": 1}):
        async with aclosing(engine.generate(ask(prompt, 4000, Sampling(), **rest))) as stream:
            await anext(stream)
            assert engine.in_flight() == 1
        assert engine.in_flight() == 0
        await nothing_left(engine)


async def test_leaving_in_prefill(engine: TransformersEngine) -> None:
    prompt = engine.tokenizer.encode("Another prompt of which nothing can be in the cache. " * 600)
    task = asyncio.create_task(collect(engine, ask(prompt, 5)))
    await until(lambda: RequestStatus.PREFILLING in states(engine))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await nothing_left(engine)


async def test_leaving_the_queue(tiny: TransformersEngine) -> None:
    tasks = [asyncio.create_task(collect(tiny, ask([5 + number], 400))) for number in range(5)]
    await until(lambda: len(tiny._batcher._manager.batch_processor.scheduler.waiting_requests) == 3)
    for task in tasks[2:]:
        task.cancel()
    await until(lambda: leftovers(tiny) <= 2 * 3)
    assert tiny.in_flight() == 2
    outputs = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(output, asyncio.CancelledError) for output in outputs] == [False, False, True, True, True]
    await nothing_left(tiny)


async def test_leaving_a_score(tiny: TransformersEngine) -> None:
    task = asyncio.create_task(tiny.score("test", [5] * 400, (1, 2)))
    await asyncio.sleep(0)
    assert tiny.in_flight() == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await nothing_left(tiny)


async def test_leaving_at_once(tiny: TransformersEngine) -> None:
    """Also where the manager has not taken the request over yet, or takes it this very moment."""
    for number in range(300):
        tasks = [asyncio.create_task(collect(tiny, ask([5], 400, structural_tag=tag))) for tag in (None, None, TAG)]
        for _ in range(number % 7):
            await asyncio.sleep(0.0005)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert tiny.in_flight() == 0
    await nothing_left(tiny)


async def test_finished_requests_leave_nothing(tiny: TransformersEngine) -> None:
    requests = [ask([5, 6, 7], 5, Sampling(seed=number), logprobs=number % 2) for number in range(50)]
    outputs = await asyncio.gather(*(collect(tiny, request) for request in requests))
    assert {len(output.tokens) for output in outputs} == {5}
    await nothing_left(tiny)


async def test_full_cache_waits_and_survives_who_leaves(tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batcher, "TYPICAL_TOKENS", 1)
    engine = TransformersEngine(str(tiny_model_dir), max_num_seqs=4)
    await engine.start()
    prompts = [[5 + number] * 9 for number in range(2)]
    undisturbed = await collect(engine, ask(prompts[1], 480))
    scheduler = engine._batcher._manager.batch_processor.scheduler
    leaver, stayer = [asyncio.create_task(collect(engine, ask(ids, 480))) for ids in prompts]
    await until(lambda: scheduler.block_new_requests)
    leaver.cancel()
    async with asyncio.timeout(60):
        assert (await stayer).tokens == undisturbed.tokens
    await nothing_left(engine)
    await engine.stop()


# Refusals and failures


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (ask([5] * 500, 100), None),
        (ask([]), "messages"),
        (ask([49156]), "messages"),
        (ask([5], sampling=Sampling(logit_bias={49156: 1.0})), "logit_bias"),
        (ask([5], sampling=Sampling(seed=2**64)), "seed"),
    ],
)
async def test_refused(tiny: TransformersEngine, request_: EngineRequest, field: str | None) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        await collect(tiny, request_)
    assert refusal.value.field == field
    await nothing_left(tiny)


async def test_score_compares_two(tiny: TransformersEngine) -> None:
    with pytest.raises(ValueError, match="two candidates"):
        await tiny.score("test", [5], (1, 2, 3))


async def test_failure_of_one_request_is_its_own(tiny: TransformersEngine) -> None:
    broken = ask([5], 8, Sampling(logit_bias={3: math.nan}))
    failure, output = await asyncio.gather(
        collect(tiny, broken), collect(tiny, ask([5], 8, Sampling())), return_exceptions=True
    )
    assert isinstance(failure, EngineError)
    assert isinstance(output, Output)
    await nothing_left(tiny)
    await tiny.health()


async def test_death_of_the_thread_is_told(tiny: TransformersEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: Any) -> None:
        raise RuntimeError("out of order")

    async with aclosing(tiny.generate(ask([5], 400))) as stream:
        await anext(stream)
        monkeypatch.setattr(tiny._parts.model, "forward", fail)
        with pytest.raises(EngineError):
            async for _ in stream:
                pass
    with pytest.raises(EngineError, match="Restart"):
        await tiny.health()
    with pytest.raises(EngineError):
        await collect(tiny, ask([5]))
    assert tiny.in_flight() == 0


async def test_stop_ends_what_is_in_flight(tiny: TransformersEngine) -> None:
    tasks = [asyncio.create_task(collect(tiny, ask([5 + number], 400))) for number in range(4)]
    await until(lambda: len(states(tiny)) == 2)
    thread = tiny._batcher._manager._generation_thread
    await tiny.stop()
    await tiny.stop()
    outputs = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(output, EngineError) for output in outputs)
    assert not thread.is_alive()
    assert tiny.in_flight() == 0
    with pytest.raises(EngineError, match="not running"):
        await tiny.health()
    with pytest.raises(EngineError, match="not running"):
        await collect(tiny, ask([5]))


async def test_start_leaves_the_event_loop_free(default_model_dir: Path) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticker = asyncio.create_task(tick())
    engine = TransformersEngine(str(default_model_dir), max_num_seqs=1, max_model_len=512)
    await engine.start()
    ticker.cancel()
    assert engine.max_model_len == 512
    assert ticks > 5
    await engine.stop()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"dtype": "float33"}, "dtype"),
        ({"device": "abacus"}, "device"),
        ({"max_model_len": 10**6}, "max_model_len"),
    ],
)
async def test_impossible_setting_is_named(tiny_model_dir: Path, settings: dict[str, Any], said: str) -> None:
    engine = TransformersEngine(str(tiny_model_dir), **settings)
    with pytest.raises(EngineError, match=said):
        await engine.start()
    await engine.stop()


async def test_missing_and_broken_checkpoints(tiny_model_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="No tokenizer"):
        await TransformersEngine(str(tmp_path / "nothing")).start()
    broken = tmp_path / "broken"
    shutil.copytree(tiny_model_dir, broken)
    os.truncate(broken / "model.safetensors", 1000)
    with pytest.raises(EngineError, match="No model"):
        await TransformersEngine(str(broken)).start()


async def test_cache_beyond_memory_names_the_mend(tiny_model_dir: Path) -> None:
    engine = TransformersEngine(str(tiny_model_dir), max_num_seqs=10**8)
    with pytest.raises(EngineError, match="max_num_seqs"):
        await engine.start()
