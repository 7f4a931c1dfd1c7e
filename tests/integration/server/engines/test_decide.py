"""Decisions, one conformance suite for every engine: `decide` answers as a score and a generation of their own would."""

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from itertools import count
from typing import Any

import jsonschema
import pytest
from support.engines import GREEDY, MAX_NUM_SEQS, Output, add_delta, collect, held_by_vllm, until

from autotool_core.decision import Readout
from autotool_core.errors import InvalidRequestError
from autotool_core.modes import ResolvedMode
from autotool_core.profile import MAX_READ_TOKENS
from autotool_server.engines.base import DecisionRequest, Engine, EngineRequest, Outcome, Sampling, Score, TokenDelta

LONG, SHORT = ResolvedMode.LONG, ResolvedMode.SHORT
SCHEMA = {"type": "object", "properties": {"days": {"type": "integer"}}, "required": ["days"], "additionalProperties": False}
GRAMMAR = json.dumps({"type": "structural_tag", "format": {"type": "json_schema", "json_schema": SCHEMA}})
SURELY = {LONG: 100.0, SHORT: -100.0}
"""Biases with which the mode is certain."""
_numbers = count()


@pytest.fixture
def held(engine: Engine, request: pytest.FixtureRequest) -> Callable[[], float]:
    """Return the function that counts the requests held by the library or the server behind the engine."""
    if engine.name == "transformers":
        return engine.in_flight
    url = request.getfixturevalue("stock_vllm") if engine.name == "remote" else None
    return lambda: held_by_vllm(url)


def ids(engine: Engine, text: str) -> list[int]:
    return engine.tokenizer.encode(text, add_special_tokens=False)


def question(engine: Engine, topic: str = "tea") -> list[int]:
    return ids(engine, f"<|im_start|>user\nTell me about {topic}.<|im_end|>\n<|im_start|>assistant\n<think>")


def to_decide(
    engine: Engine,
    mode: ResolvedMode,
    prompt_ids: Sequence[int] | None = None,
    max_tokens: int = 8,
    *,
    grammar: str | None = None,
    sampling: Sampling = GREEDY,
    **rest: Any,
) -> DecisionRequest:
    """A request whose mode is certain. A long answer follows at once, a short one after injected tokens."""
    prompt_ids = question(engine) if prompt_ids is None else prompt_ids
    [long], [short] = ids(engine, "\n"), ids(engine, "\n\n")
    request_id, injected = f"decide-{next(_numbers)}", ids(engine, "</think>\n\n")
    common = EngineRequest(f"{request_id}-1", (), max_tokens, sampling=sampling, **rest)
    outcomes = {
        LONG: Outcome([], replace(common, prompt_ids=[*prompt_ids, long])),
        SHORT: Outcome(injected, replace(common, prompt_ids=[*prompt_ids, short, *injected], structural_tag=grammar)),
    }
    return DecisionRequest(request_id, prompt_ids, (long, short), outcomes, SURELY[mode], temperature=0)


async def decided(engine: Engine, request: DecisionRequest) -> tuple[Score, Output]:
    """Collect everything that a decision yields."""
    output = Output()
    async with aclosing(engine.decide(request)) as steps:
        score = await anext(steps)
        assert isinstance(score, Score)
        async for delta in steps:
            assert isinstance(delta, TokenDelta)
            assert output.finish_reason is None
            add_delta(output, delta)
    return score, output


def generation(request: DecisionRequest, mode: ResolvedMode) -> EngineRequest:
    following = request.outcomes[mode].generation
    assert following is not None
    return following


@pytest.mark.parametrize("mode", ResolvedMode)
async def test_tokens_are_those_of_two_requests(engine: Engine, mode: ResolvedMode) -> None:
    request = to_decide(engine, mode, max_tokens=12)
    _, output = await decided(engine, request)
    expected = await collect(engine, generation(request, mode))
    assert (output.tokens, output.finish_reason) == (expected.tokens, expected.finish_reason) != ([], None)


async def test_score_is_that_of_a_score(engine: Engine) -> None:
    request = to_decide(engine, LONG)
    score, _ = await decided(engine, request)
    expected = await engine.score("score", request.prompt_ids, request.candidates)
    difference = expected.logprobs[0] - expected.logprobs[1]
    assert score.logprobs[0] - score.logprobs[1] == pytest.approx(difference, abs=2e-3)


