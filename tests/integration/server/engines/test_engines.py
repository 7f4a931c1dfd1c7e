"""One conformance suite for every engine: each test runs against all of them, on the default model's base.

Requests of which none needs the end of another are sent at once: one batch takes little longer than one request.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from support.engines import GREEDY, MAX_NUM_BATCHED_TOKENS, MAX_NUM_SEQS, ask, collect, held_by_vllm, until
from transformers import AutoModelForCausalLM

from autotool_core.errors import InvalidRequestError
from autotool_server.engines.base import Engine, Sampling

SCHEMA = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "Rome"]}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
JSON_FORMAT = {"type": "json_schema", "json_schema": SCHEMA}
BEGIN, END = '<tool_call>\n{"name": "book", "arguments": ', "}\n</tool_call>"
TAG_FORMAT = {"type": "tag", "begin": BEGIN, "content": JSON_FORMAT, "end": END}


@pytest.fixture(scope="session")
def model(base_model_dir: Path) -> Any:
    """The checkpoint in plain transformers, as the reference."""
    return AutoModelForCausalLM.from_pretrained(base_model_dir, dtype=torch.float32)


@pytest.fixture
def held(engine: Engine, request: pytest.FixtureRequest) -> Callable[[], float]:
    """Return the function that counts the requests held by the library or the server behind the engine."""
    if engine.name == "transformers":
        return engine.in_flight  # what its batcher holds is looked at in transformers/
    url = request.getfixturevalue("stock_vllm") if engine.name == "remote" else None
    return lambda: held_by_vllm(url)


def chat(engine: Engine, question: str) -> list[int]:
    return engine.tokenizer.encode(f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n", add_special_tokens=False)


@pytest.fixture
def prompt(engine: Engine) -> list[int]:
    return chat(engine, "Tell me about the history of Paris, and of the river that runs through it.")


def raw_logprobs(model: Any, prompt_ids: Sequence[int], tokens: Sequence[int]) -> torch.Tensor:
    """Return the log-probabilities of all tokens at the positions of `tokens`; shape (tokens, vocabulary), nats."""
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt_ids, *tokens]])).logits[0]
    return logits[len(prompt_ids) - 1 : -1].log_softmax(-1)


# What is decoded


async def test_greedy_output_equals_generate(engine: Engine, model: Any, prompt: list[int]) -> None:
    ids = torch.tensor([prompt])
    # Left to itself, `generate` masks the prompt's end-of-turn tokens, because they are also the padding.
    settings = {"attention_mask": torch.ones_like(ids), "do_sample": False, "max_new_tokens": 16, "eos_token_id": None}
    expected = model.generate(ids, **settings)
    outputs = [await collect(engine, ask(prompt, 16)) for _ in range(2)]
    assert [output.tokens for output in outputs] == [expected[0, len(prompt) :].tolist()] * 2
    assert outputs[0].finish_reason == "length"


async def test_eight_concurrent_requests_equal_single_ones(engine: Engine) -> None:
    topics = ("tea", "ships", "the moon", "bread", "a very long and winding road", "cats", "rain", "chess")
    requests = [lambda topic=topic: ask(chat(engine, f"Say something about {topic}."), 6) for topic in topics]
    alone = [(await collect(engine, request())).tokens for request in requests]
    together = await asyncio.gather(*(collect(engine, request()) for request in requests))
    assert [output.tokens for output in together] == alone


async def test_one_token(engine: Engine, prompt: list[int]) -> None:
    output = await collect(engine, ask(prompt, 1))
    assert (len(output.tokens), output.finish_reason) == (1, "length")


async def test_stop_token_is_the_last(engine: Engine, prompt: list[int]) -> None:
    free = (await collect(engine, ask(prompt, 12))).tokens
    stop = free[6]
    output = await collect(engine, ask(prompt, 12, stop_token_ids=(stop, engine.eos_token_ids[0])))
    assert output.tokens == free[: free.index(stop) + 1]
    assert output.finish_reason == "stop"


async def test_end_of_sequence_stops_only_if_listed(engine: Engine, prompt: list[int]) -> None:
    end = engine.eos_token_ids[0]
    forced = Sampling(temperature=0, logit_bias={end: 100.0})
    assert (await collect(engine, ask(prompt, 3, forced))).tokens == [end] * 3
    output = await collect(engine, ask(prompt, 3, forced, stop_token_ids=(end,)))
    assert (output.tokens, output.finish_reason) == ([end], "stop")


async def test_no_stop_token_comes_before_min_tokens(engine: Engine, prompt: list[int]) -> None:
    end = engine.eos_token_ids[0]
    forced = Sampling(temperature=0, logit_bias={end: 100.0})
    output = await collect(engine, ask(prompt, 8, forced, stop_token_ids=(end,), min_tokens=3))
    assert (len(output.tokens), output.tokens.index(end), output.finish_reason) == (4, 3, "stop")


async def test_a_complete_grammar_ends_before_min_tokens(engine: Engine, prompt: list[int]) -> None:
    tag = json.dumps({"type": "structural_tag", "format": {"type": "const_string", "value": "yes"}})
    output = await collect(engine, ask(prompt, 12, structural_tag=tag, min_tokens=10))
    text = engine.tokenizer.decode([token for token in output.tokens if token not in engine.eos_token_ids])
    assert (text, output.finish_reason) == ("yes", "stop")


async def test_a_priority_changes_no_token(engine: Engine, prompt: list[int]) -> None:
    outputs = [await collect(engine, ask(prompt, 4, priority=priority)) for priority in (0, -3, 5)]
    assert len({tuple(output.tokens) for output in outputs}) == 1


# The decision


async def test_score_equals_a_plain_forward(engine: Engine, model: Any, prompt: list[int]) -> None:
    prompt = [*prompt, *engine.tokenizer.encode("<think>")]
    [long], [short] = engine.tokenizer.encode("\n"), engine.tokenizer.encode("\n\n")
    expected = raw_logprobs(model, prompt, [long])[0]
    for candidates in ((long, short), (short, long)):
        score = await engine.score("decision", prompt, candidates)
        difference = float(expected[candidates[0]] - expected[candidates[1]])
        assert score.logprobs[0] - score.logprobs[1] == pytest.approx(difference, abs=2e-3)


async def test_score_of_many_candidates(engine: Engine, model: Any, prompt: list[int]) -> None:
    candidates = tuple(engine.tokenizer.encode(letter)[0] for letter in "ABCDEFGHIJKLMNOPQRST")
    expected = raw_logprobs(model, prompt, [candidates[0]])[0]
    score = await engine.score("decision", prompt, candidates)
    differences = [logprob - score.logprobs[0] for logprob in score.logprobs]
    assert differences == pytest.approx([float(expected[token] - expected[candidates[0]]) for token in candidates], abs=2e-3)


async def test_generation_reuses_the_scored_prompt(engine: Engine) -> None:
    prompt = chat(engine, f"Nobody asked {engine.name} this before. " * 20)
    score = await engine.score("decision", prompt, (198, 1116))
    output = await collect(engine, ask([*prompt, 198], 2))
    assert score.cached_tokens < len(prompt) // 2 < output.cached_tokens <= len(prompt)


# Sampling


async def test_bias_forces_a_token(engine: Engine, prompt: list[int]) -> None:
    [token] = engine.tokenizer.encode("</think>")
    assert (await collect(engine, ask(prompt, 3, Sampling(logit_bias={token: 100.0})))).tokens == [token] * 3


async def test_seed_repeats(engine: Engine, prompt: list[int]) -> None:
    seeds = (7, 7, 8, None, None)
    outputs = await asyncio.gather(*(collect(engine, ask(prompt, 12, Sampling(seed=seed))) for seed in seeds))
    tokens = [tuple(output.tokens) for output in outputs]
    assert tokens[0] == tokens[1]
    assert len(set(tokens)) == 4


async def test_a_seed_gives_the_same_output_however_the_prompt_is_split(engine: Engine) -> None:
    """vLLM's own worker for CPUs, and with it its engine, is ended by a seed if a prompt is split."""
    prompt = list(range(1000, 1000 + 2 * MAX_NUM_BATCHED_TOKENS + 50))
    outputs = [await collect(engine, ask(prompt, 12, Sampling(seed=7))) for _ in range(2)]
    assert outputs[0].tokens == outputs[1].tokens
    # The first prompt took vLLM three steps; of the second nearly all was there.
    assert outputs[0].cached_tokens == 0
    assert outputs[1].cached_tokens > len(prompt) - MAX_NUM_BATCHED_TOKENS


