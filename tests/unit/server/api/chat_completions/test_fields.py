"""Fields that change nothing are taken; those that would change the text and are not supported are refused by name."""

from typing import Any

import httpx
import pytest
from support.serving import running, scripted

USER = [{"role": "user", "content": "2+2?"}]
TOOL = {"type": "function", "function": {"name": "f", "cache_control": {}}, "cache_control": {"type": "ephemeral"}}

TAKEN: dict[str, Any] = {
    "store": True,
    "metadata": {"run": "7"},
    "service_tier": "flex",
    "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
    "prompt_cache_options": {"mode": "explicit"},
    "safety_identifier": "s",
    "prediction": {"type": "content", "content": "Four."},
    "modalities": ["text"],
    "verbosity": "low",
    "cache_control": {"type": "ephemeral"},
    "user": "u",
    "tools": [TOOL],
    "cache_salt": "salt",
    "session_id": "s",
    "stream_interval": 4,
    "spaces_between_special_tokens": False,
    "add_generation_prompt": True,
    "continue_final_message": False,
    "add_special_tokens": False,
    "echo": False,
    "best_of": 1,
    "use_beam_search": False,
    "length_penalty": 1.0,
    "include_stop_str_in_output": False,
    "guided_decoding_backend": "xgrammar",
    "bad_words": [],
    "allowed_token_ids": None,
    "top_logprobs": 0,
    "priority": -3,
    "audio": None,
}

REFUSED: dict[str, Any] = {
    "audio": {"voice": "alloy", "format": "wav"},
    "web_search_options": {},
    "documents": [{"title": "t", "text": "x"}],
    "chat_template": "{{ messages }}",
    "prompt_logprobs": 1,
    "logprob_token_ids": [1],
    "truncate_prompt_tokens": 10,
    "allowed_token_ids": [1],
    "bad_words": ["x"],
    "echo": True,
    "best_of": 2,
    "use_beam_search": True,
    "add_generation_prompt": False,
    "continue_final_message": True,
    "add_special_tokens": True,
    "include_stop_str_in_output": True,
    "guided_whitespace_pattern": " ",
    "repetition_detection": {"max_pattern_size": 2},
}


async def post(**fields: Any) -> httpx.Response:
    engine = scripted("Four.")
    async with running(engine) as server, httpx.AsyncClient() as client:
        body = {"model": "tested", "messages": USER, "mode": "short"} | fields
        response = await client.post(f"{server.url}/chat/completions", json=body)
    if response.status_code != 200:
        assert engine.requests == []
    return response


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_fields_that_change_nothing_are_taken(stream: bool) -> None:
    response = await post(**TAKEN, stream=stream, stream_options={"include_obfuscation": False} if stream else None)
    assert response.status_code == 200, response.text
    assert "x-autotool-ignored" not in response.headers


async def test_marks_of_caches_are_not_rendered() -> None:
    engine = scripted("Four.")
    async with running(engine) as server, httpx.AsyncClient() as client:
        await client.post(
            f"{server.url}/chat/completions", json={"model": "tested", "messages": USER, "mode": "short", "tools": [TOOL]}
        )
    assert "cache_control" not in engine.tokenizer.decode(engine.requests[0].prompt_ids)


@pytest.mark.parametrize("name", REFUSED)
async def test_fields_that_would_change_the_text_are_refused(name: str) -> None:
    response = await post(**{name: REFUSED[name]})
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (400, name)


async def test_modalities_other_than_text_are_refused() -> None:
    response = await post(modalities=["text", "audio"])
    assert (response.status_code, response.json()["error"]["param"]) == (400, "modalities.1")


async def test_a_body_may_begin_with_a_byte_order_mark() -> None:
    async with running(scripted("Four.")) as server, httpx.AsyncClient() as client:
        raw = (
            b'\xef\xbb\xbf{"model": "tested", "mode": "short", "messages": [{"role": "user", "content": "x"}], "frobnicate": 1}'
        )
        response = await client.post(
            f"{server.url}/chat/completions", content=raw, headers={"content-type": "application/json"}
        )
        assert response.json()["choices"][0]["message"]["content"] == "Four."
        assert response.headers["x-autotool-ignored"] == "frobnicate"