async def test_the_mode_is_drawn_by_bias_temperature_and_number(engine: Engine) -> None:
    """The text differs between the modes, so it shows which of them the engine went on with."""
    request = to_decide(engine, LONG)
    texts = {mode: (await collect(engine, generation(request, mode))).tokens for mode in ResolvedMode}
    score = await engine.score("score", request.prompt_ids, request.candidates)
    modes: set[ResolvedMode] = set()
    even = -(score.logprobs[0] - score.logprobs[1])  # with this bias both modes have a probability of one half
    for bias, temperature, uniform in ((even, 1.0, 0.2), (even, 1.0, 0.8), (even + 2, 10.0, 0.52), (even + 2, 0.0, 0.9)):
        drawn = replace(request, request_id=f"draw-{uniform}", reasoning_bias=bias, temperature=temperature, uniform=uniform)
        mode = drawn.settle(score).resolved
        assert (await decided(engine, drawn))[1].tokens == texts[mode]
        modes.add(mode)
    assert modes == {LONG, SHORT}


@pytest.mark.parametrize("alternatives", [None, 3])
async def test_the_mode_may_be_read_from_many_tokens(engine: Engine, alternatives: int | None) -> None:
    """They are as many as a profile's decision head may read, so that an engine that reports fewer is seen."""
    request = to_decide(engine, LONG, logprobs=alternatives)
    texts = {mode: (await collect(engine, generation(request, mode))).tokens for mode in ResolvedMode}
    candidates = (*request.candidates, *(token for token in range(200, 400) if token not in request.candidates))
    candidates = candidates[: MAX_READ_TOKENS + 2]
    score = await engine.score("score", request.prompt_ids, candidates)
    weights = (0.0, 0.0, *(1.0 if number % 2 else -1.0 for number in range(MAX_READ_TOKENS)))
    for mode, intercept in ((LONG, 1.0), (SHORT, -1.0)):
        readout = Readout(weights, intercept - Readout(weights).log_odds(score.logprobs))
        read = replace(request, request_id=f"read-{mode}", candidates=candidates, readout=readout, reasoning_bias=0.0)
        seen, output = await decided(engine, read)
        assert output.tokens == texts[mode]
        assert readout.log_odds(seen.logprobs) == pytest.approx(intercept, abs=0.1)


async def test_only_the_outcome_with_a_grammar_is_constrained(engine: Engine) -> None:
    _, short = await decided(engine, to_decide(engine, SHORT, max_tokens=40, grammar=GRAMMAR))
    jsonschema.validate(json.loads(engine.tokenizer.decode(short.tokens, skip_special_tokens=True)), SCHEMA)
    assert short.finish_reason == "stop"
    request = to_decide(engine, LONG, grammar=GRAMMAR)
    _, long = await decided(engine, request)
    assert long.tokens == (await collect(engine, generation(request, LONG))).tokens


async def test_limits_and_stop_tokens_are_those_of_the_outcome(engine: Engine) -> None:
    request = to_decide(engine, SHORT, max_tokens=6)
    _, whole = await decided(engine, request)
    short = replace(generation(request, SHORT), stop_token_ids=(whole.tokens[2],))
    long = replace(generation(request, LONG), max_tokens=3, stop_token_ids=(), min_tokens=3)
    outcomes = {
        LONG: replace(request.outcomes[LONG], generation=long),
        SHORT: replace(request.outcomes[SHORT], generation=short),
    }
    _, stopped = await decided(engine, replace(request, request_id="stops", outcomes=outcomes))
    first = whole.tokens.index(whole.tokens[2])
    assert (stopped.tokens, stopped.finish_reason) == (whole.tokens[: first + 1], "stop")
    _, cut = await decided(engine, replace(request, request_id="cut", outcomes=outcomes, reasoning_bias=SURELY[LONG]))
    assert (len(cut.tokens), cut.finish_reason) == (3, "length")


