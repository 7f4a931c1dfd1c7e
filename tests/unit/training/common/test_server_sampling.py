"""Sampling from a server: what is asked, and what its refusals become. The real one is tested in test_served.py."""

from typing import Any

import pytest
from support.token_server import serving

from autotool_core.errors import AutoToolError
from autotool_training.common.server_sampling import ServerSampler


def test_every_prompt_is_asked_with_its_own_seed_and_without_the_checkpoints_sampling() -> None:
    asked: list[dict[str, Any]] = []

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        asked.append(body)
        return {"token_ids": [body["prompt"][0], body["seed"]]}

    with serving(answer) as url:
        sampled = ServerSampler(f"{url}/v1/").sample([[5], [6]], 9, temperature=0.5, seed=3)
    assert sampled == [[5, 3], [6, 4]]
    fixed = {"model": "tiny", "max_tokens": 9, "temperature": 0.5, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0}
    assert all(fixed.items() <= body.items() and "allowed_token_ids" not in body for body in asked)


def test_the_first_token_is_a_decision() -> None:
    def answer(body: dict[str, Any]) -> dict[str, Any]:
        if "allowed_token_ids" in body:
            assert (body["max_tokens"], body["allowed_token_ids"]) == (1, [7, 8])
            return {"token_ids": [7 if body["prompt"] == [5] else 8]}
        assert body["max_tokens"] == 8
        return {"token_ids": [len(body["prompt"]), body["prompt"][-1]]}

    with serving(answer) as url:
        assert ServerSampler(url).sample_deciding([[5], [6]], 9, [7, 8]) == [[7, 2, 7], [8, 2, 8]]


def test_answers_have_other_seeds_than_decisions() -> None:
    seeds: list[int] = []

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        seeds.append(body["seed"])
        return {"token_ids": [7]}

    with serving(answer) as url:
        ServerSampler(url).sample_deciding([[5], [6]], 9, [7, 8], seed=3)
    assert sorted(seeds) == [3, 4, 5, 6]


@pytest.mark.parametrize(
    ("choice", "message"), [(400, "refuses a request: 400: .*no room"), ({"text": "Hello"}, "has to be a vLLM server")]
)
def test_what_a_server_cannot_do_is_told(choice: Any, message: str) -> None:
    with serving(lambda _: choice) as url, pytest.raises(AutoToolError, match=message):
        ServerSampler(url).sample([[5]], 9)


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(AutoToolError, match=r"http://127\.0\.0\.1:9/v1 cannot be reached: start its server"):
        ServerSampler("http://127.0.0.1:9")