async def test_narrowest_sampling_is_greedy(engine: Engine, prompt: list[int]) -> None:
    narrow = (Sampling(top_k=1), Sampling(top_p=1e-6), Sampling(min_p=1.0), Sampling(temperature=0.01))
    outputs = await asyncio.gather(*(collect(engine, ask(prompt, 6, sampling)) for sampling in (GREEDY, *narrow)))
    assert [output.tokens for output in outputs] == [outputs[0].tokens] * 5


async def test_penalties_make_output_less_repetitive(engine: Engine) -> None:
    prompt = engine.tokenizer.encode("one two three one two three " * 6)
    penalties: list[dict[str, Any]] = [{"presence_penalty": 2.0}, {"frequency_penalty": 2.0}, {"repetition_penalty": 2.0}]
    samplings = [GREEDY, *(Sampling(temperature=0, **penalty) for penalty in penalties)]
    outputs = await asyncio.gather(*(collect(engine, ask(prompt, 12, sampling)) for sampling in samplings))
    free, *penalised = (len(set(output.tokens)) for output in outputs)
    assert all(free < number for number in penalised)


async def test_logprobs_are_raw(engine: Engine, model: Any, prompt: list[int]) -> None:
    sampling = Sampling(temperature=1.7, top_p=0.9, seed=5, logit_bias={198: 3.0}, frequency_penalty=1.0)
    output = await collect(engine, ask(prompt, 8, sampling, logprobs=3))
    expected = raw_logprobs(model, prompt, output.tokens)
    assert [entry.token_id for entry in output.logprobs] == output.tokens
    for entry, row in zip(output.logprobs, expected, strict=True):
        assert entry.logprob == pytest.approx(float(row[entry.token_id]), abs=2e-3)
        assert [token for token, _ in entry.top] == row.topk(3).indices.tolist()
        assert [logprob for _, logprob in entry.top] == pytest.approx(row.topk(3).values.tolist(), abs=2e-3)


