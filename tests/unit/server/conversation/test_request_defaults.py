"""What a request gets that leaves its sampling or its limit of tokens out."""

from pathlib import Path
from typing import Any

import pytest

from autotool_server.conversation.request import ConversationRequest, RequestedSampling
from autotool_server.conversation.request_defaults import RequestDefaults
from autotool_server.engines.base import Sampling
from autotool_server.settings import GenerationConfig, Settings


def defaults(config: dict[str, Any], override: dict[str, Any] | None = None, **settings: Any) -> RequestDefaults:
    return RequestDefaults.of(Settings(override_generation_config=override or {}, **settings), GenerationConfig(**config))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("config", "override", "expected"),
    [
        ({}, {}, Sampling()),
        ({"temperature": 0.6, "top_k": 20, "top_p": 0.95}, {}, Sampling(temperature=0.6, top_k=20, top_p=0.95)),
        ({"min_p": 0.1, "repetition_penalty": 1.05}, {}, Sampling(min_p=0.1, repetition_penalty=1.05)),
        ({"presence_penalty": 1.5, "frequency_penalty": 0.5}, {}, Sampling(presence_penalty=1.5, frequency_penalty=0.5)),
        ({"top_k": -1}, {}, Sampling()),
        ({"do_sample": False}, {}, Sampling(temperature=0)),
        ({"do_sample": False, "temperature": 0.6}, {}, Sampling(temperature=0)),
        ({"do_sample": True}, {}, Sampling()),
        ({"temperature": 0.6, "top_p": 0.95}, {"temperature": 0.2}, Sampling(temperature=0.2, top_p=0.95)),
        ({"do_sample": False}, {"temperature": 0.7}, Sampling(temperature=0.7)),
        ({"do_sample": False}, {"do_sample": True}, Sampling()),
        ({"temperature": 0.6}, {"do_sample": False}, Sampling(temperature=0)),
        ({"do_sample": False}, {"top_p": 0.5}, Sampling(temperature=0, top_p=0.5)),
    ],
)
def test_sampling_of_a_config_and_what_overrides_it(
    config: dict[str, Any], override: dict[str, Any], expected: Sampling
) -> None:
    assert defaults(config, override).sampling == expected


def test_a_request_gets_what_it_leaves_out_and_keeps_what_it_sends() -> None:
    server = Sampling(temperature=0, top_p=0.9, top_k=20, min_p=0.1, repetition_penalty=1.1, presence_penalty=1)
    assert RequestedSampling().filled(server) == server
    neutral = RequestedSampling(1.0, 1.0, 0, 0.0, 0.0, 0.0, 1.0, 7, {5: 1.0})
    assert neutral.filled(server) == Sampling(seed=7, logit_bias={5: 1.0})


def limits(given: RequestDefaults, **request: Any) -> tuple[int | None, int | None, bool]:
    bounded = given.bounded(ConversationRequest([], **request))
    return bounded.max_tokens, bounded.max_reasoning_tokens, bounded.max_tokens_is_total


OVERRIDE = {"max_new_tokens": 100}


@pytest.mark.parametrize(
    ("given", "request_fields", "expected"),
    [
        # Nobody sets a limit.
        (defaults({}), {}, (None, None, False)),
        # The checkpoint's is the default alone.
        (defaults({"max_new_tokens": 100}), {}, (100, None, False)),
        (defaults({"max_new_tokens": 100}), {"max_tokens": 500}, (500, None, False)),
        (defaults({"max_new_tokens": 100}, default_max_tokens=50), {}, (None, None, False)),
        # The operator's bounds all requests too.
        (defaults({}, OVERRIDE), {}, (100, None, True)),
        (defaults({}, OVERRIDE), {"max_tokens": 500}, (100, None, True)),
        (defaults({}, OVERRIDE), {"max_tokens": 30}, (30, None, False)),
        (defaults({}, OVERRIDE), {"max_tokens": 30, "max_reasoning_tokens": 90}, (30, 70, False)),
        (defaults({}, OVERRIDE), {"max_tokens": 30, "max_reasoning_tokens": 20}, (30, 20, False)),
        (defaults({}, OVERRIDE), {"max_reasoning_tokens": 500}, (100, 500, True)),
        (defaults({}, OVERRIDE, default_max_tokens=50), {}, (100, None, True)),
        # Of a file that vLLM's neutral values replace nothing is left.
        (defaults({}, generation_config="vllm"), {"max_tokens": 500}, (500, None, False)),
    ],
)
def test_limit_of_tokens(
    given: RequestDefaults, request_fields: dict[str, Any], expected: tuple[int | None, int | None, bool]
) -> None:
    assert limits(given, **request_fields) == expected


def test_the_limit_of_the_operators_folder_bounds_every_request(tmp_path: Path) -> None:
    (tmp_path / "generation_config.json").write_text("{}")
    of_folder = defaults({"max_new_tokens": 80}, generation_config=str(tmp_path))
    assert limits(of_folder, max_tokens=500) == (80, None, True)


def test_plain_text_is_bounded_by_the_operators_limit() -> None:
    assert defaults({"max_new_tokens": 4}).bounded_text(16) == 16
    assert defaults({}, {"max_new_tokens": 4}).bounded_text(16) == 4
    assert defaults({}, {"max_new_tokens": 4}).bounded_text(2) == 2
