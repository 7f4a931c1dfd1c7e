"""What the engine asks of a server, and servers that it cannot use."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from support.remote import Fleet, Json, card, chunk, collect, sse
from support.tiny import make_tokenizer

from autotool_core.errors import EngineError
from autotool_server.engines import remote
from autotool_server.engines.base import Sampling, TokenDelta
from autotool_server.engines.remote import RemoteEngine
from autotool_server.launch.listener import listen


async def test_properties_come_from_the_server(engine: RemoteEngine, tokenizer_dir: Path) -> None:
    assert (engine.model_name, engine.checkpoint, engine.max_model_len) == ("served", str(tokenizer_dir), 100)
    assert engine.eos_token_ids == (make_tokenizer().eos_token_id,)
    await engine.health()


async def test_key_and_url_with_v1(fleet: Fleet, port: int) -> None:
    engine = RemoteEngine(f"http://127.0.0.1:{port}/v1/", api_key="sesame")
    await engine.start()
    await engine.stop()
    assert fleet.keys == ["Bearer sesame"]


async def test_every_sampling_field_is_sent(fleet: Fleet, engine: RemoteEngine) -> None:
    """A server takes a missing field from the checkpoint's generation config."""
    await collect(engine)
    plain = Sampling()
    names = [name for name in Sampling.__slots__ if name not in ("seed", "logit_bias")]
    assert {name: fleet.bodies[-1][name] for name in names} == {name: getattr(plain, name) for name in names}
    assert fleet.bodies[-1]["ignore_eos"] is True


async def test_cached_tokens_are_in_the_last_delta(fleet: Fleet, engine: RemoteEngine) -> None:
    usage = {"choices": [], "usage": {"prompt_tokens_details": {"cached_tokens": 32}}}
    fleet.stream = lambda: sse(chunk(5), chunk(), chunk(6, 7, finish_reason="stop"), usage)
    assert await collect(engine) == [TokenDelta([5]), TokenDelta([6, 7], finish_reason="stop", cached_tokens=32)]


# Servers that cannot be used


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ({"data": [card("one"), card("two")]}, "one, two"),
        ({"data": [card("adapter", parent="base")]}, "adapter"),
        ({"data": []}, "serves none"),
        ("Welcome", "serves none"),
        ({"data": [card(max_model_len=None)]}, "max_model_len"),
        ({"data": [card(root="/nowhere")]}, "No tokenizer"),
    ],
)
async def test_unusable_model_lists(fleet: Fleet, port: int, models: Any, message: str) -> None:
    fleet.models = models
    with pytest.raises(EngineError, match=message):
        await RemoteEngine(f"http://127.0.0.1:{port}").start()


async def test_model_and_tokenizer_by_name(fleet: Fleet, port: int, tokenizer_dir: Path) -> None:
    fleet.models = {"data": [card(root="/nowhere"), card("adapter", parent="served", root="/nowhere")]}
    engine = RemoteEngine(f"http://127.0.0.1:{port}", model="adapter", tokenizer=str(tokenizer_dir))
    await engine.start()
    await engine.stop()
    assert (engine.model_name, engine.checkpoint) == ("adapter", str(tokenizer_dir))


@pytest.mark.parametrize(
    "answer",
    [
        {"choices": [{"text": "a", "finish_reason": "length"}]},
        {"choices": [{"text": "a", "finish_reason": "length", "logprobs": {"top_logprobs": [{"a": -1.0}]}}]},
        {"choices": [{"token_ids": [3], "logprobs": {"top_logprobs": [{"token_id:1": -1.0}]}}]},
    ],
)
async def test_server_without_token_ids_is_refused(fleet: Fleet, port: int, answer: Json) -> None:
    fleet.score = lambda _: answer
    with pytest.raises(EngineError, match="must be vLLM"):
        await RemoteEngine(f"http://127.0.0.1:{port}").start()


async def test_nobody_answers() -> None:
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    listener.close()
    with pytest.raises(EngineError, match=f"127.0.0.1:{port}"):
        await RemoteEngine(f"http://127.0.0.1:{port}").start()


async def test_a_server_that_hangs_is_an_error_before_the_time_of_a_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "MODELS_SECONDS", 0.2)
    listener = listen("127.0.0.1", 0)  # the system takes connections, and nobody reads them
    with pytest.raises(EngineError, match=r"did not start: The remote server did not answer in time\."):
        async with asyncio.timeout(30):
            await RemoteEngine(f"http://127.0.0.1:{listener.getsockname()[1]}").start()
    listener.close()


async def test_a_start_up_error_has_the_url_without_its_password(fleet: Fleet, port: int) -> None:
    fleet.models = {"data": []}
    with pytest.raises(EngineError, match=rf"at http://127\.0\.0\.1:{port} did not start"):
        await RemoteEngine(f"http://me:pass@word@127.0.0.1:{port}/v1").start()