async def test_logprobs_without_alternatives(engine: Engine, prompt: list[int]) -> None:
    assert [entry.top for entry in (await collect(engine, ask(prompt, 2, logprobs=0))).logprobs] == [(), ()]
    assert (await collect(engine, ask(prompt, 2))).logprobs == []


# Grammar


def tag(form: Any) -> str:
    return json.dumps({"type": "structural_tag", "format": form})


async def test_grammar(engine: Engine, prompt: list[int]) -> None:
    hot = Sampling(temperature=1.5, seed=3)
    cases = ((JSON_FORMAT, GREEDY, True), (JSON_FORMAT, hot, False), (TAG_FORMAT, GREEDY, False), (TAG_FORMAT, hot, True))
    await asyncio.gather(*(check_grammar(engine, prompt, *case) for case in cases))


async def check_grammar(engine: Engine, prompt: list[int], form: Any, sampling: Sampling, listed: bool) -> None:
    """The end-of-sequence tokens may be among the request's stop tokens or not."""
    stops = engine.eos_token_ids if listed else ()
    output = await collect(engine, ask(prompt, 100, sampling, structural_tag=tag(form), stop_token_ids=stops))
    assert output.finish_reason == "stop"
    assert output.tokens[-1] in engine.eos_token_ids
    text = engine.tokenizer.decode(output.tokens[:-1])
    if form is TAG_FORMAT:
        assert text.startswith(BEGIN)
        assert text.endswith(END)
        text = text.removeprefix(BEGIN).removesuffix(END)
    jsonschema.validate(json.loads(text), SCHEMA)


async def test_grammar_cut_by_length(engine: Engine, prompt: list[int]) -> None:
    output = await collect(engine, ask(prompt, 4, structural_tag=tag(TAG_FORMAT)))
    assert (len(output.tokens), output.finish_reason) == (4, "length")
    assert BEGIN.startswith(engine.tokenizer.decode(output.tokens))


