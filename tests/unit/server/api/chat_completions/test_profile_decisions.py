"""Decisions that a profile moves: by its bias, and by a decision head."""

from collections.abc import Mapping
from typing import Any

import pytest
from support.serving import MODEL, Running, running, scripted
from support.tiny import make_tokenizer

from autotool_core.profile import BUILTIN, DecisionHead
from autotool_core.prompt import PromptRenderer

PLAIN = BUILTIN["smollm2-autotool"]
DECISION = PromptRenderer(make_tokenizer(), PLAIN).decision_tokens


async def ask(server: Running, mode: str, **fields: Any) -> Mapping[str, Any]:
    """Return the first turn of an answer's decision record."""
    create: Any = server.client.chat.completions.create
    messages = [{"role": "user", "content": "2+2?"}]
    answer = await create(model=MODEL, messages=messages, temperature=0, extra_body={"mode": mode, **fields})
    return answer.model_extra["autotool"]["turns"][0]


async def test_the_profiles_bias_is_added_to_that_of_the_request() -> None:
    profile = PLAIN.model_copy(update={"decision_bias": -3.0})
    async with running(scripted("Four.", log_odds=2.0), profile) as server:
        plain, biased = await ask(server, "auto"), await ask(server, "auto", reasoning_bias=2.0)
    assert (plain["resolved"], plain["reasoning_bias"]) == ("short", -3.0)
    assert (biased["resolved"], biased["reasoning_bias"]) == ("long", -1.0)
    assert plain["p_long"] == biased["p_long"] == pytest.approx(0.8808, abs=1e-4)


@pytest.mark.parametrize(("weight", "resolved", "p_long"), [(0.5, "long", 0.8808), (-0.5, "short", 0.1192)])
async def test_a_decision_head_decides_in_place_of_the_decision_tokens(weight: float, resolved: str, p_long: float) -> None:
    assert DECISION is not None
    head = DecisionHead(tokens=(DECISION.long, 9), weights=(weight, -weight), intercept=0.0)
    engine = scripted("Hm.\n</think>\n\nFour." if resolved == "long" else "Four.", log_odds=4.0)
    async with running(engine, PLAIN.model_copy(update={"decision_head": head})) as server:
        auto, _ = await ask(server, "auto"), await ask(server, resolved)
    assert (auto["resolved"], auto["decided_by"], auto["decision_tokens"]) == (resolved, "model", 1)
    assert auto["p_long"] == pytest.approx(p_long, abs=1e-4)
    # The decision token that follows is that of the forced mode, whatever has decided.
    assert engine.requests[0].prompt_ids == engine.requests[1].prompt_ids


async def test_a_target_follows_the_head_and_the_profiles_bias() -> None:
    assert DECISION is not None
    head = DecisionHead(tokens=(DECISION.long, 9), weights=(0.5, -0.5), intercept=0.0)
    profile = PLAIN.model_copy(update={"decision_head": head, "decision_bias": 1.0})
    async with running(scripted("Four.", log_odds=-10.0), profile, target="thinking-rate=0.5") as server:
        turns = [await ask(server, "auto") for _ in range(80)]
    assert turns[0]["reasoning_bias"] == 1.0
    # The head's log-odds are -5, of which the profile's bias makes up 1.
    assert 4.0 < turns[-1]["reasoning_bias"] < 6.0