@pytest.mark.parametrize("alternatives", [None, 0, 3])
async def test_logprobs_are_those_of_the_generation(engine: Engine, alternatives: int | None) -> None:
    request = to_decide(engine, SHORT, max_tokens=4, logprobs=alternatives)
    _, output = await decided(engine, request)
    expected = (await collect(engine, generation(request, SHORT))).logprobs
    assert [entry.token_id for entry in output.logprobs] == [entry.token_id for entry in expected]
    for entry, other in zip(output.logprobs, expected, strict=True):
        assert entry.logprob == pytest.approx(other.logprob, abs=2e-3)
        assert [token for token, _ in entry.top] == [token for token, _ in other.top]


async def test_a_seed_gives_the_tokens_that_it_gives_a_generation(engine: Engine) -> None:
    request = to_decide(engine, SHORT, max_tokens=12, sampling=Sampling(temperature=1.5, seed=7))
    _, output = await decided(engine, request)
    assert output.tokens == (await collect(engine, generation(request, SHORT))).tokens


async def test_cached_tokens_are_those_before_the_request(engine: Engine) -> None:
    prompt = question(engine, f"what nobody told {engine.name} before, {'again and ' * 60}again")
    new, _ = await decided(engine, to_decide(engine, LONG, prompt))
    again, _ = await decided(engine, to_decide(engine, SHORT, prompt))
    assert new.cached_tokens < len(prompt) // 2 < again.cached_tokens <= len(prompt)


async def test_many_at_once_equal_single_ones(engine: Engine) -> None:
    """Turns of both modes, with and without a grammar, and beside generations more than the engine decodes at once."""
    requests = [
        to_decide(engine, mode, question(engine, f"number {number}"), 6, grammar=GRAMMAR if number % 3 == 0 else None)
        for number in range(MAX_NUM_SEQS // 2 - 1)
        for mode in ResolvedMode
    ]
    alone = [(await decided(engine, replace(request, request_id=f"{request.request_id}-a")))[1].tokens for request in requests]
    plain = [generation(to_decide(engine, LONG), LONG) for _ in range(4)]
    running = [asyncio.create_task(collect(engine, request)) for request in plain]
    together = await asyncio.gather(*(decided(engine, request) for request in requests))
    assert [output.tokens for _, output in together] == alone
    assert len({tuple((await task).tokens) for task in running}) == 1


async def idle(engine: Engine, held: Callable[[], float]) -> None:
    await until(lambda: engine.in_flight() == 0)
    await until(lambda: held() == 0)


async def test_closed_at_any_moment(engine: Engine, held: Callable[[], float]) -> None:
    await engine.decide(to_decide(engine, LONG, max_tokens=2000)).aclose()
    for read in (1, 2, 4):
        async with aclosing(engine.decide(to_decide(engine, LONG, max_tokens=2000))) as steps:
            for _ in range(read):
                await anext(steps)
        await idle(engine, held)


async def test_cancelled_at_any_moment(engine: Engine, held: Callable[[], float]) -> None:
    for turns in (0, 1, 2, 3, 5, 8, 30, 100):
        grammar = GRAMMAR if turns % 2 else None
        task = asyncio.create_task(decided(engine, to_decide(engine, SHORT, max_tokens=2000, grammar=grammar)))
        for _ in range(turns):
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await idle(engine, held)


@pytest.mark.parametrize(
    ("rest", "code"),
    [
        ({"max_tokens": 10**5}, "context_length_exceeded"),
        ({"grammar": '{"type": "structural_tag", "format": {"type": "nothing"}}'}, "invalid_schema"),
    ],
    ids=["too long", "no grammar"],
)
async def test_refused(engine: Engine, held: Callable[[], float], rest: dict[str, Any], code: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        await decided(engine, to_decide(engine, SHORT, **rest))
    assert code in (caught.value.code, "invalid_schema")
    await idle(engine, held)


async def test_an_outcome_without_a_generation_ends_with_the_score(engine: Engine) -> None:
    request = to_decide(engine, LONG)
    outcomes = {**request.outcomes, LONG: Outcome([], None)}
    _, output = await decided(engine, replace(request, outcomes=outcomes))
    assert output.tokens == []
    _, output = await decided(engine, replace(request, outcomes=outcomes, request_id="short", reasoning_bias=SURELY[SHORT]))
    assert output.tokens == (await collect(engine, generation(request, SHORT))).tokens