# Refusals


@pytest.mark.parametrize(
    "grammar",
    [
        "SECRET",
        tag({"type": "SECRET"}),
        tag({"type": "json_schema", "json_schema": {"type": "SECRET"}}),
        # It compiles, and allows no token.
        tag({"type": "json_schema", "json_schema": {"$ref": "#", "title": "SECRET"}}),
    ],
)
async def test_invalid_grammar_is_refused(engine: Engine, prompt: list[int], grammar: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        await collect(engine, ask(prompt, structural_tag=grammar))
    assert "SECRET" not in str(caught.value)
    assert engine.in_flight() == 0


async def test_prompt_over_the_context_is_refused(engine: Engine) -> None:
    too_long = [5] * engine.max_model_len
    with pytest.raises(InvalidRequestError) as caught:
        await collect(engine, ask(too_long, 1))
    assert caught.value.code == "context_length_exceeded"
    with pytest.raises(InvalidRequestError):
        await engine.score("decision", too_long, (198, 1116))
    with pytest.raises(InvalidRequestError):
        await collect(engine, ask([5] * 10, engine.max_model_len - 9))
    assert engine.in_flight() == 0


@pytest.mark.parametrize("prompt_ids", [[], [10**6]])
async def test_impossible_prompt_is_refused(engine: Engine, prompt_ids: list[int]) -> None:
    with pytest.raises(InvalidRequestError):
        await collect(engine, ask(prompt_ids))
    assert engine.in_flight() == 0


async def test_bias_outside_the_vocabulary_is_refused(engine: Engine, prompt: list[int]) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        await collect(engine, ask(prompt, sampling=Sampling(logit_bias={987654321: 1.0})))
    assert caught.value.field == "logit_bias"
    assert "987654321" not in str(caught.value)
    assert engine.in_flight() == 0


# A caller that leaves

FOREVER = 2000


async def idle(engine: Engine, held: Callable[[], float]) -> None:
    await until(lambda: engine.in_flight() == 0)
    await until(lambda: held() == 0)


async def test_closed_before_the_first_token(engine: Engine, held: Callable[[], float], prompt: list[int]) -> None:
    await engine.generate(ask(prompt, FOREVER)).aclose()
    await idle(engine, held)


async def test_closed_after_the_first_token(engine: Engine, held: Callable[[], float], prompt: list[int]) -> None:
    async with aclosing(engine.generate(ask(prompt, FOREVER))) as deltas:
        await anext(deltas)
        assert engine.in_flight() == 1
        await until(held)
    await idle(engine, held)


async def test_cancelled_while_running_and_while_queued(engine: Engine, held: Callable[[], float], prompt: list[int]) -> None:
    tasks = [asyncio.create_task(collect(engine, ask(prompt, FOREVER))) for _ in range(MAX_NUM_SEQS + 2)]
    await until(lambda: engine.in_flight() == len(tasks))
    await until(lambda: held() == len(tasks))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert all(task.cancelled() for task in tasks)
    await idle(engine, held)


async def test_cancelled_at_any_moment(engine: Engine, held: Callable[[], float], prompt: list[int]) -> None:
    """The times range from before the request reaches the engine to after its first tokens."""
    for turns in (0, 1, 2, 3, 5, 8, 30):
        decoding = asyncio.create_task(collect(engine, ask(prompt, FOREVER)))
        scoring = asyncio.create_task(engine.score(f"decision-{turns}", prompt, (198, 1116)))
        for _ in range(turns):
            await asyncio.sleep(0.001)
        decoding.cancel()
        scoring.cancel()
        for task in (decoding, scoring):
            with suppress(asyncio.CancelledError):
                await task
    await idle(engine, held)


async def test_capacity(engine: Engine) -> None:
    capacity = engine.capacity
    if engine.name == "remote":
        assert (capacity.requests, capacity.tokens) == (256, None)
    else:
        assert (capacity.requests, capacity.seats) == (MAX_NUM_SEQS * 9 / 8, MAX_NUM_SEQS)
        assert engine.max_model_len <= (capacity.tokens or 0) < 2**20


async def test_health(engine: Engine) -> None:
    await engine.health()
